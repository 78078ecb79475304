//! What one comparison needs.

use super::super::condition::Operator;
use super::super::getters::errors;
use super::super::typed::{Operand, Right, Test};
use super::{Need, choice};
use crate::event::syscall::{AF_INET, AF_INET6, AF_UNIX};
use tarsier_abi::syscall::{CLASSES, Call, RECIPES, Subject, class};

/// What has to be so for a comparison to be true; each is enough.
pub(super) fn needs(call: Call, test: &Test) -> Vec<Need> {
    let known = match (&test.left, test.quantifier) {
        // What the agent never gives is never true.
        (Operand::Field(reference), _) if reference.field.lacks.is_some() => Some(Vec::new()),
        (Operand::Field(reference), None) if reference.field.name == "evt.arg" => {
            choice::needs(call, reference.argument.as_ref(), test)
        }
        (Operand::Field(reference), None) => of_field(call, reference.field.name, test),
        _ => None,
    };
    known.unwrap_or_else(|| vec![Need::default()])
}

/// None: nothing is known of it.
fn of_field(call: Call, name: &str, test: &Test) -> Option<Vec<Need>> {
    // Of other calls the descriptor is not what was returned.
    let is_open = RECIPES[call as usize].subject() == Subject::Path;
    match name {
        "fd.name" | "fs.path.name" => path(test),
        "fd.nameraw" | "fs.path.nameraw" => raw_path(test),
        "fd.directory" => directory(test),
        "fd.filename" => file_name(test),
        "evt.is_open_read" => opened(test, |access| matches!(access, 0 | 2 | 3)),
        "evt.is_open_write" => opened(test, |access| access != 0),
        "fd.num" if is_open => returned(test, |_| None),
        "evt.rawres" => returned(test, Some),
        "evt.res" => result(test),
        "evt.failed" => ended(boolean(test)?),
        "fd.typechar" | "fd.type" => kind(test),
        "fd.l4proto" => protocol(test),
        // Whoever connects is the client.
        "fd.sport" | "fd.rport" if call == Call::connect => port(test),
        _ => None,
    }
}

fn texts(test: &Test) -> Option<&[String]> {
    match &test.right {
        Right::Texts(texts) => Some(texts),
        _ => None,
    }
}

fn each(texts: &[String], need: impl Fn(&[u8]) -> Need) -> Option<Vec<Need>> {
    Some(texts.iter().map(|text| need(text.as_bytes())).collect())
}

fn path(test: &Test) -> Option<Vec<Need>> {
    let texts = texts(test)?;
    match test.operator {
        Operator::Equal | Operator::In | Operator::Intersects => {
            each(texts, |text| Need { head: text.to_vec(), tail: text.to_vec(), ..Need::default() })
        }
        Operator::StartsWith => each(texts, |text| Need { head: text.to_vec(), ..Need::default() }),
        Operator::EndsWith => each(texts, |text| Need { tail: text.to_vec(), ..Need::default() }),
        Operator::PathMatch => each(texts, |text| Need { head: before_component(text), ..Need::default() }),
        Operator::Glob => each(texts, |text| Need {
            head: before_pattern(text),
            tail: behind_pattern(text),
            ..Need::default()
        }),
        Operator::Contains => each(texts, |text| Need { is_unclean: only_unclean(text), ..Need::default() }),
        _ => None,
    }
}

/// As [`path`], of one that is absolute and clean: it is the same there. Of any other the text says nothing of where it
/// leads, and would contradict what does.
fn raw_path(test: &Test) -> Option<Vec<Need>> {
    let mut needs = path(test)?;
    needs.push(Need { is_unclean: true, ..Need::default() });
    Some(needs)
}

fn directory(test: &Test) -> Option<Vec<Need>> {
    let texts = texts(test)?;
    match test.operator {
        Operator::Equal | Operator::In | Operator::Intersects => each(texts, |text| {
            let mut head = text.to_vec();
            if head.last() != Some(&b'/') {
                head.push(b'/');
            }
            Need { head, ..Need::default() }
        }),
        Operator::StartsWith => each(texts, |text| Need { head: text.to_vec(), ..Need::default() }),
        Operator::PathMatch => each(texts, |text| Need { head: before_component(text), ..Need::default() }),
        Operator::Glob => each(texts, |text| Need { head: before_pattern(text), ..Need::default() }),
        _ => None,
    }
}

fn file_name(test: &Test) -> Option<Vec<Need>> {
    match test.operator {
        Operator::Equal | Operator::In | Operator::Intersects | Operator::EndsWith => {
            each(texts(test)?, |text| Need { tail: text.to_vec(), ..Need::default() })
        }
        _ => None,
    }
}

/// What a pattern begins with before anything in it means something; of a path, without the slash at its end, since a
/// pattern of `pmatch` matches the folder itself too.
fn before_pattern(text: &[u8]) -> Vec<u8> {
    let end = text.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(text.len());
    let plain = &text[..end];
    plain.strip_suffix(b"/").unwrap_or(plain).to_vec()
}

/// The same of a pattern of `pmatch`, whose slashes only part its components: one that does not begin with a slash, or has two
/// together, is not how a path begins.
fn before_component(text: &[u8]) -> Vec<u8> {
    let is_path = text.starts_with(b"/") && !text.windows(2).any(|pair| pair == b"//");
    if is_path { before_pattern(text) } else { Vec::new() }
}

/// What a pattern of `glob` ends with, behind all in it that means something.
fn behind_pattern(text: &[u8]) -> Vec<u8> {
    let start = text.iter().rposition(|byte| b"*?[]\\".contains(byte)).map_or(0, |last| last + 1);
    // Behind a backslash one byte stands for itself; it is left out too.
    let start = if start > 0 && text[start - 1] == b'\\' { start + 1 } else { start };
    text.get(start..).unwrap_or_default().to_vec()
}

/// Whether only a path that is not clean has this in it.
fn only_unclean(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"//" || pair == b"./")
}

fn boolean(test: &Test) -> Option<bool> {
    match (&test.right, test.operator) {
        (Right::Bools(values), Operator::Equal | Operator::In) => match values.as_slice() {
            [value] => Some(*value),
            _ => None,
        },
        _ => None,
    }
}

/// What is opened in one of these ways, and did not fail by that alone.
fn opened(test: &Test, is: fn(u32) -> bool) -> Option<Vec<Need>> {
    if !boolean(test)? {
        return None;
    }
    let never = (0..4).filter(|access| !is(*access));
    let never = never.fold(0, |bits, access| bits | 1 << class(access, false) | 1 << class(access, true));
    Some(vec![Need { never, ..Need::default() }])
}

/// Classes of calls that failed, or of those that did not.
fn ended(failed: bool) -> Option<Vec<Need>> {
    let never =
        (0..CLASSES).filter(|class| (class % 2 == 1) != failed).fold(0, |bits, class| bits | 1 << class);
    Some(vec![Need { never, ..Need::default() }])
}

/// `of_failure`: what a call returned that failed with this; none: any error is told as the same.
fn returned(test: &Test, of_failure: fn(i64) -> Option<i64>) -> Option<Vec<Need>> {
    let Right::Numbers(numbers) = &test.right else { return None };
    let one = || numbers.first().copied().filter(|_| numbers.len() == 1);
    match test.operator {
        Operator::GreaterOrEqual if one()? >= 0 => ended(false),
        Operator::Greater if one()? >= -1 => ended(false),
        Operator::Less if one()? <= 0 => ended(true),
        Operator::LessOrEqual if one()? < 0 => ended(true),
        Operator::Equal | Operator::In | Operator::Intersects => {
            let mut all = Vec::new();
            for number in numbers {
                let number = i64::try_from(*number).ok()?;
                let mut need = ended(number < 0)?.pop()?;
                let ret = if number < 0 { of_failure(number) } else { Some(number) };
                need.returned.extend(ret);
                all.push(need);
            }
            Some(all)
        }
        _ => None,
    }
}

fn result(test: &Test) -> Option<Vec<Need>> {
    let texts = texts(test)?;
    let is_success = |text: &String| text == "SUCCESS";
    match test.operator {
        Operator::Equal | Operator::In | Operator::Intersects if texts.iter().all(is_success) => ended(false),
        Operator::Equal | Operator::In | Operator::Intersects if !texts.iter().any(is_success) => {
            let mut need = ended(true)?.pop()?;
            need.returned =
                texts.iter().filter_map(|text| errors::number(text)).filter(|ret| *ret < 0).collect();
            // What is no error at all is never so.
            Some(if need.returned.is_empty() { Vec::new() } else { vec![need] })
        }
        Operator::NotEqual if texts.iter().all(is_success) => ended(true),
        Operator::StartsWith if texts.iter().all(|text| text.starts_with('E')) => ended(true),
        _ => None,
    }
}

fn equal(test: &Test) -> Option<&[String]> {
    let is = matches!(test.operator, Operator::Equal | Operator::In | Operator::Intersects);
    texts(test).filter(|_| is)
}

fn kind(test: &Test) -> Option<Vec<Need>> {
    let mut families = Vec::new();
    for text in equal(test)? {
        families.extend(match text.as_str() {
            // An IPv6 socket can speak IPv4.
            "4" | "ipv4" => &[AF_INET, AF_INET6][..],
            "6" | "ipv6" => &[AF_INET6],
            "u" | "unix" => &[AF_UNIX],
            _ => return None,
        });
    }
    Some(vec![Need { families, ..Need::default() }])
}

/// Only of an IP socket there is one. Which one follows from type and protocol together, and is left to user space.
fn protocol(test: &Test) -> Option<Vec<Need>> {
    // What has none says so.
    let is_none = |text: &String| text == "<NA>";
    if equal(test)?.iter().any(is_none) {
        return None;
    }
    Some(vec![Need { families: vec![AF_INET, AF_INET6], ..Need::default() }])
}

/// Of an IP socket, the port of its peer.
fn port(test: &Test) -> Option<Vec<Need>> {
    let (Right::Numbers(numbers), Operator::Equal | Operator::In | Operator::Intersects) =
        (&test.right, test.operator)
    else {
        return None;
    };
    // Not a port at all: never so. That there is none the kernel does not tell from one that the call named.
    let ports: Vec<u16> = numbers.iter().filter_map(|number| u16::try_from(*number).ok()).collect();
    if ports.is_empty() {
        return Some(Vec::new());
    }
    Some(vec![Need { families: vec![AF_INET, AF_INET6], ports, ..Need::default() }])
}
