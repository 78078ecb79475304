//! The configuration checked and resolved: what the workers run with.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;

use super::config::{Compression, ConfigError, OtlpConfig, TlsConfig};
use super::headers;
use crate::export::Signal;

/// Where and how one signal is sent.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) signal: Signal,
    pub(super) endpoint: Uri,
    pub(super) headers: MetadataMap,
    pub(super) headers_file: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) compression: Option<CompressionEncoding>,
    pub(super) tls: TlsConfig,
}

impl Target {
    /// Whether the connection is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.endpoint.scheme_str() == Some("https")
    }
}

impl OtlpConfig {
    /// Every mistake in this section; none means that [`super::OtlpExporter::start`] can only fail for
    /// what files hold.
    pub fn check(&self) -> Vec<ConfigError> {
        self.resolve().err().unwrap_or_default()
    }

    /// The targets of the enabled signals that have an endpoint.
    pub(super) fn resolve(&self) -> Result<Vec<Target>, Vec<ConfigError>> {
        let mut errors = Vec::new();
        self.check_limits(&mut errors);
        self.check_tls(&mut errors);
        let targets = self.targets(&mut errors);
        if errors.is_empty() { Ok(targets) } else { Err(errors) }
    }

    fn targets(&self, errors: &mut Vec<ConfigError>) -> Vec<Target> {
        let common = self.endpoint.as_deref().and_then(|text| endpoint("endpoint", text, errors));
        let common_headers = metadata("headers", MetadataMap::new(), &self.headers, errors);
        let mut targets = Vec::new();
        for signal in Signal::ALL {
            let own = self.signal(signal);
            let name = signal.name();
            let own_endpoint =
                own.endpoint.as_deref().map(|text| endpoint(&format!("{name}.endpoint"), text, errors));
            let headers = metadata(&format!("{name}.headers"), common_headers.clone(), &own.headers, errors);
            let Some(endpoint) = own_endpoint.unwrap_or_else(|| common.clone()).filter(|_| own.enabled)
            else {
                continue;
            };
            targets.push(Target {
                signal,
                headers,
                headers_file: self.headers_file.clone(),
                timeout: own.timeout.or(self.timeout).unwrap_or(Self::DEFAULT_TIMEOUT),
                compression: encoding(own.compression.or(self.compression).unwrap_or_default(), &endpoint),
                tls: self.tls.clone(),
                endpoint,
            });
        }
        targets
    }

    fn check_limits(&self, errors: &mut Vec<ConfigError>) {
        let mut error = |key: &str, problem: &str| errors.push(ConfigError::new(key, problem));
        if self.max_request_bytes < 16 << 10 {
            error("max_request_bytes", "must be at least 16384 (16 KiB)");
        }
        if self.queue.max_bytes < self.max_request_bytes.saturating_mul(2) {
            error("queue.max_bytes", "must be at least twice max_request_bytes: one waits while one is sent");
        }
        if self.retry.initial.is_zero() {
            error("retry.initial", "must be above 0, such as 500ms");
        }
        if self.retry.max < self.retry.initial {
            error("retry.max", "must not be below retry.initial");
        }
        let timeouts =
            Signal::ALL.map(|signal| (format!("{}.timeout", signal.name()), self.signal(signal).timeout));
        for (key, timeout) in timeouts.iter().chain([&("timeout".to_owned(), self.timeout)]) {
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                error(key, "must be above 0, such as 10s");
            }
        }
    }

    fn check_tls(&self, errors: &mut Vec<ConfigError>) {
        let tls = &self.tls;
        let missing = match (&tls.cert_file, &tls.key_file) {
            (Some(_), None) => Some("tls.key_file"),
            (None, Some(_)) => Some("tls.cert_file"),
            _ => None,
        };
        errors.extend(
            missing.map(|key| ConfigError::new(key, "is missing: cert_file and key_file go together")),
        );
        let mut endpoints = Signal::ALL.into_iter().filter_map(|signal| self.endpoint_of(signal)).peekable();
        if *tls != TlsConfig::default()
            && endpoints.peek().is_some()
            && !endpoints.any(|endpoint| endpoint.starts_with("https://"))
        {
            let problem = "is set, but no endpoint is https://: requests would go in plain text";
            errors.push(ConfigError::new("tls", problem));
        }
    }
}

fn endpoint(key: &str, text: &str, errors: &mut Vec<ConfigError>) -> Option<Uri> {
    if text.contains('@') {
        // The text is not repeated: it may hold a password.
        let problem = "credentials do not belong in the URL: put an `authorization` line into headers_file";
        errors.push(ConfigError::new(key, problem));
        return None;
    }
    let problem = match text.parse::<Uri>() {
        Ok(uri) => match (uri.scheme_str(), uri.path_and_query().map(http::uri::PathAndQuery::as_str)) {
            (Some("http" | "https"), None | Some("" | "/")) => return Some(uri),
            (Some("http" | "https"), Some(_)) => "a gRPC endpoint has no path: write scheme://host:port",
            _ => "write the scheme: http://host:port (plain text) or https://host:port (TLS)",
        },
        Err(_) => "is not a URL such as http://localhost:4317",
    };
    errors.push(ConfigError::new(key, format!("{text:?}: {problem}")));
    None
}

fn metadata(
    key: &str,
    mut map: MetadataMap,
    headers: &super::config::Headers,
    errors: &mut Vec<ConfigError>,
) -> MetadataMap {
    for (name, value) in &headers.0 {
        if let Err(error) = headers::insert(&mut map, name, value) {
            errors.push(ConfigError::new(key, error.to_string()));
        }
    }
    map
}

fn encoding(compression: Compression, endpoint: &Uri) -> Option<CompressionEncoding> {
    match compression {
        Compression::Auto if is_loopback(endpoint) => None,
        Compression::None => None,
        Compression::Auto | Compression::Gzip => Some(CompressionEncoding::Gzip),
        Compression::Zstd => Some(CompressionEncoding::Zstd),
    }
}

fn is_loopback(endpoint: &Uri) -> bool {
    let host = endpoint.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> OtlpConfig {
        OtlpConfig { endpoint: Some(endpoint.into()), ..OtlpConfig::default() }
    }

    #[test]
    fn compression_follows_the_endpoint_unless_it_is_set() {
        let encoding = |config: OtlpConfig| config.resolve().unwrap()[0].compression;
        assert_eq!(encoding(config("http://localhost:4317")), None);
        assert_eq!(encoding(config("http://127.0.0.2:4317")), None);
        assert_eq!(encoding(config("https://[::1]:4317")), None);
        assert_eq!(encoding(config("https://otlp.example:4317")), Some(CompressionEncoding::Gzip));
        let mut zstd = config("http://localhost:4317");
        zstd.logs.compression = Some(Compression::Zstd);
        assert_eq!(encoding(zstd), Some(CompressionEncoding::Zstd));
    }

    #[test]
    fn signals_have_their_own_endpoint_headers_and_switch() {
        let mut config = config("http://collector:4317");
        config.headers.0.insert("tenant".into(), "all".into());
        config.traces.endpoint = Some("https://tempo:4317".into());
        config.traces.headers.0.insert("tenant".into(), "traces".into());
        config.metrics.enabled = false;
        let targets = config.resolve().unwrap();
        assert_eq!(targets.len(), 2);
        assert!(!targets[0].is_tls() && targets[0].headers.get("tenant").unwrap() == "all");
        assert!(targets[1].is_tls() && targets[1].headers.get("tenant").unwrap() == "traces");
    }

    #[test]
    fn all_mistakes_at_once() {
        let mut config = config("collector:4317");
        config.logs.endpoint = Some("http://collector:4318/v1/logs".into());
        config.metrics.endpoint = Some("https://user:s3cret@collector:4317".into());
        config.headers.0.insert("bad name".into(), "x".into());
        config.max_request_bytes = 1;
        config.queue.max_bytes = 1;
        config.retry.initial = Duration::ZERO;
        config.timeout = Some(Duration::ZERO);
        config.tls.cert_file = Some("/cert.pem".into());
        let errors = config.check();
        assert!(!format!("{errors:?}").contains("s3cret"));
        let keys: Vec<String> = errors.into_iter().map(|error| error.key).collect();
        let expected = [
            "max_request_bytes",
            "queue.max_bytes",
            "retry.initial",
            "timeout",
            "tls.key_file",
            "endpoint",
            "headers",
            "logs.endpoint",
            "metrics.endpoint",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn certificates_without_tls_are_a_mistake() {
        let mut config = config("http://collector:4317");
        config.tls.ca_file = Some("/ca.pem".into());
        assert_eq!(config.check().into_iter().map(|error| error.key).collect::<Vec<_>>(), ["tls"]);
        config.traces.endpoint = Some("https://tempo:4317".into());
        assert_eq!(config.check(), []);
    }

    #[test]
    fn the_section_is_strict_yaml_with_readable_durations() {
        let yaml =
            "endpoint: https://otlp.example:443\ntimeout: 2s\nretry: {max: 1m}\nlogs: {enabled: false}\n";
        let config: OtlpConfig = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(config.timeout, Some(Duration::from_secs(2)));
        assert_eq!(config.retry.max, Duration::from_secs(60));
        assert!(config.check().is_empty() && config.is_configured() && !config.logs.enabled);
        assert!(serde_saphyr::from_str::<OtlpConfig>("endpont: http://a:1\n").is_err());
        let printed = serde_saphyr::to_string(&config).unwrap();
        assert_eq!(serde_saphyr::from_str::<OtlpConfig>(&printed).unwrap(), config);
        let schema = serde_json::to_value(schemars::schema_for!(OtlpConfig)).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["max_request_bytes"]["default"], 4 << 20);
    }
}
