//! TCP: who connected to whom, how it ended, and every byte, in every family and ending.

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use super::SCENE;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::Item;
use crate::harness::{names, netns, pair};
use crate::runner::{Context, Need, Skip, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "tcp/refused_connect_is_an_error_span", needs: SCENE, run: refused },
    Test { name: "tcp/reset_by_the_client", needs: SCENE, run: reset_by_the_client },
    Test { name: "tcp/reset_by_the_server", needs: SCENE, run: reset_by_the_server },
    Test { name: "tcp/half_closed_counts_both_ways", needs: SCENE, run: half_closed },
    Test { name: "tcp/every_ending_with_every_size_is_exact", needs: SCENE, run: endings },
    Test { name: "tcp/v6", needs: &[Need::Cgroup2, Need::Ipv6], run: v6 },
    Test { name: "tcp/v4_mapped_is_v4", needs: &[Need::Cgroup2, Need::Ipv6], run: v4_mapped },
    Test { name: "tcp/dual_stack_listener_is_v4", needs: &[Need::Cgroup2, Need::Ipv6], run: dual_stack },
    Test { name: "tcp/large_transfer_is_exact", needs: SCENE, run: large },
    Test {
        name: "tcp/loss_is_retransmitted_and_counted_once",
        needs: &[Need::Cgroup2, Need::Tool("iptables")],
        run: loss,
    },
];

/// Runs a workload that makes one connection; its line.
fn one(scene: &Scene, arguments: &[&str]) -> anyhow::Result<Value> {
    let lines = scene.workload(arguments)?;
    ensure!(lines.len() == 1, "the workload made {} connections", lines.len());
    lines.into_iter().next().context("one line")
}

/// Waits for both spans of the connection in `line`; (client's, server's), proven to belong together.
fn spans_of(scene: &Scene, line: &Value) -> anyhow::Result<(Item<Span>, Item<Span>)> {
    let found =
        scene.receiver.wait(&format!("pair of spans for {line}"), ARRIVAL, |seen| pair::find(seen, line))?;
    pair::prove(line, &found.0, &found.1)?;
    Ok(found)
}

/// The workload's connection arrives as a pair without errors.
fn clean(context: &Context, arguments: &[&str]) -> anyhow::Result<()> {
    let scene = Scene::new(context, "tcp")?;
    let line = one(&scene, arguments)?;
    let (client, server) = spans_of(&scene, &line)?;
    ensure!(!client.is_error() && !server.is_error(), "an orderly end is told as an error");
    Ok(())
}

fn refused(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "tcp")?;
    let line = one(&scene, &["refused"])?;
    let port = u16::try_from(line["destination_port"].as_u64().context("a port")?)?;
    let span = scene
        .receiver
        .wait("span of the refused connect", ARRIVAL, |seen| seen.spans_to(port).next().cloned())?;
    ensure!(span.kind() == Some(SpanKind::Client), "its kind is {:?}", span.kind());
    ensure!(span.is_error(), "its status is {:?}", span.item.status);
    let error = span.attributes().text(names::ERROR_TYPE);
    ensure!(error == Some("refused"), "{} is {error:?}", names::ERROR_TYPE);
    ensure!(
        span.attributes().text(names::SOURCE_ADDRESS) == line["source"].as_str(),
        "{:?}",
        span.item.attributes
    );
    ensure!(span.attributes().int(names::BYTES) == Some(0), "{:?}", span.item.attributes);
    ensure!(span.attributes().int(names::PID) == line["pid"].as_i64(), "{:?}", span.item.attributes);
    Ok(())
}

/// The end that is reset says so; the bytes are exact at both.
fn reset_by_the_client(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "tcp")?;
    let line = one(&scene, &["reset"])?;
    let (_, server) = spans_of(&scene, &line)?;
    ensure!(server.is_error(), "the server's status is {:?}", server.item.status);
    ensure!(server.attributes().text(names::ERROR_TYPE) == Some("reset"), "{:?}", server.item.attributes);
    Ok(())
}

fn reset_by_the_server(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "tcp")?;
    let line = one(&scene, &["server-reset"])?;
    let (client, _) = spans_of(&scene, &line)?;
    ensure!(client.is_error(), "the client's status is {:?}", client.item.status);
    ensure!(client.attributes().text(names::ERROR_TYPE) == Some("reset"), "{:?}", client.item.attributes);
    Ok(())
}

fn half_closed(context: &Context) -> anyhow::Result<()> {
    clean(context, &["half-close"])
}

/// The arithmetic of docs/adr/0004, once for each way that a connection can end.
fn endings(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "tcp")?;
    let lines = scene.workload(&["matrix"])?;
    ensure!(lines.len() == 48, "the workload made {} connections", lines.len());
    for line in &lines {
        spans_of(&scene, line)?;
    }
    Ok(())
}

fn v6(context: &Context) -> anyhow::Result<()> {
    clean(context, &["v6"])
}

fn v4_mapped(context: &Context) -> anyhow::Result<()> {
    clean(context, &["v4-mapped"])
}

fn dual_stack(context: &Context) -> anyhow::Result<()> {
    clean(context, &["dual-stack"])
}

fn large(context: &Context) -> anyhow::Result<()> {
    clean(context, &["large", "--bytes", "100000000"])
}

fn loss(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "tcp")?;
    let line = netns::within(|| {
        let drop_some = ["-A", "INPUT", "-i", "lo", "-p", "tcp", "-m", "statistic", "--mode", "nth"];
        let every = ["--every", "50", "--packet", "10", "-j", "DROP"];
        netns::configure("iptables", &[drop_some.as_slice(), &every].concat())
            .map_err(|error| Skip(format!("this kernel drops no packets for us: {error}")))?;
        // Small writes would take few packets: loopback segments are 64 KiB.
        one(&scene, &["large", "--bytes", "20000000"])
    })?;
    let (client, _) = spans_of(&scene, &line)?;
    let retransmits = client.attributes().int(names::RETRANSMITS);
    ensure!(retransmits.is_some_and(|count| count > 0), "{} is {retransmits:?}", names::RETRANSMITS);
    Ok(())
}
