//! Connection ids.

use std::net::IpAddr;

use proptest::prelude::*;
use tarsier_abi::tcp::state;

use super::entities::flow;
use crate::encode::ids::{FlowIds, SpanIds};
use crate::event::{Flow, Role};

const KEY: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The two ends of one connection, seen through any address translation.
fn ends() -> impl Strategy<Value = (Flow, Flow)> {
    let isn = (1..=u32::MAX, 1..=u32::MAX);
    (flow(), flow(), isn).prop_map(|(mut client, mut server, isn)| {
        client.role = Role::Client;
        server.role = Role::Server;
        for end in [&mut client, &mut server] {
            end.isn = isn;
            end.state = state::LAST_ACK;
        }
        (client, server)
    })
}

proptest! {
    #[test]
    fn both_ends_derive_one_trace_and_the_server_is_the_clients_child((client, server) in ends()) {
        let (client, server) = (FlowIds::new(KEY).of(&client), FlowIds::new(KEY).of(&server));
        prop_assert_eq!(client.trace, server.trace);
        prop_assert_eq!(client.parent, None);
        prop_assert_eq!(server.parent, Some(client.span));
        prop_assert_ne!(server.span, client.span);
    }

    #[test]
    fn another_key_or_another_number_is_another_trace((client, _) in ends(), delta in 1..u32::MAX) {
        let ids = FlowIds::new(KEY).of(&client);
        prop_assert_ne!(ids.trace, FlowIds::new(b"0123456789abcdeF").of(&client).trace);
        let mut other = client;
        other.isn.1 = other.isn.1.wrapping_add(delta);
        let other = FlowIds::new(KEY).of(&other);
        prop_assert_ne!(ids.trace, other.trace);
        prop_assert_ne!(ids.span, other.span);
    }

    #[test]
    fn what_cannot_be_paired_has_no_parent_and_ids_of_its_own(flow in flow()) {
        let mut unknown = flow.clone();
        unknown.role = Role::Unknown;
        let mut failed = flow;
        failed.role = Role::Client;
        failed.isn.1 = 0;
        failed.state = state::SYN_SENT;
        for alone in [unknown, failed] {
            let ids = FlowIds::new(KEY).of(&alone);
            prop_assert_eq!(ids.parent, None);
            prop_assert_eq!(ids, FlowIds::new(KEY).of(&alone));
            let mut other = alone.clone();
            other.local.1 = other.local.1.wrapping_add(1);
            prop_assert_ne!(ids.trace, FlowIds::new(KEY).of(&other).trace);
            let mut later = alone;
            later.start_ns += 1;
            prop_assert_ne!(ids.trace, FlowIds::new(KEY).of(&later).trace);
        }
    }
}

/// Agents of different versions must agree: these values may never change. They were computed with
/// another implementation of SipHash-2-4 (128 bits).
#[test]
fn ids_are_what_they_always_were() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut flow = proptest::strategy::ValueTree::current(&flow().new_tree(&mut runner).unwrap());
    flow.state = state::FIN_WAIT2;
    flow.isn = (0x0102_0304, 0x0506_0708);
    flow.role = Role::Client;
    let show = |ids: SpanIds| (hex(&ids.trace), hex(&ids.span), ids.parent.map(|parent| hex(&parent)));
    let client = show(FlowIds::new(KEY).of(&flow));
    flow.role = Role::Server;
    let server = show(FlowIds::new(KEY).of(&flow));
    flow.role = Role::Unknown;
    flow.local = (IpAddr::from([10, 0, 0, 1]), 40_000);
    flow.peer = (IpAddr::from([10, 0, 0, 2]), 8080);
    flow.net_ns = 4_026_531_840;
    flow.start_ns = 123_456_789;
    let alone = show(FlowIds::new(KEY).of(&flow));
    assert_eq!(client, ("30ee73cdd31cb186518569ae6bfd08b6".to_owned(), "422220595f177bdf".to_owned(), None));
    assert_eq!(
        server,
        (
            "30ee73cdd31cb186518569ae6bfd08b6".to_owned(),
            "7ca7224502139f16".to_owned(),
            Some("422220595f177bdf".to_owned())
        )
    );
    assert_eq!(alone, ("1cd20c32d0e14b192966d3f37c618595".to_owned(), "9e738514cb01fa41".to_owned(), None));
}
