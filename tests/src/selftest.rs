//! Proof that the harness and the workloads do what the tests believe they do; needs no agent.

use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::Value as Json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::cgroup::{self, Cgroup};
use crate::harness::peers::{Peers, attribute, list};
use crate::harness::receiver::{Behaviour, Receiver};
use crate::harness::scene::{self, Dialogue};
use crate::harness::{exit, names, netns, programs};
use crate::runner::{Context, Need, Test};

/// Every self-test.
pub fn tests() -> Vec<Test> {
    const IN_CGROUP: &[Need] = &[Need::Cgroup2];
    vec![
        Test {
            name: "selftest/cgroup_holds_and_is_removed",
            needs: IN_CGROUP,
            run: cgroup_holds_and_is_removed,
        },
        Test {
            name: "selftest/netns_has_loopback_of_its_own",
            needs: &[],
            run: netns_has_loopback_of_its_own,
        },
        Test { name: "selftest/processes_end_as_they_say", needs: IN_CGROUP, run: processes_end_as_they_say },
        Test {
            name: "selftest/connections_have_their_own_source",
            needs: IN_CGROUP,
            run: connections_have_their_own_source,
        },
        Test {
            name: "selftest/endings_do_what_they_say",
            needs: &[Need::Cgroup2, Need::Ipv6],
            run: endings_do_what_they_say,
        },
        Test { name: "selftest/held_connection_obeys", needs: IN_CGROUP, run: held_connection_obeys },
        Test {
            name: "selftest/receiver_keeps_what_it_accepts",
            needs: &[],
            run: receiver_keeps_what_it_accepts,
        },
        Test {
            name: "selftest/receiver_misbehaves_on_demand",
            needs: &[],
            run: receiver_misbehaves_on_demand,
        },
        Test {
            name: "selftest/peers_keep_what_they_are_sent",
            needs: &[Need::Collector, Need::Jaeger],
            run: peers_keep_what_they_are_sent,
        },
        Test { name: "selftest/programs_of_nobody", needs: &[], run: programs_of_nobody },
    ]
}

fn cgroup_holds_and_is_removed(context: &Context) -> anyhow::Result<()> {
    let group = Cgroup::new("self")?;
    let path = group.path().to_owned();
    let below = group.below("kubepods/pod1")?;
    let mut held = Dialogue::start(scene::itest(&context.itest, &below, &["workload", "hold"])?)?;
    held.hear()?;
    let procs = std::fs::read_to_string(below.join("cgroup.procs"))?;
    ensure!(procs.trim() == held.pid().to_string(), "the group holds {procs:?}, not {}", held.pid());
    let file = std::fs::read_to_string(format!("/proc/{}/cgroup", held.pid()))?;
    ensure!(file.lines().any(|line| line.starts_with("0::") && line.ends_with("/kubepods/pod1")), "{file}");
    drop(group);
    ensure!(!path.exists(), "{} is still there", path.display());
    ensure!(held.hear().is_err(), "the process lives on");
    Ok(())
}

fn netns_has_loopback_of_its_own(_: &Context) -> anyhow::Result<()> {
    let outside = std::fs::read_link("/proc/thread-self/ns/net")?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = port.local_addr()?;
    let inside = netns::within(|| {
        // The same port is free in there, and loopback carries connections.
        let listener = std::net::TcpListener::bind(address)?;
        std::net::TcpStream::connect(listener.local_addr()?)?;
        Ok(std::fs::read_link("/proc/thread-self/ns/net")?)
    })?;
    ensure!(inside != outside, "the thread stayed in {}", outside.display());
    ensure!(std::fs::read_link("/proc/thread-self/ns/net")? == outside, "this thread moved too");
    Ok(())
}

fn workload(context: &Context, group: &Cgroup, arguments: &[&str]) -> anyhow::Result<Vec<Json>> {
    let arguments: Vec<_> = std::iter::once("workload").chain(arguments.iter().copied()).collect();
    scene::lines(scene::itest(&context.itest, group.path(), &arguments)?)
}

fn processes_end_as_they_say(context: &Context) -> anyhow::Result<()> {
    let group = Cgroup::new("self")?;
    let lines = workload(context, &group, &["processes", "--count", "300", "--marker", "m"])?;
    let pids: std::collections::BTreeSet<_> = lines.iter().filter_map(|line| line["pid"].as_u64()).collect();
    ensure!(lines.len() == 300 && pids.len() == 300, "{} lines, {} pids", lines.len(), pids.len());
    let sigkill = child(context, &["--signal", "9"])?;
    ensure!(std::os::unix::process::ExitStatusExt::signal(&sigkill) == Some(9), "{sigkill}");
    ensure!(
        child(context, &["--exit", "200", "x"])?.code() == Some(200),
        "the exit code is not the one asked for"
    );
    Ok(())
}

fn child(context: &Context, arguments: &[&str]) -> anyhow::Result<std::process::ExitStatus> {
    let mut child = Command::new(&context.itest).arg("child").args(arguments).spawn()?;
    exit::wait(&mut child, Duration::from_secs(20))
}

fn connections_have_their_own_source(context: &Context) -> anyhow::Result<()> {
    let group = Cgroup::new("self")?;
    let lines = workload(context, &group, &["connections", "--count", "1000"])?;
    let sources: std::collections::BTreeSet<_> =
        lines.iter().filter_map(|line| line["source"].as_str()).collect();
    ensure!(lines.len() == 1000 && sources.len() == 1000, "{} lines, {} sources", lines.len(), sources.len());
    let sum = |key: &str| -> u64 { lines.iter().filter_map(|line| line[key].as_u64()).sum() };
    ensure!(sum("sent") > 1_000_000 && sum("received") > 1_000_000, "the workload moved next to nothing");
    ensure!(lines.iter().any(|line| line["sent"] == 0) && lines.iter().any(|line| line["received"] == 0));
    Ok(())
}

fn endings_do_what_they_say(context: &Context) -> anyhow::Result<()> {
    let group = Cgroup::new("self")?;
    for (name, sent, received) in [
        ("refused", 0, 0),
        ("reset", 1_000, 2_000),
        ("server-reset", 300, 40),
        ("half-close", 77, 300_000),
        ("v6", 1_234, 5_678),
        ("v4-mapped", 4_321, 8_765),
        ("dual-stack", 99, 101),
    ] {
        let lines = workload(context, &group, &[name]).context(name)?;
        let [line] = lines.as_slice() else { bail!("{name}: {} lines", lines.len()) };
        ensure!(line["sent"] == sent && line["received"] == received, "{name}: {line}");
        let mapped = line["source"].as_str().is_none_or(|address| address.contains("ffff"));
        ensure!(!mapped, "{name}: the source is not canonical: {line}");
    }
    let lines = workload(context, &group, &["large", "--bytes", "5000000"])?;
    ensure!(lines.iter().all(|line| line["sent"] == 5_000_000 && line["received"] == 5_000), "{lines:?}");
    Ok(())
}

fn held_connection_obeys(context: &Context) -> anyhow::Result<()> {
    let group = Cgroup::new("self")?;
    let mut held = Dialogue::start(scene::itest(&context.itest, group.path(), &["workload", "hold"])?)?;
    ensure!(held.hear()?["sent"] == 0);
    ensure!(held.say("send 100000")?["sent"] == 100_000);
    let line = held.say("reply 7")?;
    ensure!(line["received"] == 7 && line["sent"] == 100_000, "{line}");
    ensure!(held.say("close")?["sent"] == 100_000);
    Ok(())
}

/// One request with `count` records of process ids from 1 on.
fn request(count: i64) -> ExportLogsServiceRequest {
    let record = |pid: i64| {
        let value = Some(AnyValue { value: Some(Value::IntValue(pid)) });
        let attributes = vec![KeyValue { key: names::PID.to_owned(), value, ..KeyValue::default() }];
        LogRecord { event_name: names::EXEC.to_owned(), attributes, ..LogRecord::default() }
    };
    let scope = ScopeLogs { log_records: (1..=count).map(record).collect(), ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

/// Sends it; how many records the server says it rejected.
fn send(receiver: &Receiver, count: i64) -> Result<i64, Status> {
    send_to(receiver.endpoint(), count)
}

fn send_to(endpoint: String, count: i64) -> Result<i64, Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Status::internal(error.to_string()))?;
    runtime.block_on(async {
        let connected = LogsServiceClient::connect(endpoint).await;
        let mut client = connected.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = client.export(request(count)).await?.into_inner();
        Ok(answer.partial_success.map_or(0, |partial| partial.rejected_log_records))
    })
}

fn receiver_keeps_what_it_accepts(_: &Context) -> anyhow::Result<()> {
    let receiver = Receiver::start()?;
    ensure!(send(&receiver, 3)? == 0);
    let pid = receiver.wait("record", Duration::from_secs(5), |seen| {
        seen.event(names::EXEC, 2).and_then(|log| log.attributes().int(names::PID))
    })?;
    ensure!(pid == 2);
    ensure!(send(&receiver, 3)? == 0);
    receiver.look(|seen| {
        ensure!(seen.logs.len() == 6 && seen.requests == 2, "{} logs", seen.logs.len());
        ensure!(seen.event(names::EXEC, 2).is_none(), "a duplicate passed for a single record");
        Ok(())
    })?;
    let waited = receiver.wait("miracle", Duration::from_millis(50), |_| None::<()>);
    ensure!(waited.is_err_and(|error| error.to_string().contains("no miracle")));
    Ok(())
}

fn receiver_misbehaves_on_demand(_: &Context) -> anyhow::Result<()> {
    let receiver = Receiver::start()?;
    receiver.behave(Behaviour::Refuse(Code::ResourceExhausted));
    ensure!(send(&receiver, 3).is_err_and(|status| status.code() == Code::ResourceExhausted));
    receiver.behave(Behaviour::Throttle(Duration::from_secs(3)));
    let throttled = send(&receiver, 3).err().and_then(|status| status.get_details_retry_info()?.retry_delay);
    ensure!(throttled == Some(Duration::from_secs(3)), "the delay told is {throttled:?}");
    receiver.behave(Behaviour::RejectOne);
    ensure!(send(&receiver, 3)? == 1);
    receiver.behave(Behaviour::Slow(Duration::from_millis(200)));
    let start = std::time::Instant::now();
    ensure!(send(&receiver, 3)? == 0 && start.elapsed() >= Duration::from_millis(200));
    receiver.behave(Behaviour::Accept);
    receiver.fuse().light(2_000);
    ensure!(send(&receiver, 1_000).is_err(), "a cut connection answered");
    ensure!(receiver.fuse().wait_burnt(Duration::ZERO), "the fuse did not burn down");
    receiver.fuse().put_out();
    ensure!(send(&receiver, 1)? == 0);
    receiver.look(|seen| {
        ensure!(seen.logs.len() == 2 + 3 + 1, "kept {} records", seen.logs.len());
        ensure!(seen.refused == 3, "counted {} refusals", seen.refused);
        Ok(())
    })?;
    let address = receiver.address();
    drop(receiver);
    let again = Receiver::start_at(address).context("the port of a stopped server")?;
    ensure!(send(&again, 1)? == 0);
    Ok(())
}

/// The Collector writes logs down and Jaeger shows spans, read back as the tests of the backends do.
fn peers_keep_what_they_are_sent(context: &Context) -> anyhow::Result<()> {
    let peers = Peers::start(context)?;
    send_to(peers.endpoint(), 3)?;
    let name = Some(AnyValue { value: Some(Value::StringValue("peers".to_owned())) });
    let service = KeyValue { key: names::SERVICE_NAME.to_owned(), value: name, ..KeyValue::default() };
    // Jaeger searches by start time.
    let now = u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?;
    let spans = (1..=2).map(|number| Span {
        trace_id: vec![7; 16],
        span_id: vec![number; 8],
        name: "TCP".to_owned(),
        kind: i32::from(number) + 1,
        start_time_unix_nano: now,
        end_time_unix_nano: now + 1_000,
        ..Span::default()
    });
    let scope = ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() };
    let resource = Some(Resource { attributes: vec![service], ..Resource::default() });
    let group = ResourceSpans { resource, scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![group] };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut client = TraceServiceClient::connect(peers.endpoint()).await?;
        client.export(request).await?;
        anyhow::Ok(())
    })?;
    let (written, jaeger) = peers.settle()?;
    let logs = written.items("logs")?;
    ensure!(
        logs.len() == 3 && attribute(&logs[1].1, names::PID) == Some(2.into()),
        "the Collector wrote {logs:?}"
    );
    let traces = jaeger.traces("peers", 1, Duration::from_secs(20))?;
    let kinds: Vec<_> = list(&traces[0]["spans"]).iter().map(|span| span["tags"].to_string()).collect();
    ensure!(kinds.len() == 2, "Jaeger has {} of 2 spans", kinds.len());
    ensure!(
        kinds.iter().any(|tags| tags.contains("server")) && kinds.iter().any(|tags| tags.contains("client"))
    );
    Ok(())
}

fn programs_of_nobody(_: &Context) -> anyhow::Result<()> {
    ensure!(programs::held_by(std::process::id())?.is_empty(), "the test process holds BPF programs");
    ensure!(!programs::exists(u32::MAX)?, "the kernel says that it has every program");
    cgroup::mount().map(drop)
}
