//! What a `falco.yaml` comes to here: a configuration of ours, and of each of its keys what became of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{ConfigError, Loaded, Problem, not_yaml, print};

/// A configuration made of Falco's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// As YAML, with the key that each value is from; then what was left out.
    pub yaml: String,
    /// Keys that say nothing here, and why.
    pub left: Vec<(String, String)>,
}

/// What becomes of a key and all below it.
enum To {
    /// It has the same form and meaning here.
    Same(&'static str),
    /// It is the same in another form; nothing: its value says what is so here anyway.
    Made(&'static str, fn(&Json) -> Option<Json>),
    /// It belongs to a group that is made as a whole.
    Part,
    /// It says nothing here, and why.
    Nothing(&'static str),
}
use To::{Made, Nothing, Part, Same};

/// Every key that Falco 0.44 or one of the last before it knows. The longest that fits counts.
const KEYS: &[(&str, To)] = &[
    ("config_files", Nothing("there is one configuration file: import each of these, and put them together")),
    ("watch_config_files", Nothing("files are always watched")),
    ("rules_files", Same("rules.files")),
    ("rules_file", Made("rules.files", list)),
    ("rules", Same("rules.select")),
    ("rule_matching", Same("rules.matching")),
    ("priority", Made("alerts.priority", lower)),
    ("json_output", Same("alerts.json_output")),
    ("json_include_output_property", Same("alerts.json_include_output_property")),
    ("json_include_message_property", Same("alerts.json_include_message_property")),
    ("json_include_output_fields_property", Same("alerts.json_include_output_fields_property")),
    ("json_include_tags_property", Same("alerts.json_include_tags_property")),
    ("time_format_iso_8601", Same("alerts.time_format_iso_8601")),
    ("append_output", Same("alerts.append_output")),
    ("output_timeout", Made("alerts.output_timeout", milliseconds)),
    ("outputs_queue", Nothing("each channel has a queue of its own, bounded in bytes: alerts.queue_bytes")),
    (
        "buffered_outputs",
        Nothing("lines are written at the end of each look at the kernel, a quarter of a second at most"),
    ),
    ("outputs", Nothing("the limit for all rules is gone in Falco too: alerts.throttle limits each rule")),
    ("stdout_output", Same("alerts.stdout_output")),
    ("syslog_output.enabled", Same("alerts.syslog_output.enabled")),
    ("file_output", Same("alerts.file_output")),
    ("program_output", Same("alerts.program_output")),
    (
        "http_output.insecure",
        Nothing(
            "the server's certificate is always checked: name its authority in alerts.http_output.ca_cert",
        ),
    ),
    (
        "http_output.ca_bundle",
        Nothing("one file of authorities takes the system's place: alerts.http_output.ca_cert"),
    ),
    (
        "http_output.ca_path",
        Nothing("a folder of authorities is not read: put them into one file, alerts.http_output.ca_cert"),
    ),
    ("http_output.mtls", Part),
    ("http_output.client_cert", Part),
    ("http_output.client_key", Part),
    ("http_output.ca_cert", Made("alerts.http_output.ca_cert", not_empty)),
    ("http_output.max_consecutive_timeouts", Nothing("an alert is tried again for alerts.retry_for")),
    ("http_output", Same("alerts.http_output")),
    ("grpc", Nothing("there is no gRPC server, nor is there in Falco since 0.44: OTLP carries alerts")),
    ("grpc_output", Nothing("as grpc")),
    ("webserver.enabled", Part),
    ("webserver.listen_address", Part),
    ("webserver.listen_port", Part),
    ("webserver.prometheus_metrics_enabled", Made("ops.falco_metrics", if_true)),
    ("webserver.k8s_healthz_endpoint", Nothing("it is /healthz, beside /livez and /readyz")),
    ("webserver", Nothing("one thread serves plain HTTP")),
    ("log_level", Made("log.level", log_level)),
    ("log_stderr", Nothing("the log is always on standard error (log.level: off silences it)")),
    ("log_syslog", Nothing("the log is on standard error, where the service manager takes it")),
    ("libs_logger", Nothing("there is one log: log.level")),
    (
        "engine.kind",
        Nothing("there is one way into the kernel, eBPF with what the kernel itself says of its types"),
    ),
    ("engine.replay", Nothing("tarsier replay reads captures of tarsier record")),
    (
        "engine",
        Nothing(
            "rings have a size of their own: rings.priority_bytes and rings.bulk_bytes, the latter once for up to eight CPUs",
        ),
    ),
    ("syscall_buf_size_preset", Nothing("as engine")),
    (
        "syscall_drop_failed_exit",
        Nothing("rules that do not ask for calls that failed have them dropped in the kernel"),
    ),
    ("modern_bpf", Nothing("as engine")),
    ("base_syscalls", Nothing("the rules decide which system calls are told: tarsier rules explain-plan")),
    ("syscall_event_drops", Nothing("what is lost is counted by cause at /metrics")),
    ("syscall_event_timeouts", Nothing("a time without events is nothing to be told of")),
    (
        "metrics",
        Nothing(
            "metrics are at /metrics always; ops.falco_metrics has Falco's names too, rules.cost what each rule costs",
        ),
    ),
    ("load_plugins", Nothing("there are no plugins; the fields of the container plugin are built in")),
    ("plugins", Nothing("as load_plugins")),
    ("plugins_hostinfo", Nothing("as load_plugins")),
    ("container_engines", Nothing("containers are known by their cgroups, whatever runs them")),
    ("falco_libs", Nothing("the process table is bounded by process.max_entries")),
    ("capture", Nothing("tarsier record makes captures")),
];

/// Converts a `falco.yaml`; `source` names it in messages.
///
/// # Errors
/// It is no YAML, or a value of it is none that it can have here: all such, by the key of ours.
pub fn import_falco(source: &str, text: &str) -> Result<Imported, ConfigError> {
    let falco: Json = serde_saphyr::from_str(text)
        .map_err(|error| ConfigError { problems: vec![not_yaml(source, &error)] })?;
    let mut importer = Importer::default();
    match &falco {
        Json::Object(map) => importer.map(map, ""),
        Json::Null => {}
        _ => {
            let what = "a falco.yaml is a map".into();
            let (source, path, fix) = (source.into(), String::new(), "name the configuration file".into());
            return Err(ConfigError { problems: vec![Problem { source, place: None, path, what, fix }] });
        }
    }
    importer.groups(&falco);
    importer.finish(source)
}

#[derive(Default)]
struct Importer {
    config: Json,
    /// By option of ours: the key that it is from.
    origins: BTreeMap<String, String>,
    left: Vec<(String, String)>,
}

impl Importer {
    fn map(&mut self, map: &Map<String, Json>, path: &str) {
        for (key, value) in map {
            let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.key(&key, value);
        }
    }

    fn key(&mut self, key: &str, value: &Json) {
        let is_below = |known: &str| {
            key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_above = |known: &str| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        // A map of which parts have their own way is looked into.
        if let Json::Object(map) = value
            && KEYS.iter().any(|(known, _)| is_above(known))
        {
            return self.map(map, key);
        }
        let found = KEYS.iter().filter(|(known, _)| is_below(known)).max_by_key(|(known, _)| known.len());
        match found {
            Some((known, Same(option))) => {
                let option = format!("{option}{}", &key[known.len()..]);
                self.set(&option, value.clone(), key);
            }
            Some((_, Made(option, make))) => {
                if let Some(value) = make(value) {
                    self.set(option, value, key);
                }
            }
            Some((_, Part)) => {}
            Some((_, Nothing(reason))) => self.left.push((in_comment(key), (*reason).to_owned())),
            None => self.left.push((in_comment(key), "no such key is known".to_owned())),
        }
    }

    /// What several keys say together.
    fn groups(&mut self, falco: &Json) {
        let http = &falco["http_output"];
        if http["mtls"] == true {
            for key in ["client_cert", "client_key"] {
                if let Some(value) = not_empty(&http[key]) {
                    self.set(&format!("alerts.http_output.{key}"), value, &format!("http_output.{key}"));
                }
            }
        }
        let web = &falco["webserver"];
        if web["enabled"] == false {
            self.set("ops.listen", "none".into(), "webserver.enabled");
        } else if web.is_object() {
            let port = web["listen_port"].as_u64().unwrap_or(8765);
            let address = web["listen_address"].as_str().unwrap_or("0.0.0.0");
            let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            self.set(
                "ops.listen",
                format!("{address}:{port}").into(),
                "webserver.listen_address, listen_port",
            );
        }
        if falco["rule_matching"].is_null() {
            self.set("rules.matching", "first".into(), "what Falco does unless told otherwise");
        }
    }

    fn set(&mut self, option: &str, value: Json, key: &str) {
        let mut at = &mut self.config;
        for step in option.split('.') {
            if !at.is_object() {
                *at = Json::Object(Map::new());
            }
            at = &mut at[step];
        }
        *at = value;
        self.origins.insert(option.to_owned(), in_comment(key));
    }

    fn finish(self, source: &str) -> Result<Imported, ConfigError> {
        let Self { config, origins, left } = self;
        let mut yaml = print::part(&config, &origins);
        // It must be what `config check` takes.
        Loaded::parse(&format!("{source}, as it would be here"), &yaml, |_| None)?;
        if !left.is_empty() {
            yaml.push_str("\n# Left out:\n");
        }
        for (key, reason) in &left {
            yaml.push_str(&format!("#   {key}: {reason}\n"));
        }
        Ok(Imported { yaml, left })
    }
}

/// A key may hold ends of lines, and would end the comment that it is in.
fn in_comment(key: &str) -> String {
    key.escape_debug().to_string()
}

fn list(value: &Json) -> Option<Json> {
    Some(if value.is_array() { value.clone() } else { Json::Array(vec![value.clone()]) })
}

fn lower(value: &Json) -> Option<Json> {
    Some(value.as_str().map_or_else(|| value.clone(), |text| text.to_ascii_lowercase().into()))
}

fn milliseconds(value: &Json) -> Option<Json> {
    Some(value.as_u64().map_or_else(|| value.clone(), |number| format!("{number}ms").into()))
}

fn not_empty(value: &Json) -> Option<Json> {
    value.as_str().is_some_and(|text| !text.is_empty()).then(|| value.clone())
}

fn if_true(value: &Json) -> Option<Json> {
    (*value == true).then(|| value.clone())
}

/// Falco has syslog's names.
fn log_level(value: &Json) -> Option<Json> {
    let level = match value.as_str()?.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" | "error" => "error",
        "warning" => "warn",
        "notice" | "info" | "informational" => "info",
        _ => "debug",
    };
    Some(level.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With every key of Falco 0.44, and some that are gone.
    const FALCO: &str = r#"
config_files: [/etc/falco/config.d]
watch_config_files: true
rules_files: [/etc/falco/falco_rules.yaml, /etc/falco/rules.d]
rules:
  - disable: {rule: "*"}
  - enable: {tag: network}
engine:
  kind: modern_ebpf
  modern_ebpf: {cpus_for_each_buffer: 2, buf_size_preset: 4, drop_failed_exit: false}
load_plugins: []
plugins: [{name: json, library_path: libjson.so}]
plugins_hostinfo: true
time_format_iso_8601: true
priority: Notice
json_output: true
json_include_output_property: true
json_include_message_property: false
json_include_output_fields_property: true
json_include_tags_property: true
buffered_outputs: false
rule_matching: all
outputs_queue: {capacity: 0}
append_output:
  - suggested_output: true
  - match: {source: syscall, tags: [host]}
    extra_output: "on %evt.hostname"
    extra_fields: [evt.type, who: "%user.name"]
stdout_output: {enabled: true}
syslog_output: {enabled: true}
file_output: {enabled: true, keep_alive: true, filename: /var/log/falco.log}
http_output:
  enabled: true
  url: https://sidekick:2801/
  user_agent: falco
  insecure: false
  ca_cert: /etc/ca.pem
  ca_bundle: ""
  ca_path: /etc/ssl/certs
  mtls: true
  client_cert: /etc/c.pem
  client_key: /etc/k.pem
  echo: false
  compress_uploads: true
  keep_alive: true
  max_consecutive_timeouts: 5
program_output: {enabled: false, keep_alive: false, program: "jq . | logger"}
grpc_output: {enabled: false}
grpc: {enabled: false, bind_address: "unix:///run/falco/falco.sock", threadiness: 0}
webserver:
  enabled: true
  threadiness: 0
  listen_port: 8765
  listen_address: 0.0.0.0
  k8s_healthz_endpoint: /healthz
  prometheus_metrics_enabled: true
  ssl_enabled: false
  ssl_certificate: /etc/falco/falco.pem
log_stderr: true
log_syslog: true
log_level: notice
libs_logger: {enabled: true, severity: info}
output_timeout: 2000
syscall_event_timeouts: {max_consecutives: 1000}
syscall_event_drops: {threshold: .1, actions: [log, alert], rate: 0.03333, max_burst: 1, simulate_drops: false}
metrics: {enabled: true, interval: 1h, output_rule: true, rules_counters_enabled: true}
capture: {enabled: false, path_prefix: /tmp/falco, mode: rules, default_duration: 5000}
base_syscalls: {custom_set: [], repair: false, all: false}
falco_libs: {thread_table_size: 262144}
"#;

    #[test]
    fn a_key_of_two_lines_stays_in_its_comment() {
        let imported = import_falco("falco.yaml", "\"two\\nlog: {level: off}\": 1\n").unwrap();
        assert!(
            imported.yaml.ends_with("#   two\\nlog: {level: off}: no such key is known\n"),
            "{}",
            imported.yaml
        );
        assert!(Loaded::parse("again.yaml", &imported.yaml, |_| None).is_ok());
    }

    #[test]
    fn every_key_of_falco_has_a_fate() {
        let imported = import_falco("falco.yaml", FALCO).unwrap();
        let unknown: Vec<_> =
            imported.left.iter().filter(|(_, reason)| reason.contains("no such key")).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let config = Loaded::parse("t", &imported.yaml, |_| None).unwrap().config;
        assert_eq!(config.rules.files.len(), 2);
        assert_eq!(config.rules.select.len(), 2);
        assert_eq!(config.alerts.append_output.len(), 2);
        assert_eq!(config.alerts.output_timeout.to_string(), "2s");
        assert_eq!(config.ops.listen.to_string(), "0.0.0.0:8765");
        assert!(config.ops.falco_metrics && config.alerts.http_output.client_key.is_some());
        assert!(imported.yaml.contains("  priority: notice"), "{}", imported.yaml);
        for says in
            ["# priority\n", "#   http_output.insecure: the server's", "#   engine.kind: there is one way"]
        {
            assert!(imported.yaml.contains(says), "{says}: {}", imported.yaml);
        }
    }

    #[test]
    fn what_falco_does_by_itself_is_said() {
        let imported =
            import_falco("falco.yaml", "rules_file: /r.yaml\nwebserver: {enabled: false}\nfoo: 1\n").unwrap();
        let config = Loaded::parse("t", &imported.yaml, |_| None).unwrap().config;
        assert_eq!(config.rules.matching, crate::rules::Matching::First);
        assert_eq!(config.ops.listen.to_string(), "none");
        assert_eq!(imported.left, [("foo".to_owned(), "no such key is known".to_owned())]);
    }

    #[test]
    fn values_that_cannot_be_are_told_by_the_option_they_became() {
        let error =
            import_falco("falco.yaml", "priority: loud\noutput_timeout: 1\n").unwrap_err().to_string();
        assert!(error.contains("alerts.priority: ") && error.contains("alerts.output_timeout: "), "{error}");
        assert!(import_falco("falco.yaml", "- a").is_err() && import_falco("falco.yaml", "a: [").is_err());
    }
}
