//! Short strings formatted on the stack: ids, addresses, times.

use std::fmt::{self, Write as _};

use tarsier_abi::TaskKey;

/// A string of at most [`Text::MAX`] bytes; what does not fit is cut.
pub(super) struct Text {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Text {
    /// Longer than any IPv6 address, id or time.
    pub(super) const MAX: usize = 64;

    pub(super) fn new(value: fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; Self::MAX], len: 0 };
        // An error means that the text was cut, which is this type's contract.
        let _ = text.write_fmt(value);
        text
    }

    pub(super) fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.len + part.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// `tarsier.exec_id`: start (hex), pid, exec counter; unique within a boot of a host.
pub(super) struct ExecId(pub(super) TaskKey);

impl fmt::Display for ExecId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TaskKey { start_boottime, tgid, exec } = self.0;
        write!(formatter, "{start_boottime:x}-{tgid}-{exec}")
    }
}

/// A device number as the kernel keeps it (major << 20 | minor), as `major:minor`.
pub(super) struct Device(pub(super) u32);

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.0 >> 20, self.0 & 0xF_FFFF)
    }
}

/// A time (ns since the Unix epoch) as RFC 3339 in UTC, with nanoseconds.
pub(super) struct Rfc3339(pub(super) u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Count from 0000-03-01, so that a leap day is the last day of its year, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_709_251_200_000_000_000, "2024-03-01T00:00:00.000000000Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ];
        for (nanos, want) in cases {
            assert_eq!(Text::new(format_args!("{}", Rfc3339(nanos))).as_str(), want);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut previous = civil(0);
        for days in 1..213_503 {
            let (year, month, day) = civil(days);
            let next_day = (year, month, day) == (previous.0, previous.1, previous.2 + 1) && day <= 31;
            let next_month = (year, month, day) == (previous.0, previous.1 + 1, 1) && previous.2 >= 28;
            let next_year = (year, month, day) == (previous.0 + 1, 1, 1) && previous.1 == 12;
            assert!(next_day || next_month || next_year, "{previous:?} then {year}-{month}-{day}");
            previous = (year, month, day);
        }
    }

    #[test]
    fn the_longest_exec_id_and_address_fit() {
        let key = TaskKey { start_boottime: u64::MAX, tgid: u32::MAX, exec: u32::MAX };
        let id = Text::new(format_args!("{}", ExecId(key)));
        assert_eq!(id.as_str(), "ffffffffffffffff-4294967295-4294967295");
        let address = std::net::Ipv6Addr::from([0xff; 16]);
        assert_eq!(Text::new(format_args!("{address}")).as_str().len(), 39);
    }
}
