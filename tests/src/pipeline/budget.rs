//! What the kernel's verifier has to look at before it accepts each program. It grows by surprise: one
//! branch more in a loop can multiply it, and an older kernel then refuses the program.

use anyhow::ensure;

use super::SCENE;
use crate::harness::scene::Scene;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "budget/verified_instructions", needs: SCENE, run: verified_instructions }];

/// Most verified instructions of each program on any kernel of `kernels.toml`; a kernel refuses a program
/// at a million. Beside it what 6.18 counted when the line was last changed.
const BUDGET: [(&str, u32); 9] = [
    ("cgroup_mkdir", 500),   // 208
    ("cgroup_rmdir", 500),   // 208
    ("exec", 150_000),       // 82,444
    ("exit", 600),           // 292
    ("fork", 700),           // 331
    ("seed_sockets", 5_000), // 1,293; 2,896 on 6.1
    ("seed_tasks", 150_000), // 77,268
    ("tcp", 6_000),          // 2,879
    ("tcp_sweep", 200_000),  // 107,654
];

fn verified_instructions(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "budget")?;
    let ledger = scene.agent.ledger()?;
    let mut over = Vec::new();
    let mut sum = 0.0;
    for (program, most) in BUDGET {
        let verified = ledger.sum("tarsier_program_verified_instructions", &[("program", program)])?;
        ensure!(verified > 0.0, "{program} was not counted");
        sum += verified;
        if verified > f64::from(most) {
            over.push(format!("{program}: {verified}, budget {most}"));
        }
    }
    let all = ledger.sum("tarsier_program_verified_instructions", &[])?;
    ensure!(all <= sum, "there is a program without a budget");
    ensure!(over.is_empty(), "over budget: {}", over.join("; "));
    Ok(())
}
