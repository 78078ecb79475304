//! Several kernels in guests, two at a time: their tests wait more than they compute.

use anyhow::{Result, bail};

use crate::dist::Binaries;
use crate::install::Consent;
use crate::kernels::Kernel;
use crate::results::Results;
use crate::vm;

/// What became of several kernels.
pub(crate) struct Ran {
    /// Those that booted.
    pub(crate) done: Vec<(Kernel, Results)>,
    /// Why this machine cannot run the others.
    pub(crate) gaps: Vec<String>,
}

/// Runs the suite on each of `kernels`, and holds each to its expected skips.
pub(crate) fn run(consent: Consent, binaries: &Binaries, kernels: Vec<Kernel>) -> Result<Ran> {
    let (mut ready, mut gaps) = (Vec::new(), Vec::new());
    for kernel in kernels {
        match vm::get(consent, &kernel)? {
            Ok(unpacked) => ready.push((kernel, unpacked)),
            Err(gap) => gaps.push(format!("{}: {gap}", kernel.name)),
        }
    }
    let mut done = Vec::new();
    for pair in ready.chunks(2) {
        let ran = std::thread::scope(|scope| {
            let start = |(kernel, unpacked)| scope.spawn(move || vm::run(kernel, unpacked, binaries, ""));
            let threads: Vec<_> = pair.iter().map(|(kernel, unpacked)| start((kernel, unpacked))).collect();
            let ends = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            ends.map(|end| end.unwrap_or_else(|_| bail!("the thread of the guest panicked")))
                .collect::<Vec<_>>()
        });
        for ((kernel, _), results) in pair.iter().zip(ran) {
            let results = match results {
                Ok(mut results) => {
                    results.expect_skips(&kernel.skips);
                    results
                }
                // A guest that does not come to its end does not hide what another one found.
                Err(error) => Results::broken("the guest", &error),
            };
            done.push((kernel.clone(), results));
        }
    }
    Ok(Ran { done, gaps })
}
