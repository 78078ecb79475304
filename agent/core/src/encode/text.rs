//! Short strings: ids, addresses, times. Formatted in place, without `fmt`: its dispatch costs more
//! than the digits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tarsier_abi::TaskKey;

/// More than the longest string made here (an address of 39 bytes) and the width of a store.
pub(super) const ROOM: usize = 56;

/// A string under construction, at most [`ROOM`] bytes; what does not fit is left out.
///
/// Digits are made in a register, eight at a time, and stored at full width; what comes next
/// overwrites the rest.
pub(super) struct Text<'a> {
    room: &'a mut [u8; ROOM],
    len: usize,
}

impl<'a> Text<'a> {
    pub(super) fn new(room: &'a mut [u8; ROOM]) -> Self {
        Self { room, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends the first `len` of `bytes`.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        if let Some(room) = self.room.get_mut(self.len..).and_then(|room| room.first_chunk_mut()) {
            *room = bytes;
            self.len += len;
        }
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.put([byte], 1);
    }

    /// In decimal.
    #[inline]
    pub(super) fn decimal(&mut self, value: u32) {
        const GROUP: u32 = 100_000_000;
        if value < 10 {
            self.byte(b'0' + value as u8);
            return;
        }
        if value >= GROUP {
            self.decimal(value / GROUP);
            self.put(digits(value % GROUP), 8);
            return;
        }
        let all = u64::from_le_bytes(digits(value));
        // Leading zeros are the lowest bytes; the last digit stays.
        let zeros = ((all & 0x0F0F_0F0F_0F0F_0F0F | 1 << 56).trailing_zeros() / 8) as usize;
        self.put((all >> (8 * zeros)).to_le_bytes(), 8 - zeros);
    }

    /// In hexadecimal, no more digits than it needs.
    #[inline]
    pub(super) fn hex(&mut self, value: u64) {
        let zeros = ((value | 1).leading_zeros() / 4) as usize;
        self.put(hex_digits(value << (4 * zeros)), 16 - zeros);
    }

    /// In hexadecimal, 16 digits.
    #[inline]
    pub(super) fn hex16(&mut self, value: u64) {
        self.put(hex_digits(value), 16);
    }

    /// `tarsier.exec_id`: start (hex), pid, exec counter; unique within a boot of a host.
    pub(super) fn exec_id(&mut self, key: TaskKey) {
        self.hex(key.start_boottime);
        self.byte(b'-');
        self.decimal(key.tgid);
        self.byte(b'-');
        self.decimal(key.exec);
    }

    /// A device number as the kernel keeps it (major << 20 | minor), as `major:minor`.
    pub(super) fn device(&mut self, device: u32) {
        self.decimal(device >> 20);
        self.byte(b':');
        self.decimal(device & 0xF_FFFF);
    }

    pub(super) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4(address),
            IpAddr::V6(address) => self.v6(address),
        }
    }

    fn v4(&mut self, address: Ipv4Addr) {
        for octet in address.octets() {
            self.put(OCTETS[usize::from(octet)], 2 + usize::from(octet > 9) + usize::from(octet > 99));
        }
        // Each brought its dot.
        self.len = self.len.saturating_sub(1);
    }

    /// As RFC 5952 wants it: the longest run of zeros, of two at least and the first of equal ones, is
    /// `::`; a mapped IPv4 address ends as one.
    fn v6(&mut self, address: Ipv6Addr) {
        if let Some(mapped) = address.to_ipv4_mapped() {
            self.put(*b"::ffff:", 7);
            self.v4(mapped);
            return;
        }
        let segments = address.segments();
        let (mut gap, mut run) = (0..0, 0..0);
        for (position, segment) in segments.into_iter().enumerate() {
            run = if segment != 0 {
                0..0
            } else if run.end == position && !run.is_empty() {
                run.start..position + 1
            } else {
                position..position + 1
            };
            if run.len() > gap.len() {
                gap = run.clone();
            }
        }
        for (position, segment) in segments.into_iter().enumerate() {
            if gap.len() > 1 && gap.contains(&position) {
                if position == gap.start {
                    self.put(*b"::", 2);
                }
                continue;
            }
            if position > 0 && !(gap.len() > 1 && gap.end == position) {
                self.byte(b':');
            }
            self.hex(u64::from(segment));
        }
    }

    /// A time (ns since the Unix epoch) as RFC 3339 in UTC, with nanoseconds. `second` is the last one's.
    #[inline]
    pub(super) fn rfc3339(&mut self, unix_ns: u64, second: &mut Second) {
        let (seconds, nanos) = (unix_ns / 1_000_000_000, (unix_ns % 1_000_000_000) as u32);
        if second.seconds != seconds {
            *second = Second::of(seconds);
        }
        self.put(second.text, 20);
        self.byte(b'0' + (nanos / 100_000_000) as u8);
        self.put(digits(nanos % 100_000_000), 8);
        self.byte(b'Z');
    }
}

/// A second as RFC 3339 has it, up to its fraction: most times that are told share it with the one before.
#[derive(Debug)]
pub(super) struct Second {
    /// Since the Unix epoch.
    seconds: u64,
    text: [u8; 20],
}

impl Second {
    #[cold]
    fn of(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, (seconds % 86_400) as u32);
        let (year, month, day) = civil(days);
        let [y3, y2, y1, y0, m1, m0, d1, d0] = digits((year * 10_000 + month * 100 + day) as u32);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let [_, _, h1, h0, i1, i0, s1, s0] = digits(hour * 10_000 + minute * 100 + second);
        let text =
            [y3, y2, y1, y0, b'-', m1, m0, b'-', d1, d0, b'T', h1, h0, b':', i1, i0, b':', s1, s0, b'.'];
        Self { seconds, text }
    }
}

impl Default for Second {
    fn default() -> Self {
        Self::of(0)
    }
}

/// Octets in decimal, each with a dot behind it.
const OCTETS: [[u8; 4]; 256] = {
    let mut octets = [[0; 4]; 256];
    let mut value = 0;
    while value < octets.len() {
        let (hundreds, tens) = (b'0' + (value / 100) as u8, b'0' + (value / 10 % 10) as u8);
        let ones = b'0' + (value % 10) as u8;
        octets[value] = if value > 99 {
            [hundreds, tens, ones, b'.']
        } else if value > 9 {
            [tens, ones, b'.', 0]
        } else {
            [ones, b'.', 0, 0]
        };
        value += 1;
    }
    octets
};

/// The eight decimal digits of a value below 10⁸, the first in front: halves, then quarters, then
/// digits are told apart in all lanes of a word at once, dividing by multiplication.
#[inline]
fn digits(value: u32) -> [u8; 8] {
    let (high, low) = (u64::from(value / 10_000), u64::from(value % 10_000));
    let halves = high | low << 32;
    let hundreds = (halves * 10_486) >> 20 & 0x0000_007F_0000_007F;
    let quarters = hundreds | (halves - hundreds * 100) << 16;
    let tens = (quarters * 103) >> 10 & 0x000F_000F_000F_000F;
    let all = tens | (quarters - tens * 10) << 8;
    (all | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The 16 hexadecimal digits of a value, the first in front.
#[inline]
fn hex_digits(value: u64) -> [u8; 16] {
    let spread = |half: u32| {
        let words = u64::from(half >> 16) | u64::from(half & 0xFFFF) << 32;
        let bytes = words >> 8 & 0x0000_00FF_0000_00FF | (words & 0x0000_00FF_0000_00FF) << 16;
        let nibbles = bytes >> 4 & 0x000F_000F_000F_000F | (bytes & 0x000F_000F_000F_000F) << 8;
        // Adding 6 carries into bit 4 from ten on: those are letters.
        let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
        nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)
    };
    let mut out = [0; 16];
    out[..8].copy_from_slice(&spread((value >> 32) as u32).to_le_bytes());
    out[8..].copy_from_slice(&spread(value as u32).to_le_bytes());
    out
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

/// What `write` makes, as a string of its own.
#[cfg(test)]
pub(super) fn in_string(write: impl FnOnce(&mut Text<'_>)) -> String {
    let mut room = [0; ROOM];
    let mut text = Text::new(&mut room);
    write(&mut text);
    let len = text.len();
    String::from_utf8(room[..len].to_vec()).unwrap()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let mut second = Second::default();
        for (nanos, want) in cases {
            for _ in 0..2 {
                assert_eq!(in_string(|text| text.rfc3339(nanos, &mut second)), want);
            }
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
    fn what_does_not_fit_is_left_out() {
        let text = in_string(|text| {
            text.put([b'x'; 53], 53);
            text.hex16(1);
            text.put(*b"yz!", 3);
            text.byte(b'.');
        });
        assert_eq!(text, format!("{}yz!", "x".repeat(53)));
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_standard_library_writes_them(
            key in any::<(u64, u32, u32)>(), shift in (0_u32..64, 0_u32..32, 0_u32..32), nanos: u32,
        ) {
            let key = TaskKey {
                start_boottime: key.0 >> shift.0,
                tgid: key.1 >> shift.1,
                exec: key.2 >> shift.2,
            };
            let TaskKey { start_boottime, tgid, exec } = key;
            prop_assert_eq!(in_string(|text| text.exec_id(key)), format!("{start_boottime:x}-{tgid}-{exec}"));
            prop_assert_eq!(in_string(|text| text.hex16(start_boottime)), format!("{start_boottime:016x}"));
            prop_assert_eq!(
                in_string(|text| text.device(tgid)), format!("{}:{}", tgid >> 20, tgid & 0xF_FFFF),
            );
            let nanos = nanos % 1_000_000_000;
            let time = in_string(|text| text.rfc3339(u64::from(nanos), &mut Second::default()));
            prop_assert_eq!(time, format!("1970-01-01T00:00:00.{nanos:09}Z"));
        }

        #[test]
        fn addresses_are_written_as_the_standard_library_writes_them(
            octets: [u8; 16], zeros: [bool; 8], mapped: bool,
        ) {
            let mut segments = Ipv6Addr::from(octets).segments();
            for (segment, zero) in segments.iter_mut().zip(zeros) {
                *segment *= u16::from(!zero);
            }
            if mapped {
                segments[..5].fill(0);
                segments[5] = 0xFFFF;
            }
            let v4 = Ipv4Addr::from([octets[0], octets[1], octets[2], octets[3]]);
            for address in [IpAddr::from(v4), Ipv6Addr::from(segments).into(), Ipv6Addr::from(octets).into()] {
                prop_assert_eq!(in_string(|text| text.address(address)), address.to_string());
            }
        }
    }
}
