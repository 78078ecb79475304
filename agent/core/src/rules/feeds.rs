//! Where the values of fields come from that rules ask for.

use super::fields::Feed;
use super::format::{Format, Part};
use super::ruleset::Ruleset;
use super::typed::{Expr, Operand, Right};

/// A set of feeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feeds(u16);

impl Feeds {
    /// Whether this one is among them.
    pub fn has(self, feed: Feed) -> bool {
        self.0 & 1 << feed as u16 != 0
    }

    /// Whether any of them is what a container's runtime says, of itself or its pod.
    pub fn has_runtime(self) -> bool {
        self.has(Feed::Runtime) || self.has(Feed::Kubernetes)
    }

    /// Those of the conditions of all rules that are on.
    pub fn of_conditions(set: &Ruleset) -> Self {
        let mut feeds = Self::default();
        let on = set.rules.iter().filter(|ready| ready.rule.is_enabled && ready.can_match());
        on.for_each(|ready| feeds.add_expr(&ready.expr));
        feeds
    }

    pub(super) fn add(&mut self, feed: Feed) {
        self.0 |= 1 << feed as u16;
    }

    pub(super) fn add_format(&mut self, format: &Format) {
        for part in &format.parts {
            if let Part::Value { operand, .. } = part {
                self.add_operand(operand);
            }
        }
    }

    fn add_operand(&mut self, operand: &Operand) {
        match operand {
            Operand::Field(field) => self.add(field.field.feed),
            Operand::Transformed { arguments, .. } => {
                arguments.iter().for_each(|argument| self.add_operand(argument));
            }
            Operand::Literal(_) => {}
        }
    }

    fn add_expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Constant(_) => {}
            Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| self.add_expr(part)),
            Expr::Not(inner) => self.add_expr(inner),
            Expr::Test(test) => {
                self.add_operand(&test.left);
                if let Right::Operand(operand) = &test.right {
                    self.add_operand(operand);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::load::Source;

    #[test]
    fn conditions_are_looked_through() {
        let rule = |name: &str, condition: &str| {
            format!(
                "- rule: {name}\n  desc: d\n  condition: evt.type = open and {condition}\n  output: o\n  priority: INFO\n"
            )
        };
        let feeds = |condition: &str| {
            let text = rule("r", condition);
            let set = Ruleset::load(&[Source { name: "r.yaml", text: &text }]);
            assert!(!set.has_errors(), "{:?}", set.problems);
            Feeds::of_conditions(&set)
        };
        assert!(!feeds("container.id != host and proc.name = a").has_runtime());
        assert!(feeds("(proc.name = a or not container.privileged = true)").has_runtime());
        assert!(feeds("k8s.ns.name = a").has_runtime());
        assert!(feeds("proc.name = val(user.name)").has(Feed::Users));
        assert!(feeds("toupper(group.name) = A").has(Feed::Users));
        assert!(!feeds("user.uid = 0").has(Feed::Users));
        assert!(!feeds("evt.type = close and user.name = a").has(Feed::Users), "it cannot match");
    }
}
