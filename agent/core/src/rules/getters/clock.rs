//! `evt.time` and its kin. Falco writes the node's local time; this is UTC wherever it runs.

use super::{With, number, put, text};
use crate::rules::facts::Facts;
use crate::rules::typed::Argument;

const SECOND: u64 = 1_000_000_000;

/// A moment in the calendar, UTC.
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    nanos: u64,
}

impl Moment {
    /// Of nanoseconds since 1970.
    fn of(unix_ns: u64) -> Self {
        let (seconds, nanos) = (unix_ns / SECOND, unix_ns % SECOND);
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // The calendar repeats every 400 years of 146,097 days; years begin in March, so that a leap day is the last.
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            nanos,
        }
    }
}

fn write(facts: &Facts<'_>, with: With<'_>, put: impl FnOnce(&mut Vec<u8>, Moment)) {
    facts.cache.once(|out| put(out, Moment::of(facts.unix_ns)), |time| text(time, with));
}

pub(in crate::rules) fn time(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    write(facts, with, |out, at| {
        put!(out, "{:02}:{:02}:{:02}.{:09}", at.hour, at.minute, at.second, at.nanos);
    });
}

pub(in crate::rules) fn time_s(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    write(facts, with, |out, at| put!(out, "{:02}:{:02}:{:02}", at.hour, at.minute, at.second));
}

pub(in crate::rules) fn iso8601(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    write(facts, with, |out, at| {
        date(out, &at, 'T');
        put!(out, ".{:09}+0000", at.nanos);
    });
}

pub(in crate::rules) fn datetime(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    write(facts, with, |out, at| {
        date(out, &at, ' ');
        put!(out, ".{:09}", at.nanos);
    });
}

pub(in crate::rules) fn datetime_s(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    write(facts, with, |out, at| date(out, &at, ' '));
}

fn date(out: &mut Vec<u8>, at: &Moment, between: char) {
    let Moment { year, month, day, hour, minute, second, .. } = at;
    put!(out, "{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}");
}

pub(in crate::rules) fn raw(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(facts.unix_ns, with);
}

pub(in crate::rules) fn raw_s(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(facts.unix_ns / SECOND, with);
}

pub(in crate::rules) fn raw_ns(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(facts.unix_ns % SECOND, with);
}

/// Since the first event; a clock that was set back has none.
fn since_first(facts: &Facts<'_>) -> u64 {
    facts.unix_ns.saturating_sub(facts.first_unix_ns)
}

pub(in crate::rules) fn relative(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(since_first(facts), with);
}

pub(in crate::rules) fn relative_s(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(since_first(facts) / SECOND, with);
}

pub(in crate::rules) fn relative_ns(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(since_first(facts) % SECOND, with);
}

/// Appends date and time with the zone, as arguments have them.
pub(super) fn write_with_zone(unix_ns: u64, out: &mut Vec<u8>) {
    let at = Moment::of(unix_ns);
    date(out, &at, ' ');
    put!(out, ".{:09} +0000", at.nanos);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_the_calendar() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00:00.000000007 +0000"),
            (951_782_399, "2000-02-28 23:59:59.000000007 +0000"),
            (951_782_400, "2000-02-29 00:00:00.000000007 +0000"),
            (1_709_164_800, "2024-02-29 00:00:00.000000007 +0000"),
            (1_735_689_599, "2024-12-31 23:59:59.000000007 +0000"),
            (4_107_542_400, "2100-03-01 00:00:00.000000007 +0000"),
        ] {
            let mut out = Vec::new();
            write_with_zone(unix_s * SECOND + 7, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
