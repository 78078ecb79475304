//! TLS of the HTTP channel, from files that may change under it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::http::HttpOutput;
use crate::export::stamps::Stamps;

/// What a connection needs, as of the files' last change.
pub(super) struct Tls {
    files: Files,
    stamps: Stamps,
    connector: TlsConnector,
}

struct Files {
    authorities: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// A mistake: the option, and what is wrong.
type Mistake = (&'static str, String);

impl Tls {
    pub(super) fn new(config: &HttpOutput) -> Result<Self, Mistake> {
        let HttpOutput { ca_cert, client_cert, client_key, .. } = config;
        let files =
            Files { authorities: ca_cert.clone(), certificate: client_cert.clone(), key: client_key.clone() };
        let (stamps, connector) = (files.stamps(), files.connector()?);
        Ok(Self { files, stamps, connector })
    }

    /// Whether a file has changed since a connection was made.
    pub(super) fn has_changed(&self) -> bool {
        self.stamps != self.files.stamps()
    }

    /// Begins TLS, with the files as they are.
    pub(super) async fn connect(
        &mut self,
        socket: TcpStream,
        host: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        let stamps = self.files.stamps();
        if stamps != self.stamps {
            self.connector = self.files.connector().map_err(|(_, problem)| problem)?;
            self.stamps = stamps;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        self.connector.connect(name, socket).await.map_err(|error| format!("TLS: {error}"))
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        let files = [&self.authorities, &self.certificate, &self.key];
        Stamps::of(&files.into_iter().flatten().cloned().collect::<Vec<_>>())
    }

    fn connector(&self) -> Result<TlsConnector, Mistake> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(path) => {
                for certificate in certificates("ca_cert", path)? {
                    roots.add(certificate).map_err(|error| about("ca_cert", path, &error))?;
                }
            }
            // The system's and the built-in ones; an image may be without the former.
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key_path)) => {
                let chain = certificates("client_cert", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key_path);
                let key = key.map_err(|error| about("client_key", key_path, &error))?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| about("client_cert", certificate, &error))?
            }
            _ => config.with_no_client_auth(),
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// The certificates of a file, one at least.
fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err((option, format!("{} holds no certificate", path.display()))),
        Ok(found) => Ok(found),
        Err(error) => Err(about(option, path, &error)),
    }
}

fn about(option: &'static str, path: &Path, error: &dyn std::fmt::Display) -> Mistake {
    (option, format!("{}: {error}", path.display()))
}
