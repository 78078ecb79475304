//! TLS of a connection, from files that may change under it.

use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::ConnectError;
use super::config::TlsConfig;

/// Gives an endpoint its TLS configuration, reading the files now.
pub(super) fn apply(endpoint: Endpoint, config: &TlsConfig) -> Result<Endpoint, ConnectError> {
    let mut tls = ClientTlsConfig::new();
    if let Some(name) = &config.server_name {
        tls = tls.domain_name(name);
    }
    if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
        tls = tls.identity(Identity::from_pem(read_pem(cert, "CERTIFICATE")?, read_pem(key, "PRIVATE KEY")?));
    }
    let refused = |source| ConnectError::Tls(crate::export::worker::chain(&source));
    if let Some(ca) = &config.ca_file {
        let certificate = Certificate::from_pem(read_pem(ca, "CERTIFICATE")?);
        return endpoint.tls_config(tls.ca_certificate(certificate)).map_err(refused);
    }
    // The system's authorities and the built-in ones. In an image without any, the former fail as a
    // whole and the latter suffice.
    let tls = tls.with_webpki_roots();
    match endpoint.clone().tls_config(tls.clone().with_native_roots()) {
        Ok(endpoint) => Ok(endpoint),
        Err(_) => endpoint.tls_config(tls).map_err(refused),
    }
}

/// A PEM file that holds at least one section of this kind: the TLS library takes an empty file
/// without complaint and then trusts nobody.
fn read_pem(path: &Path, kind: &'static str) -> Result<Vec<u8>, ConnectError> {
    let pem = std::fs::read(path).map_err(|source| ConnectError::Read { path: path.into(), source })?;
    let is_end = |line: &[u8]| {
        line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(format!("{kind}-----").as_bytes())
    };
    if pem.split(|&byte| byte == b'\n').any(is_end) {
        Ok(pem)
    } else {
        Err(ConnectError::Pem { path: path.into(), kind })
    }
}

impl TlsConfig {
    /// Every file named here.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten()
    }
}
