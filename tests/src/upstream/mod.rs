//! Falco's own rules, and ours, each with an action that it is to tell of and one that is nearly the same and it is not.
//!
//! The rule files are not in this repository: `--rules` names the folder that has them, unchanged. Here is only what is done
//! and which fields tell it. Reading order: `row`, then the rows by what they do (`files`, `programs`,
//! `network`, `privileges`), `stage` (where it is done) and `image` (with what), `run`.

mod files;
mod image;
mod network;
mod ours;
mod privileges;
mod programs;
mod row;
mod run;
mod stage;

use row::Row;

use crate::runner::{Need, Test};

/// Every test with Falco's rules.
pub fn tests() -> Vec<Test> {
    const NEEDS: &[Need] =
        &[Need::Cgroup2, Need::Rules, Need::Tool("runc"), Need::Tool("busybox"), Need::StaticAgent];
    vec![
        Test {
            name: "upstream/every_rule_has_its_row",
            needs: &[Need::Rules],
            run: run::every_rule_has_its_row,
        },
        Test {
            name: "upstream/stable_rules_tell",
            needs: NEEDS,
            run: |context| run::tell(context, run::STABLE),
        },
        Test {
            name: "upstream/incubating_rules_tell",
            needs: NEEDS,
            run: |context| run::tell(context, run::INCUBATING),
        },
    ]
}

/// The test with our own rules, which are part of it.
pub const OURS: &[Test] = &[Test {
    name: "ours/every_rule_tells",
    needs: &[Need::Cgroup2, Need::OwnKernel, Need::Tool("runc"), Need::Tool("busybox"), Need::StaticAgent],
    run: run::tell_ours,
}];

/// The row of every rule of Falco's, in no order.
fn rows() -> impl Iterator<Item = &'static Row> {
    [files::ROWS, programs::ROWS, network::ROWS, privileges::ROWS].into_iter().flatten()
}
