//! Skeleton.
/// Event.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    #[doc = "x"]
    pub record: &'a [u8],
}
/// Decode.
pub fn decode(_op: u8, record: &[u8]) -> Result<Event<'_>, super::Malformed> {
    Ok(Event { record })
}
