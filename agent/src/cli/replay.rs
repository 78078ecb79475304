//! `tarsier replay`: a capture through the pipeline, without privileges, on any machine.

use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;

use super::{Exit, log, run};
use crate::capture::{About, Ending, Frame, Reader, Totals};
use crate::config::units::Listen;
use crate::export::stdout::Format;
use crate::pipeline::{Replayed, replay};

/// Options of `tarsier replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The same capture and configuration give the same output, byte for byte, on any machine; no privilege is needed.
OTLP is sent with patience: the replay waits for the backend instead of dropping.

Examples:
  tarsier replay incident.tarsier                                    show what happened
  tarsier replay incident.tarsier --output json | jq .               as JSON lines
  tarsier replay incident.tarsier --otlp-endpoint http://localhost:4317 --speed 1x
  tarsier replay incident.tarsier --rules falco_rules.yaml            which rules would have matched
  tarsier replay incident.tarsier --info                             where it is from, whether it is whole")]
pub(super) struct Args {
    /// The capture; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Configuration file (YAML). None is needed.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Falco rules to run: a file, or a folder of .yaml and .yml files; may be given several times. Only what was
    /// recorded can match: see `tarsier record --rules`.
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    #[command(flatten)]
    export: run::Export,
    /// How fast: max, 1x as it happened, 10x ten times as fast.
    #[arg(long, value_name = "SPEED", default_value = "max")]
    speed: Speed,
    /// Say where the capture is from and what it holds, and replay nothing.
    #[arg(long)]
    info: bool,
}

/// `max` or a factor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Speed(Option<f64>);

impl FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self(None));
        }
        let factor = text.strip_suffix('x').and_then(|number| number.parse::<f64>().ok());
        match factor.filter(|factor| factor.is_finite() && *factor > 0.0) {
            Some(factor) => Ok(Self(Some(factor))),
            None => Err("write max, or a factor above 0 such as 1x, 0.5x or 10x".into()),
        }
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let capture =
        run::Capture { config: args.config.clone(), rules: args.rules.clone(), ..run::Capture::default() };
    let run_args = run::Args { capture, export: args.export.clone(), ..run::Args::default() };
    let mut loaded = run_args.load()?;
    // The endpoints belong to an agent; a replay is none.
    loaded.config.ops.listen = Listen(None);
    loaded.config.ops.admin_socket.clear();
    log::init(&loaded.config.log);
    let name = args.file.display().to_string();
    let input: Box<dyn Read> = if name == "-" {
        if std::io::stdin().is_terminal() {
            return Err(Exit::Usage.because("a capture does not come from a terminal: name a file"));
        }
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(&args.file).with_context(|| format!("opening {name}"))?)
    };
    let input = BufReader::with_capacity(256 * 1024, input);
    if args.info {
        return info(input, args.export.output == Some(Format::Json), out).with_context(|| name);
    }
    let done = replay(input, &loaded.config, args.speed.0).with_context(|| name.clone())?;
    let Replayed { records, covered, took, ending, rules } = done;
    if let Some(rules) = &rules {
        log::summary(&loaded.config.log, rules);
    }
    let end = match ending {
        Some(Ending::Whole(_)) => "",
        Some(Ending::Cut) => "; the capture ends early, all that it holds was replayed",
        None => "; stopped before its end",
    };
    let (covered, took) = (covered.as_secs_f64(), took.as_secs_f64());
    log::say(&format!("{name}: {records} records of {covered:.1} s in {took:.3} s{end}\n"));
    Ok(Exit::Ok)
}

/// What a capture says of itself, and what counting it says.
fn info(input: impl Read, json: bool, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut reader = Reader::new(input)?;
    let mut counted = Totals::default();
    while let Some(frame) = reader.next_frame()? {
        counted.frames += 1;
        counted.records += u64::from(matches!(frame, Frame::Record(_)));
    }
    let ending = match reader.ending() {
        Some(Ending::Whole(totals)) => Some(totals),
        _ => None,
    };
    let about = reader.about();
    if json {
        let value = serde_json::json!({
            "about": about,
            "records": counted.records,
            "frames": counted.frames,
            "totals": ending,
        });
        writeln!(out, "{value:#}")?;
        return Ok(Exit::Ok);
    }
    let About { tarsier, abi, kernel, machine, host_name, cgroups, scope, began, .. } = about;
    let unix_ns = began.boot_ns.wrapping_add(began.unix_offset_ns);
    let at = jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    let host = if host_name.is_empty() { "anonymous" } else { host_name };
    writeln!(out, "made by   tarsier {tarsier}, records of version {abi}")?;
    writeln!(out, "host      {host}, kernel {kernel} {machine}, cgroups {cgroups}")?;
    writeln!(out, "scope     {}", scope.as_deref().unwrap_or("everything"))?;
    writeln!(out, "began     {at:.3}")?;
    for sensor in &about.sensors {
        let state = if sensor.off.is_empty() { "on" } else { sensor.off.as_str() };
        writeln!(out, "sensor    {:<7} {state}", sensor.name)?;
    }
    writeln!(out, "secrets   {}", if about.redacted { "overwritten" } else { "kept (redaction was off)" })?;
    writeln!(out, "holds     {} records in {} frames", counted.records, counted.frames)?;
    match ending {
        Some(totals) => {
            let lost = match totals.lost {
                0 => "nothing was lost".to_owned(),
                lost => format!("{lost} records were lost in the kernel"),
            };
            let limit = if totals.size_limit { ", ended by --max-size" } else { "" };
            writeln!(out, "whole     {:.1} s{limit}; {lost}", totals.duration_ns as f64 / 1e9)?;
        }
        None => {
            writeln!(out, "cut       it ends before its end: the recorder was killed or its disk was full")?;
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds() {
        for (text, speed) in [("max", None), ("1x", Some(1.0)), ("0.5x", Some(0.5)), ("10x", Some(10.0))] {
            assert_eq!(text.parse(), Ok(Speed(speed)), "{text}");
        }
        for text in ["", "1", "x", "0x", "-1x", "nanx", "infx", "fast"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}
