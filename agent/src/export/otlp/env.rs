//! The standard environment variables of OTLP exporters (`OTEL_EXPORTER_OTLP_*`).
//!
//! Each fills a field that the configuration file left empty; an empty variable counts as not set.

use std::path::PathBuf;
use std::time::Duration;

use super::config::{Compression, ConfigError, Headers, OtlpConfig};
use crate::export::Signal;

impl OtlpConfig {
    /// Fills what the file left open from `OTEL_EXPORTER_OTLP_*`, read through `lookup`.
    ///
    /// Returns every mistake; a mistaken variable changes nothing.
    pub fn apply_env(&mut self, lookup: impl Fn(&str) -> Option<String>) -> Vec<ConfigError> {
        let mut env = Env { lookup, errors: Vec::new() };
        let general = |name: &str| format!("OTEL_EXPORTER_OTLP_{name}");
        env.protocol(&general("PROTOCOL"));
        env.fill(&mut self.endpoint, &general("ENDPOINT"), |env, key, value| env.endpoint(key, value));
        env.headers(&mut self.headers, &general("HEADERS"));
        env.fill(&mut self.timeout, &general("TIMEOUT"), |env, key, value| env.timeout(key, &value));
        env.fill(&mut self.compression, &general("COMPRESSION"), |env, key, value| {
            env.compression(key, &value)
        });
        env.fill(&mut self.tls.ca_file, &general("CERTIFICATE"), |_, _, value| Some(PathBuf::from(value)));
        env.fill(&mut self.tls.cert_file, &general("CLIENT_CERTIFICATE"), |_, _, value| Some(value.into()));
        env.fill(&mut self.tls.key_file, &general("CLIENT_KEY"), |_, _, value| Some(value.into()));
        for signal in Signal::ALL {
            let own =
                |name: &str| format!("OTEL_EXPORTER_OTLP_{}_{name}", signal.name().to_ascii_uppercase());
            let config = self.signal_mut(signal);
            env.protocol(&own("PROTOCOL"));
            env.fill(&mut config.endpoint, &own("ENDPOINT"), |env, key, value| env.endpoint(key, value));
            env.headers(&mut config.headers, &own("HEADERS"));
            env.fill(&mut config.timeout, &own("TIMEOUT"), |env, key, value| env.timeout(key, &value));
            env.fill(&mut config.compression, &own("COMPRESSION"), |env, key, value| {
                env.compression(key, &value)
            });
            for name in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
                env.unsupported(&own(name), &general(name));
            }
        }
        env.errors
    }
}

struct Env<F> {
    lookup: F,
    errors: Vec<ConfigError>,
}

impl<F: Fn(&str) -> Option<String>> Env<F> {
    fn get(&self, key: &str) -> Option<String> {
        (self.lookup)(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn error(&mut self, key: &str, problem: String) {
        self.errors.push(ConfigError::new(key, problem));
    }

    /// Reads the variable even if the field is set, so that a mistake in it is always reported.
    fn fill<T>(
        &mut self,
        field: &mut Option<T>,
        key: &str,
        parse: impl FnOnce(&mut Self, &str, String) -> Option<T>,
    ) {
        let value = self.get(key).and_then(|value| parse(self, key, value));
        if field.is_none() {
            *field = value;
        }
    }

    fn protocol(&mut self, key: &str) {
        if let Some(value) = self.get(key).filter(|value| value != "grpc") {
            self.error(
                key,
                format!("{value:?} is not supported: this exporter speaks `grpc` (port 4317 as a rule)"),
            );
        }
    }

    fn unsupported(&mut self, key: &str, instead: &str) {
        if self.get(key).is_some() {
            self.error(key, format!("certificates are common to all signals: use {instead}"));
        }
    }

    /// The specification lets gRPC endpoints go without a scheme; then `INSECURE` decides.
    fn endpoint(&mut self, key: &str, value: String) -> Option<String> {
        if value.contains("://") {
            return Some(value);
        }
        let insecure = key.replace("_ENDPOINT", "_INSECURE");
        let insecure = self.get(&insecure).or_else(|| self.get("OTEL_EXPORTER_OTLP_INSECURE"));
        let plain = insecure.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Some(format!("{}://{value}", if plain { "http" } else { "https" }))
    }

    fn timeout(&mut self, key: &str, value: &str) -> Option<Duration> {
        match value.parse() {
            Ok(0) | Err(_) => {
                self.error(key, format!("{value:?} is not a number of milliseconds above 0, such as 10000"));
                None
            }
            Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
        }
    }

    fn compression(&mut self, key: &str, value: &str) -> Option<Compression> {
        match value {
            "gzip" => Some(Compression::Gzip),
            "zstd" => Some(Compression::Zstd),
            "none" => Some(Compression::None),
            _ => {
                self.error(key, format!("{value:?} is not a compression: use `gzip`, `zstd` or `none`"));
                None
            }
        }
    }

    /// `name=value,name=value`, the values percent-encoded (W3C Baggage without properties).
    fn headers(&mut self, headers: &mut Headers, key: &str) {
        let Some(text) = self.get(key) else { return };
        let mut found = Headers::default();
        for (position, pair) in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).enumerate() {
            // The pair itself may be a secret, so the message names its position only.
            match pair
                .split_once('=')
                .and_then(|(name, value)| Some((name.trim(), percent_decode(value.trim())?)))
            {
                Some((name, value)) if !name.is_empty() => {
                    found.0.insert(name.to_owned(), value);
                }
                _ => self.error(key, format!("entry {} is not `name=value` with %XX escapes", position + 1)),
            }
        }
        headers.fill_from(found);
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(config: &mut OtlpConfig, variables: &[(&str, &str)]) -> Vec<String> {
        let lookup =
            |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        config.apply_env(lookup).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_environment_fills_what_the_file_left_open() {
        let mut config = OtlpConfig { timeout: Some(Duration::from_secs(3)), ..OtlpConfig::default() };
        config.headers.0.insert("a".into(), "file".into());
        let errors = apply(
            &mut config,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tempo:4317"),
                ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true"),
                ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "loki:4317"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "a=env, b=x%3Dy%20z"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
                ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "700"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", ""),
            ],
        );
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(config.endpoint.as_deref(), Some("http://collector:4317"));
        assert_eq!(config.endpoint_of(Signal::Traces), Some("http://tempo:4317"));
        assert_eq!(config.endpoint_of(Signal::Logs), Some("https://loki:4317"));
        assert_eq!(config.endpoint_of(Signal::Metrics), Some("http://collector:4317"));
        assert_eq!(config.timeout, Some(Duration::from_secs(3)));
        assert_eq!(config.metrics.timeout, Some(Duration::from_millis(700)));
        assert_eq!(config.headers.0["a"], "file");
        assert_eq!(config.headers.0["b"], "x=y z");
        assert_eq!(config.compression, Some(Compression::Gzip));
        assert_eq!(config.tls.ca_file, Some(PathBuf::from("/ca.pem")));
    }

    #[test]
    fn every_mistake_is_reported_and_none_shows_a_secret() {
        let mut config = OtlpConfig::default();
        let errors = apply(
            &mut config,
            &[
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "k=v,s3cret,x=%zz"),
                ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/ca.pem"),
            ],
        );
        assert_eq!(errors.len(), 6, "{errors:?}");
        assert!(!errors.concat().contains("s3cret"));
        assert!(!config.is_configured());
    }
}
