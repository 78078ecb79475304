//! What no kernel says, and what a record may claim all the same. Each was found by a fuzzer (`tests/fuzz/tcp`).

use super::*;

#[test]
fn an_owner_record_of_the_end_of_time_finds_its_place() {
    let mut bench = Bench::new(Limits::default());
    bench.table.apply(&server().owner(task(7)), u64::MAX, &mut bench.flows);
    assert_eq!(bench.table.len(), 1);
    bench.table.advance(u64::MAX, &mut bench.flows);
    assert_eq!((bench.flows.len(), bench.table.counts().orphan_owners), (0, 1));
}
