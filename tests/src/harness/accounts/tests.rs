//! The equations hold for books that agree, and each of them fails when one figure is wrong.

use super::*;

/// Two execs (one with a further record), a fork, three exits, one of them lost; two sockets; all logs sent
/// but two.
const PAGE: &str = r#"
tarsier_records_produced_total{sensor="exec"} 3
tarsier_records_received_total{sensor="exec"} 3
tarsier_records_lost_total{sensor="exec",reason="ring_full"} 0
tarsier_sequence_gaps_total{sensor="exec"} 0
tarsier_records_produced_total{sensor="fork"} 1
tarsier_records_received_total{sensor="fork"} 1
tarsier_records_lost_total{sensor="fork",reason="ring_full"} 0
tarsier_records_produced_total{sensor="exit"} 3
tarsier_records_received_total{sensor="exit"} 2
tarsier_records_lost_total{sensor="exit",reason="ring_full"} 1
tarsier_sequence_gaps_total{sensor="exit"} 1
tarsier_records_produced_total{sensor="tcp"} 9
tarsier_records_received_total{sensor="tcp"} 9
tarsier_program_recursion_misses_total{program="exec"} 0
tarsier_program_recursion_misses_total{program="exit_fentry"} 0
tarsier_reports_total{kind="exec"} 2
tarsier_reports_total{kind="fork"} 1
tarsier_reports_total{kind="exit"} 2
tarsier_reports_total{kind="flow"} 2
tarsier_process_argument_records_total 1
tarsier_process_anomalies_total{kind="stray_args"} 0
tarsier_flows_begun_total 3
tarsier_flow_anomalies_total{kind="half_open"} 1
tarsier_exporter_items_total{exporter="otlp",signal="logs",outcome="enqueued",cause=""} 5
tarsier_exporter_items_total{exporter="otlp",signal="logs",outcome="sent",cause=""} 3
tarsier_exporter_items_total{exporter="otlp",signal="logs",outcome="dropped",cause="refused"} 2
tarsier_exporter_items_total{exporter="otlp",signal="traces",outcome="enqueued",cause=""} 2
tarsier_exporter_items_total{exporter="otlp",signal="traces",outcome="sent",cause=""} 2
tarsier_exporter_waiting_items{exporter="otlp",signal="logs",place="queued"} 0
tarsier_exporter_items_total{exporter="stdout",signal="lines",outcome="enqueued",cause=""} 6
tarsier_exporter_items_total{exporter="stdout",signal="lines",outcome="sent",cause=""} 2
tarsier_exporter_items_total{exporter="stdout",signal="lines",outcome="dropped",cause="queue_full"} 3
tarsier_exporter_waiting_items{exporter="stdout",signal="lines",place="queued"} 1
tarsier_records_malformed_total{kind="short"} 0
tarsier_records_panicked_total{stage="apply"} 0
"#;

const DONE: Done = Done { forks: 1, execs: 2, arguments: 1, exits: 3, sockets: 2, cgroups: 0 };

fn seen() -> Seen {
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::trace::v1::Span;

    use crate::harness::seen::Item;
    let log = Item { resource: [].into(), item: LogRecord::default() };
    let span = Item { resource: [].into(), item: Span::default() };
    Seen { logs: vec![log; 3], spans: vec![span; 2], ..Seen::default() }
}

fn outcome(page: &str, seen: &Seen, done: Done) -> anyhow::Result<()> {
    Account::of(Ledger::parse(page), seen, done)?.check()
}

#[test]
fn books_that_agree_balance() {
    outcome(PAGE, &seen(), DONE).unwrap();
}

#[test]
fn every_figure_matters() {
    for line in PAGE.lines().filter(|line| !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: u64 = value.parse().unwrap();
        let wrong = PAGE.replace(line, &format!("{series} {}", value + 1));
        assert!(outcome(&wrong, &seen(), DONE).is_err(), "{series} one too high");
    }
}

#[test]
fn a_workload_that_did_something_else_is_noticed() {
    for wrong in [
        Done { forks: 2, ..DONE },
        Done { execs: 1, ..DONE },
        Done { arguments: 0, ..DONE },
        Done { exits: 2, ..DONE },
        Done { sockets: 1, ..DONE },
        Done { cgroups: 1, ..DONE },
        Done { sockets: 3, ..DONE },
    ] {
        assert!(outcome(PAGE, &seen(), wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_server_that_has_more_or_less_is_noticed() {
    let mut less = seen();
    less.logs.pop();
    assert!(outcome(PAGE, &less, DONE).is_err());
    let mut more = seen();
    more.spans.push(more.spans[0].clone());
    assert!(outcome(PAGE, &more, DONE).is_err());
    // What had no answer and was sent again is there twice.
    more.unanswered_spans = 1;
    outcome(PAGE, &more, DONE).unwrap();
}

#[test]
fn a_socket_is_untold_only_if_records_were_lost() {
    let lost = PAGE.replace(
        "tarsier_flows_begun_total 3",
        "tarsier_flows_begun_total 3\n\
        tarsier_records_lost_total{sensor=\"tcp\",reason=\"ring_full\"} 4",
    );
    let lost = lost.replace("produced_total{sensor=\"tcp\"} 9", "produced_total{sensor=\"tcp\"} 13");
    outcome(&lost, &seen(), Done { sockets: 4, ..DONE }).unwrap();
    assert!(outcome(&lost, &seen(), Done { sockets: 5, ..DONE }).is_err());
}

#[test]
fn argument_records_as_the_program_makes_them() {
    assert_eq!([0, 4096, 4097, 8192, 8193, 2 << 20].map(Done::argument_records), [0, 0, 1, 1, 2, 7]);
}
