//! What the kernel's verifier has to look at before it accepts each program. It grows by surprise: one
//! branch more in a loop can multiply it, and an older kernel then refuses the program.

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};

use super::SCENE;
use crate::harness::alerts::{Alerts, BARRIER};
use crate::harness::ledger::Ledger;
use crate::runner::{Context, Skip, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "budget/verified_instructions", needs: SCENE, run: verified_instructions }];

/// A row for each program; the fifth column is its limit.
const TABLE: &str = include_str!("../../../ebpf/budget.txt");
const VERIFIED: &str = "tarsier_program_verified_instructions";

fn verified_instructions(context: &Context) -> anyhow::Result<()> {
    // A rule has all programs loaded.
    let alerts = Alerts::new(context, "budget", BARRIER)?;
    let ledger = alerts.agent.ledger()?;
    if ledger.sum(VERIFIED, &[])? == 0.0 {
        return Err(Skip("this kernel does not say what its verifier looked at (5.16)".to_owned()).into());
    }
    within(context, &ledger)
}

/// An error if a loaded program is over its limit, or has none. What was counted is noted.
pub(super) fn within(context: &Context, ledger: &Ledger) -> anyhow::Result<()> {
    let (mut counted, mut sum, mut over) = (Map::new(), 0.0, Vec::new());
    for row in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = row.split_whitespace().collect();
        let program = words[0];
        let verified = ledger.sum(VERIFIED, &[("program", program)])?;
        if verified == 0.0 {
            continue;
        }
        sum += verified;
        counted.insert(program.to_owned(), (verified as u64).into());
        let limit = words.get(4).and_then(|word| word.parse::<f64>().ok());
        let limit = limit.with_context(|| format!("{program} needs a limit in ebpf/budget.txt"))?;
        if verified > limit {
            over.push(format!("{program}: {verified}, limit {limit}"));
        }
    }
    context.note("verified", Value::Object(counted));
    let all = ledger.sum(VERIFIED, &[])?;
    ensure!(all == sum, "a program that is not in ebpf/budget.txt: run `cargo xtask ebpf`");
    ensure!(over.is_empty(), "over budget: {}", over.join("; "));
    Ok(())
}
