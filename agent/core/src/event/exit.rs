//! Exit records decoded: the last thread of a group is gone.

use tarsier_abi::exit::ExitRecord;
use zerocopy::FromBytes;

use super::Malformed;

/// The event as the registry names it: the record itself, which holds no strings and borrows nothing.
pub type Event<'a> = ExitRecord;

/// Decodes a whole record (header included). An exit of nobody is impossible.
pub fn decode(op: u8, record: &[u8]) -> Result<ExitRecord, Malformed> {
    if op != 0 {
        return Err(Malformed::Op);
    }
    let (fixed, _) = ExitRecord::read_from_prefix(record).map_err(|_| Malformed::Short)?;
    if fixed.task.is_none() { Err(Malformed::Value) } else { Ok(fixed) }
}
