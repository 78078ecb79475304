//! The channels of alerts as the agent runs them: each has every alert, in order, over rotation and to the end; and one
//! whose far side stands still costs its own alerts only.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use super::SCENE_HERE;
use crate::harness::agent::{Agent, FLUSH_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "channels/every_one_has_every_alert", needs: SCENE_HERE, run: every_one_has_every_alert },
    Test { name: "channels/none_holds_up_another", needs: SCENE_HERE, run: none_holds_up_another },
];

/// Processes of one round, each of which runs a program.
const COUNT: usize = 60;

/// Lines as they arrive.
type Lines = Arc<Mutex<Vec<String>>>;

fn taken(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A rule for every program that is started, whose alerts say `output`.
fn rules(directory: &Path, output: &str) -> anyhow::Result<()> {
    let rule = format!(
        "- rule: started\n  desc: d\n  condition: evt.type in (execve, execveat) and evt.res = SUCCESS\n  \
         output: '{output}'\n  priority: WARNING\n"
    );
    Ok(fs::write(directory.join("rules.yaml"), rule)?)
}

/// Every channel, with its far side in `directory` or at `http`.
fn config(directory: &Path, http: &TcpListener, more: &str) -> anyhow::Result<String> {
    let (directory, http) = (directory.display(), http.local_addr()?);
    Ok(format!(
        "rules: {{ files: [{directory}/rules.yaml] }}
alerts:
  append_output: []
  stdout_output: {{ enabled: false }}
  file_output: {{ enabled: true, keep_alive: true, filename: {directory}/file }}
  program_output: {{ enabled: true, keep_alive: true, program: 'cat >> {directory}/program' }}
  syslog_output: {{ enabled: true, socket: {directory}/log }}
  http_output: {{ enabled: true, url: 'http://{http}/' }}
{more}"
    ))
}

fn processes(context: &Context, cgroup: &Cgroup) -> anyhow::Result<()> {
    let count = COUNT.to_string();
    let words = ["workload", "processes", "--count", &count, "--marker", "channels"];
    scene::lines(scene::itest(&context.itest, cgroup.path(), &words)?).map(drop)
}

/// Takes every POST of every connection.
fn serve(listener: &TcpListener, bodies: &Lines) {
    for stream in listener.incoming().map_while(Result::ok) {
        let bodies = Arc::clone(bodies);
        std::thread::spawn(move || while post(&stream, &bodies).is_ok() {});
    }
}

fn post(mut stream: &TcpStream, bodies: &Lines) -> anyhow::Result<()> {
    let (mut request, mut room) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut room)?;
        ensure!(length > 0, "it hung up");
        request.extend_from_slice(&room[..length]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.context("no length")? {
            bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body.to_owned());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            return Ok(());
        }
    }
}

/// What alerts say behind time and priority.
fn messages(lines: &str) -> Vec<String> {
    lines.lines().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect()
}

fn every_one_has_every_alert(context: &Context) -> anyhow::Result<()> {
    let (directory, cgroup, receiver) = (tempfile::tempdir()?, Cgroup::new("channels")?, Receiver::start()?);
    let path = |name: &str| directory.path().join(name);
    rules(directory.path(), "n=%evt.num")?;
    let http = TcpListener::bind("127.0.0.1:0")?;
    let config = config(directory.path(), &http, "")?;
    let log = UnixDatagram::bind(path("log"))?;
    let (posted, logged) = (Lines::default(), Lines::default());
    let (into, reading) = (Arc::clone(&posted), Arc::clone(&logged));
    std::thread::spawn(move || serve(&http, &into));
    std::thread::spawn(move || {
        let mut room = [0; 4096];
        while let Ok(length) = log.recv(&mut room) {
            let line = String::from_utf8_lossy(&room[..length]).into_owned();
            reading.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    let mut agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), &config)?;
    processes(context, &cgroup)?;
    agent.wait_ledger("alert in the file", ARRIVAL, |ledger| {
        Ok(ledger.count(ledger::ITEMS, &[("exporter", "alerts_file"), ("outcome", "sent")])? > 0)
    })?;
    fs::rename(path("file"), path("file.1"))?;
    let pid = Pid::from_raw(agent.pid().cast_signed()).context("a process id")?;
    kill_process(pid, Signal::USR1)?;
    processes(context, &cgroup)?;
    agent.assert_running()?;
    let ended = agent.terminate(FLUSH_DEADLINE)?;
    ensure!(ended.status.success(), "the agent ended with {}", ended.status);

    let (execs, alerts) = receiver.look(|seen| {
        let named = |name: &str| seen.logs.iter().filter(|log| log.item.event_name == name).count();
        (named("tarsier.process.exec"), named("tarsier.alert"))
    });
    ensure!(execs > 2 * COUNT, "{execs} programs were started");
    ensure!(alerts == execs, "{alerts} alerts of {execs} programs came by OTLP");
    let file = fs::read_to_string(path("file.1"))? + &fs::read_to_string(path("file"))?;
    let expected = messages(&file);
    ensure!(expected.len() == execs, "{} of {execs} are in the two files", expected.len());
    // The first of two programs may still write when the second does.
    let mut by_program = messages(&fs::read_to_string(path("program"))?);
    let mut sorted = expected.clone();
    by_program.sort_unstable();
    sorted.sort_unstable();
    ensure!(by_program == sorted, "the program has {by_program:?}");
    for (name, lines) in [("HTTP", taken(&posted)), ("syslog", taken(&logged))] {
        let got = messages(&lines.join("\n"));
        ensure!(got == expected, "{name} has {got:?}, the file {expected:?}");
    }
    Ok(())
}

fn none_holds_up_another(context: &Context) -> anyhow::Result<()> {
    let (directory, cgroup, receiver) = (tempfile::tempdir()?, Cgroup::new("channels")?, Receiver::start()?);
    let path = |name: &str| directory.path().join(name);
    rules(directory.path(), &"x".repeat(4000))?;
    // A pipe, a socket and a port that are there, and nobody who reads. The program reads its own pipe as little.
    mknodat(CWD, path("file"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let _pipe = OpenOptions::new().read(true).write(true).open(path("file"))?;
    let _log = UnixDatagram::bind(path("log"))?;
    let http = TcpListener::bind("127.0.0.1:0")?;
    let config = config(directory.path(), &http, "  queue_bytes: 64KiB\n")?;
    let config = config.replace("'cat >> ", "'sleep 1000 > ");
    let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), &config)?;
    processes(context, &cgroup)?;
    processes(context, &cgroup)?;
    let ledger = agent.wait_ledger("alert that every channel has dropped", ARRIVAL, |ledger| {
        for channel in ["alerts_file", "alerts_program", "alerts_syslog", "alerts_http"] {
            let full = [("exporter", channel), ("outcome", "dropped"), ("cause", "queue_full")];
            if ledger.count(ledger::ITEMS, &full)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    let lost = ledger.count(ledger::LOST, &[])?;
    ensure!(lost == 0, "{lost} records were lost in the rings");
    let ended = agent.terminate(FLUSH_DEADLINE)?;
    ensure!(ended.status.success(), "the agent ended with {}", ended.status);
    receiver.look(|seen| {
        let named = |name: &str| seen.logs.iter().filter(|log| log.item.event_name == name).count();
        let (execs, alerts) = (named("tarsier.process.exec"), named("tarsier.alert"));
        ensure!(execs > 2 * COUNT && alerts == execs, "{alerts} alerts of {execs} programs came by OTLP");
        Ok(())
    })
}
