//! BTF, as the kernel says it.

use crate::kernel::btf::Btf;
use crate::kernel::features;
use crate::kernel::offsets::{Offsets, globals_from};

/// A BTF file: whatever it holds, looking up all that the agent looks up ends, and its outline is BTF with the
/// same type ids.
pub(super) fn btf(input: &[u8]) {
    let Ok(btf) = Btf::parse(input.to_vec()) else { return };
    let offsets = Offsets::resolve(&btf);
    offsets.fingerprint();
    globals_from(&btf);
    let _ = features::require(&btf);
    btf.function("tcp_connect");
    let outline = btf.outline(&["btf_trace_sched_process_exec".to_owned(), "bpf_iter_task".to_owned()]);
    let outline = Btf::parse(outline).expect("an outline is BTF");
    assert_eq!(outline.types(), btf.types());
}
