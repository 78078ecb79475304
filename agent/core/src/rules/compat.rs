//! Where Falco is plainly wrong: its behaviour, for whoever holds one against the other.

use tarsier_abi::syscall::Call;

use super::condition::Operator;
use super::facts;
use super::ruleset::Ruleset;
use super::typed::{Expr, Operand, Right, Test};

/// Whose mistakes rules are run with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// None that is known.
    #[default]
    Tarsier,
    /// Falco's.
    Falco,
}

impl Compat {
    /// The rules, as this one understands them.
    pub fn apply(self, set: &mut Ruleset) {
        if self == Self::Falco {
            set.rules.iter_mut().for_each(|ready| like_falco(&mut ready.expr));
        }
    }

    /// The types of events that a call is ([`facts::kinds`]). Falco knows nothing of calls that do the same as older ones.
    pub fn kinds(self, call: Call) -> impl Iterator<Item = usize> {
        facts::kinds(call).take(if self == Self::Falco { 1 } else { usize::MAX })
    }
}

fn like_falco(expr: &mut Expr) {
    match expr {
        Expr::Constant(_) => {}
        Expr::And(parts) | Expr::Or(parts) => parts.iter_mut().for_each(like_falco),
        Expr::Not(inner) => like_falco(inner),
        Expr::Test(Test { left: Operand::Field(reference), operator: Operator::In, right, .. }) => {
            // Of several networks Falco compares the first (libs, `sinsp_filter_check_fd`).
            if let ("fd.net", Right::Networks(networks)) = (reference.field.name, right) {
                networks.truncate(1);
            }
        }
        Expr::Test(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::syscall;
    use crate::rules::evaluate::evaluate;
    use crate::rules::event_types::NAMES;
    use crate::rules::facts::{Facts, What};
    use crate::rules::getters::tests::sample::{World, record};
    use crate::rules::load::Source;
    use tarsier_abi::syscall::SocketFacts;

    /// Whether the condition is true of a connection from 10.0.0.7 to 192.0.2.1, here and in Falco.
    fn both(condition: &str) -> [bool; 2] {
        let text = format!(
            "- rule: r\n  desc: d\n  condition: evt.type = connect and {condition}\n  output: o\n  priority: INFO\n"
        );
        let mut facts = SocketFacts {
            family: 2,
            kind: 1,
            protocol: 6,
            peer_port: 80,
            state: 1,
            ..SocketFacts::default()
        };
        facts.local[..4].copy_from_slice(&[10, 0, 0, 7]);
        facts.peer[..4].copy_from_slice(&[192, 0, 2, 1]);
        let bytes = record(Call::connect, 0, &[3, 0, 16]).socket(facts).bytes();
        let event = syscall::decode(Call::connect as u8, &bytes).expect("a record");
        let world = World::new();
        let facts = Facts { what: What::Syscall(&event), ..world.facts() };
        [Compat::Tarsier, Compat::Falco].map(|compat| {
            let mut set = Ruleset::load(&[Source { name: "r.yaml", text: &text }]);
            compat.apply(&mut set);
            evaluate(&set.rules[0].expr, &facts)
        })
    }

    #[test]
    fn networks_behind_the_first_count_here() {
        let table = [
            ("fd.net in (\"192.0.2.0/24\", \"172.16.0.0/12\")", [true, true]),
            ("fd.net in (\"172.16.0.0/12\", \"192.0.2.0/24\")", [true, false]),
            ("not fd.net in (\"172.16.0.0/12\", \"10.0.0.0/8\")", [false, true]),
            ("fd.snet in (\"172.16.0.0/12\", \"192.0.2.0/24\")", [true, true]),
            ("fd.net = \"192.0.2.0/24\"", [true, true]),
        ];
        for (condition, expected) in table {
            assert_eq!(both(condition), expected, "{condition}");
        }
    }

    #[test]
    fn newer_calls_are_what_they_do_here() {
        let kinds = |compat: Compat, call| compat.kinds(call).map(|kind| NAMES[kind]).collect::<Vec<_>>();
        let table = [
            (Call::creat, vec!["creat", "open"]),
            (Call::open_by_handle_at, vec!["open_by_handle_at", "open"]),
            (Call::fchmodat2, vec!["fchmodat2", "fchmodat"]),
            (Call::openat, vec!["openat"]),
        ];
        for (call, expected) in table {
            assert_eq!(kinds(Compat::Falco, call), expected[..1]);
            assert_eq!(kinds(Compat::Tarsier, call), expected);
        }
    }
}
