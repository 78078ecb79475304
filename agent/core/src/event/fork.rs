//! Fork records decoded: a new thread group.

use tarsier_abi::fork::ForkRecord;
use zerocopy::FromBytes;

use super::Malformed;

/// The event as the registry names it: the record itself, which holds no strings and borrows nothing.
pub type Event<'a> = ForkRecord;

/// Decodes a whole record (header included). A child without an identity is impossible.
pub fn decode(op: u8, record: &[u8]) -> Result<ForkRecord, Malformed> {
    if op != 0 {
        return Err(Malformed::Op);
    }
    let (fixed, _) = ForkRecord::read_from_prefix(record).map_err(|_| Malformed::Short)?;
    if fixed.child.is_none() { Err(Malformed::Value) } else { Ok(fixed) }
}
