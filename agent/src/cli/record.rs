//! `tarsier record`: what the kernel says, into a file that `tarsier replay` plays again.

use std::path::PathBuf;

use super::{Exit, log, run};
use crate::config::units::{ByteSize, Listen};
use crate::export::otlp::OtlpConfig;
use crate::export::stdout::Format;
use crate::pipeline::{RecordOptions, Recorded, RunOptions};

/// Options of `tarsier record`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is exported meanwhile; --output also prints the events, and --alerts what rules say. Secrets in arguments are overwritten and kernel
addresses hashed before anything is written; paths, command lines, users, addresses and ports are kept, and with
--rules that ask for them the first 80 bytes of what sendto and recvfrom move.
The file is for its owner only. It can be cut or killed at any time: all whole blocks (at most a second old)
can be replayed.

Examples:
  sudo tarsier record incident.tarsier --for 30s
  sudo tarsier record incident.tarsier --rules /etc/falco/rules.d     with the system calls that rules ask for
  sudo tarsier record incident.tarsier --rules rules.yaml --alerts    and what they say, as a replay will again
  sudo tarsier record - --scope-cgroup /sys/fs/cgroup/system.slice | ssh other tarsier replay -")]
pub(super) struct Args {
    /// The capture to write; - is standard output.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    capture: run::Capture,
    /// Stop before the file grows beyond this, such as 100MiB.
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteSize>,
    /// Overwrite FILE if it is there.
    #[arg(long)]
    force: bool,
    /// Leave out the host's name, machine id and boot id.
    #[arg(long)]
    anonymous: bool,
    /// Also print events on standard output, in this form.
    #[arg(long, short, value_name = "FORM", default_value = "none")]
    output: Format,
    /// Also print the alerts of --rules on standard output, as `tarsier run` would.
    #[arg(long)]
    alerts: bool,
}

/// Less than this holds no capture.
const LEAST_SIZE: u64 = 64 * 1024;

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let to_stdout = args.file.as_os_str() == "-";
    if to_stdout && (args.output != Format::None || args.alerts) {
        let why = "standard output cannot take both the capture and --output or --alerts";
        return Err(Exit::Usage.because(why));
    }
    let max_bytes = args.max_size.map(ByteSize::get);
    if max_bytes.is_some_and(|size| size < LEAST_SIZE) {
        return Err(Exit::Usage.because("--max-size: less than 64KiB holds nothing"));
    }
    let export = run::Export { output: Some(args.output), otlp_endpoint: None };
    let run_args = run::Args { capture: args.capture.clone(), export, ..run::Args::default() };
    let mut loaded = run_args.load()?;
    // An agent may be running as a service: its endpoints and exporters are its own.
    loaded.config.ops.listen = Listen(None);
    loaded.config.ops.admin_socket.clear();
    loaded.config.otlp = OtlpConfig::default();
    // Rules say what the kernel is asked to tell, and the channels are those of an agent that may be running.
    let alerts = &mut loaded.config.alerts;
    alerts.stdout_output.enabled = args.alerts;
    alerts.file_output.enabled = false;
    alerts.syslog_output.enabled = false;
    alerts.program_output.enabled = false;
    alerts.http_output.enabled = false;
    let record =
        RecordOptions { path: args.file.clone(), max_bytes, force: args.force, anonymous: args.anonymous };
    let stop_after = args.capture.stop_after.map(Into::into);
    let recorded = run::start(&loaded, &RunOptions { stop_after, record: Some(record), origin: None })?;
    if let Some(Recorded { totals, bytes }) = recorded {
        let seconds = totals.duration_ns as f64 / 1e9;
        let why = if totals.size_limit { ", ended by --max-size" } else { "" };
        let lost = if totals.lost > 0 {
            format!("; {} records were lost in the kernel: raise rings.bulk_bytes", totals.lost)
        } else {
            String::new()
        };
        let name = args.file.display();
        let size = bytes as f64 / f64::from(1 << 20);
        log::say(&format!(
            "{name}: {} records in {seconds:.1} s, {size:.1} MiB{why}{lost}\n",
            totals.records
        ));
    }
    Ok(Exit::Ok)
}
