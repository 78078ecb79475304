//! The reader on this kernel's own BTF, and on what is none.

use proptest::prelude::*;

use super::*;

fn running_kernel() -> Btf {
    let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel has BTF");
    Btf::parse(data).expect("the kernel's own BTF")
}

#[test]
fn resolves_what_every_kernel_has() {
    let btf = running_kernel();
    let tgid = btf.member("task_struct", "tgid").expect("task_struct.tgid");
    assert_eq!((tgid.size, tgid.is_pointer), (4, false));
    let leader = btf.member("task_struct", "group_leader").expect("task_struct.group_leader");
    assert_eq!((leader.size, leader.is_pointer), (8, true));
    let pid = btf.member("task_struct", "pid").expect("task_struct.pid");
    assert_eq!(pid.offset + 4, tgid.offset, "pid and tgid are neighbours");
    assert_eq!(btf.member("sock", "__sk_common.skc_dport").map(|m| m.offset), Some(12));
    assert_eq!(btf.member("task_struct", "no_such_field"), None);
    assert_eq!(btf.member("no_such_struct", "x"), None);
    assert_eq!(btf.first_bit("sock", "__sk_common"), Some(0));
    let kernel_sock = btf.first_bit("sock", "sk_kern_sock").expect("sock.sk_kern_sock");
    assert_ne!(kernel_sock % 8, 0, "the second bit of its byte since it exists");
    assert_eq!(btf.member("sock", "sk_kern_sock"), None, "a bit field is not at a byte");
    assert_eq!(btf.first_bit("sock", "no_such_field"), None);
    assert_eq!(btf.enumerator("sock_flags", "SOCK_DONE"), Some(1));
    assert!(btf.tracepoint_arity("sched_process_fork") == Some(2));
    assert_eq!(btf.tracepoint_arity("no_such_tracepoint"), None);
    assert!(btf.function("tcp_connect").is_some() && btf.function("no_such_function").is_none());
}

#[test]
fn array_elements_and_nested_paths() {
    let btf = running_kernel();
    let whole = btf.member("tcp_sock", "rtt_min").expect("tcp_sock.rtt_min");
    let value = btf.member("tcp_sock", "rtt_min.s[0].v").expect("first sample");
    assert_eq!(value.offset, whole.offset + 4);
    let second = btf.member("tcp_sock", "rtt_min.s[1].v").expect("second sample");
    assert_eq!(second.offset, value.offset + 8);
}

#[test]
fn an_outline_has_the_ids_of_the_whole() {
    let names = ["btf_trace_sched_process_fork".to_owned(), "bpf_iter_task".to_owned()];
    let whole = running_kernel();
    let outline = whole.outline(&names);
    aya::Btf::parse(&outline, aya::Endianness::default()).expect("aya reads it");
    let outline = Btf::parse(outline).expect("an outline is BTF");
    assert_eq!(outline.types.len(), whole.types.len());
    let id = |btf: &Btf, name: &str, kind: u32| {
        (1..btf.types.len() as u32).find(|&id| {
            btf.type_of(id).is_some_and(|t| t.kind == kind && btf.string(t.name) == name.as_bytes())
        })
    };
    for (name, kind) in names.iter().zip([kind::TYPEDEF, kind::FUNC]) {
        let found = id(&outline, name, kind);
        assert!(found.is_some() && found == id(&whole, name, kind), "{name}");
    }
    assert_eq!(id(&outline, "bpf_iter_tcp", kind::FUNC), None, "not asked for");
}

#[test]
fn refuses_what_is_not_btf() {
    assert_eq!(Btf::parse(Vec::new()).err(), Some(BtfError::Header));
    assert_eq!(Btf::parse(vec![0; 64]).err(), Some(BtfError::Header));
}

proptest! {
    /// Truncated or corrupted BTF is refused or read, never a panic or an endless loop.
    #[test]
    fn total_on_bad_data(mut data in proptest::collection::vec(any::<u8>(), 0..512), valid in any::<bool>()) {
        if valid && data.len() >= 24 {
            data[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
            let len = (data.len() - 24) as u32;
            data[8..12].copy_from_slice(&0_u32.to_le_bytes());
            data[12..16].copy_from_slice(&len.to_le_bytes());
            data[16..20].copy_from_slice(&0_u32.to_le_bytes());
            data[20..24].copy_from_slice(&len.to_le_bytes());
        }
        if let Ok(btf) = Btf::parse(data) {
            let names: Vec<String> =
                btf.names.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            for name in names {
                btf.member(&name, "a.b");
                btf.size_of(&name);
                btf.enumerator(&name, "a");
            }
        }
    }
}

/// A BTF file of these types (words) and strings.
fn file(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut data = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, types.len(), types.len(), strings.len()] {
        data.extend_from_slice(&(word as u32).to_le_bytes());
    }
    [data, types, strings.to_vec()].concat()
}

#[test]
fn a_structure_that_holds_itself_twice_is_searched_in_bounded_time() {
    let structure = [1, kind::STRUCT << 24 | 2, 8, 0, 1, 0, 0, 1, 0];
    let btf = Btf::parse(file(&structure, b"\0s\0")).expect("BTF");
    assert_eq!(btf.size_of("s"), Some(8));
    assert_eq!(btf.member("s", "x"), None);
}
