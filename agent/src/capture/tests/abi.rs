//! The version of the records follows the records.

/// What the records are, and the version they have. A flag that was added (`BOUND`, of seeds) needs no new one: captures made
/// before do not have it, and are read as they were.
const RECORDS: (u32, u32) = (2, 1_430_736_793);

#[test]
fn a_changed_record_changes_the_abi_version() {
    let mut hasher = crc32fast::Hasher::new();
    for source in [
        include_str!("../../../../ebpf/abi/src/header.rs"),
        include_str!("../../../../ebpf/abi/src/cgroup.rs"),
        include_str!("../../../../ebpf/abi/src/exec.rs"),
        include_str!("../../../../ebpf/abi/src/fork.rs"),
        include_str!("../../../../ebpf/abi/src/exit.rs"),
        include_str!("../../../../ebpf/abi/src/tcp.rs"),
    ] {
        // Fields and values, without words about them, functions, and where programs attach.
        for line in source.lines().map(str::trim) {
            let field = line.starts_with("pub ") || line.contains(" = ") && line.ends_with(',');
            let no_field = ["pub mod", "pub const fn", "pub const ATTACH"];
            if field && !no_field.iter().any(|start| line.starts_with(start)) {
                hasher.update(line.as_bytes());
            }
        }
    }
    let now = (tarsier_abi::ABI, hasher.finalize());
    assert_eq!(
        now, RECORDS,
        "a record changed: captures made before are read wrongly now. Raise tarsier_abi::ABI, make the captures \
         in tests/captures anew (cargo xtask corpus) and note the pair here"
    );
}
