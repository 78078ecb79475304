//! Whether the kernel's filters let an event pass that was stated, and not recorded.
//!
//! What filters look at is taken from the fields that say it; what is not stated may be anything. So an event that a rule
//! matches and that does not pass states what cannot be together, or a filter drops what it must not.

use tarsier_abi::syscall::{
    ALTERNATIVES, CLASSES, Call, FAMILY, Filter, Known, NO_ARGUMENT, Plan, RECIPES, Subject, WRITES, class,
    socket_head,
};

use super::{first_bytes, last_bytes};
use crate::event::syscall::{AF_INET, AF_INET6, AF_UNIX};
use crate::rules::evaluate::Scalar;
use crate::rules::stated::Stated;

/// Nothing is known of it.
const UNKNOWN: Known = Known { bits: 0, known: 0 };

/// Whether an event can pass the filters of `plan`.
pub fn lets_pass(plan: &Plan, event: &Stated) -> bool {
    let Some(call) = event.call() else { return true };
    // A program that started is told by another sensor.
    if matches!(call, Call::execve | Call::execveat) && failed(event) != Some(true) {
        return true;
    }
    let place = usize::from(plan.of_call.get(call as usize).copied().unwrap_or(0));
    let Some(filter) = place.checked_sub(1).and_then(|place| plan.filters.get(place)) else { return true };
    classes(call, event).any(|class| holds(filter, class, call, event))
}

/// Whether an event of this class can pass.
fn holds(filter: &Filter, class: usize, call: Call, event: &Stated) -> bool {
    let bits = filter.by_class.get(class).copied().unwrap_or(0);
    let in_common = filter.in_common.get(class).copied().unwrap_or_default();
    let any = |head: Known, tail: Known| {
        if !in_common.holds(head, tail) {
            return false;
        }
        let mut alternatives = filter.alternatives.iter().take(ALTERNATIVES).enumerate();
        alternatives.any(|(place, alternative)| bits >> place & 1 != 0 && alternative.holds(head, tail))
    };
    match RECIPES[call as usize].subject() {
        Subject::Outcome => bits != 0,
        Subject::Descriptor => {
            let port = ["fd.sport", "fd.rport"].into_iter().find_map(|name| number(event, name));
            let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
            families(event).into_iter().any(|family| any(socket(family, port), returned(event)))
        }
        // What was asked for is stated in words, of which nothing is known here.
        Subject::Choice => any(UNKNOWN, returned(event)),
        Subject::Path => match path(event) {
            Some(path) if is_clean(path) => any(all(first_bytes(path).0), all(last_bytes(path).0)),
            _ => bits != 0,
        },
    }
}

fn all(bits: u64) -> Known {
    Known { bits, known: u64::MAX }
}

/// The classes that the event can be of.
fn classes(call: Call, event: &Stated) -> impl Iterator<Item = usize> {
    let (failed, reads, writes) =
        (failed(event), truth(event, "evt.is_open_read"), truth(event, "evt.is_open_write"));
    let flags = RECIPES[call as usize].flags;
    let is_of = move |access: u32| match flags {
        NO_ARGUMENT => access == 0,
        WRITES => access == 1,
        // As `atoms` has it: an access mode of 3 is both.
        _ => {
            reads.is_none_or(|reads| reads == matches!(access, 0 | 2 | 3))
                && writes.is_none_or(|writes| writes == (access != 0))
        }
    };
    let ends = [false, true].into_iter().filter(move |end| failed.is_none_or(|failed| failed == *end));
    let of_access = move |access| ends.clone().map(move |failed| class(access, failed));
    (0..4_u32).filter(move |access| is_of(*access)).flat_map(of_access).filter(|class| *class < CLASSES)
}

fn failed(event: &Stated) -> Option<bool> {
    let by_number = number(event, "evt.rawres").map(|ret| ret < 0);
    let by_name = || text(event, "evt.res").map(|name| name != b"SUCCESS");
    by_number.or_else(|| truth(event, "evt.failed")).or_else(by_name)
}

/// What it returned.
fn returned(event: &Stated) -> Known {
    number(event, "evt.rawres").map_or(UNKNOWN, |ret| all(ret.cast_unsigned()))
}

/// What is known of a socket of this family, if it is known, whose peer has this port, if it is not 0.
fn socket(family: Option<u16>, port: u16) -> Known {
    let head = socket_head(family.unwrap_or(0), port);
    if family.is_some() { head } else { Known { known: head.known & !FAMILY, ..head } }
}

/// The families that its socket can have; none: any.
fn families(event: &Stated) -> Vec<Option<u16>> {
    let kind = text(event, "fd.type").or_else(|| text(event, "fd.typechar"));
    let families: &[u16] = match kind {
        None => return vec![None],
        // An IPv6 socket can speak IPv4.
        Some(b"ipv4" | b"4" | b"2") => &[AF_INET, AF_INET6],
        Some(b"ipv6" | b"6" | b"3") => &[AF_INET6],
        Some(b"unix" | b"u") => &[AF_UNIX],
        // Some other socket, or a file.
        Some(_) => return vec![None],
    };
    families.iter().copied().map(Some).collect()
}

/// The path as it was written, as far as is stated.
fn path(event: &Stated) -> Option<&[u8]> {
    ["fd.nameraw", "fs.path.nameraw", "fd.name", "fs.path.name"]
        .into_iter()
        .find_map(|name| text(event, name))
}

/// Paths of which the kernel judges what is written.
fn is_clean(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && !path.ends_with(b"/")
        && !path.ends_with(b".")
        && !path.windows(2).any(|pair| matches!(pair, b"//" | b"./"))
}

fn text<'a>(event: &'a Stated, name: &str) -> Option<&'a [u8]> {
    match event.of(name)?.first()? {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

fn number(event: &Stated, name: &str) -> Option<i64> {
    match event.of(name)?.first()? {
        Scalar::Number(number) => i64::try_from(*number).ok(),
        _ => None,
    }
}

fn truth(event: &Stated, name: &str) -> Option<bool> {
    match event.of(name)?.first()? {
        Scalar::Bool(value) => Some(*value),
        _ => None,
    }
}
