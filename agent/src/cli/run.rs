//! `tarsier run`: configuration file, then the command line over it.

use std::path::PathBuf;
use std::sync::Arc;

use tarsier_abi::Sensor;

use super::{Exit, doctor, log};
use crate::config::units::{Duration, Listen};
use crate::config::{ConfigError, Loaded, LogLevel, Problem, Sensors, sensor_by_name};
use crate::export::stdout::Format;
use crate::pipeline::{self, Origin, Recorded, RunOptions};

/// Options of every command that captures. Each wins over the same option of the configuration file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Capture {
    /// Configuration file (YAML). None is needed.
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Capture only this cgroup and its descendants; an absolute path.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub(super) scope_cgroup: Option<String>,
    /// Turn on exactly these sensors (see `tarsier sensors`).
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = sensor)]
    pub(super) sensors: Option<Vec<Sensor>>,
    /// Falco rules to run: a file, or a folder of .yaml and .yml files; may be given several times.
    #[arg(long, value_name = "PATH")]
    pub(super) rules: Vec<PathBuf>,
    /// Stop after this time, as SIGTERM would.
    #[arg(long = "for", value_name = "DURATION")]
    pub(super) stop_after: Option<Duration>,
    /// Least severe level of the agent's own log.
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<LogLevel>,
}

/// What the help of `tarsier run` ends with.
pub(super) const SIGNALS: &str = "\
Signals:
  SIGINT, SIGTERM   end after everything is sent, in 5 s at most; a second one ends at once
  SIGHUP            load configuration file and rules anew, as a change of them does: rules,
                    alerts and redaction change, other options are named in the log and stay
  SIGUSR1           start a kept alerts.program_output anew, as Falco does after log rotation";

/// Options of `tarsier run`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) capture: Capture,
    #[command(flatten)]
    pub(super) export: Export,
    /// Where /metrics and /healthz are served: IP:PORT, or none.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<Listen>,
    /// Unix socket for `tarsier top`; empty for none.
    #[arg(long, value_name = "PATH")]
    pub(super) admin_socket: Option<String>,
}

/// Options of every command that exports.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Export {
    /// Form of events on standard output.
    #[arg(long, short, value_name = "FORM")]
    pub(super) output: Option<Format>,
    /// Where to send OTLP over gRPC, such as http://localhost:4317.
    #[arg(long, value_name = "URL")]
    pub(super) otlp_endpoint: Option<String>,
}

impl Args {
    /// The configuration that this command line asks for.
    pub(super) fn load(&self) -> anyhow::Result<Loaded> {
        let mut loaded = Loaded::load(self.capture.config.as_deref())?;
        let Loaded { config, origins } = &mut loaded;
        let mut note = |path: &str, flag: &str| {
            // A flag for a map replaces all of its keys.
            origins.retain(|key, _| !key.starts_with(&format!("{path}.")));
            origins.insert(path.to_owned(), flag.to_owned());
        };
        if let Some(cgroup) = &self.capture.scope_cgroup {
            config.scope.cgroup = Some(cgroup.clone());
            note("scope.cgroup", "--scope-cgroup");
        }
        if let Some(output) = self.export.output {
            config.output.format = output;
            note("output.format", "--output");
        }
        if let Some(endpoint) = &self.export.otlp_endpoint {
            config.otlp.endpoint = Some(endpoint.clone());
            note("otlp.endpoint", "--otlp-endpoint");
        }
        if let Some(sensors) = &self.capture.sensors {
            config.sensors = Sensors::only(sensors);
            note("sensors", "--sensors");
        }
        if !self.capture.rules.is_empty() {
            config.rules.files.clone_from(&self.capture.rules);
            note("rules.files", "--rules");
        }
        if let Some(listen) = self.listen {
            config.ops.listen = listen;
            note("ops.listen", "--listen");
        }
        if let Some(path) = &self.admin_socket {
            config.ops.admin_socket.clone_from(path);
            note("ops.admin_socket", "--admin-socket");
        }
        if let Some(level) = self.capture.log_level {
            config.log.level = level;
            note("log.level", "--log-level");
        }
        // The file was found to be well, so what is wrong now came with a flag.
        let problems = loaded.config.contradictions().into_iter();
        let problems = problems.map(|problem| {
            let source = loaded.origins.get(&problem.path).cloned().unwrap_or_else(|| "command line".into());
            Problem { source, ..problem }
        });
        ConfigError::check(problems.collect())?;
        Ok(loaded)
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let loaded = args.load()?;
    let stop_after = args.capture.stop_after.map(Into::into);
    let origin = args.capture.config.clone().map(|file| {
        let args = args.clone();
        Origin { file, load: Arc::new(move || Ok(args.load()?.config)) }
    });
    start(&loaded, &RunOptions { stop_after, record: None, origin })?;
    Ok(Exit::Ok)
}

/// The way from the command line into the pipeline, for every command that captures.
pub(super) fn start(loaded: &Loaded, options: &RunOptions) -> anyhow::Result<Option<Recorded>> {
    let log = log::init(&loaded.config.log);
    doctor::refuse(&crate::ops::doctor::blockers())?;
    let ended = pipeline::run(&loaded.config, options, log)?;
    if let Some(rules) = &ended.rules {
        log::summary(&loaded.config.log, rules);
    }
    Ok(ended.recorded)
}

fn absolute(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("write the whole path, from `/`".into()) }
}

fn sensor(name: &str) -> Result<Sensor, String> {
    sensor_by_name(name).ok_or_else(|| {
        let names = Sensor::ALL.map(Sensor::name);
        format!("there is no such sensor; {}", crate::config::suggest(name, &names))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn flags_win_over_the_file_and_are_named_as_origin() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.yaml");
        std::fs::write(&file, "sensors: {fork: false}\noutput: {format: json}\nlog: {level: warn}\n")
            .unwrap();
        let line = ["t", "--config", file.to_str().unwrap(), "--sensors", "fork,tcp", "--output", "none"];
        let more = ["--scope-cgroup", "/x", "--listen", "none", "--for", "5s"];
        let line = Line::try_parse_from(line.iter().chain(&more)).unwrap();
        assert_eq!(line.args.capture.stop_after, Some(Duration::from_secs(5)));
        let Loaded { config, origins } = line.args.load().unwrap();
        assert_eq!(config.sensors.on().collect::<Vec<_>>(), [Sensor::Fork, Sensor::Tcp]);
        assert_eq!(config.output.format, Format::None);
        assert_eq!(config.scope.cgroup.as_deref(), Some("/x"));
        assert_eq!(config.ops.listen, Listen(None));
        assert_eq!(config.log.level, LogLevel::Warn, "what no flag names stays");
        assert_eq!(origins["sensors"], "--sensors");
        assert!(!origins.contains_key("sensors.fork"));
        assert!(origins["log.level"].ends_with("t.yaml:3"));
    }
}
