//! TLS and mTLS with certificates made here.

use std::path::PathBuf;

use tarsier::export::Signal;
use tarsier::export::otlp::{ExportError, OtlpConfig, OtlpExporter};
use tokio::runtime::Handle;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::authority::{Authority, write};
use crate::receiver::Receiver;
use crate::{config, items, last_error, settled, start, wait};

fn server(authority: &Authority, name: &str) -> ServerTlsConfig {
    let (certificate, key) = authority.issue(name);
    ServerTlsConfig::new().identity(Identity::from_pem(certificate, key))
}

fn tls_config(receiver: &Receiver, ca_file: PathBuf) -> OtlpConfig {
    let mut config = config(format!("https://localhost:{}", receiver.address.port()));
    config.tls.ca_file = Some(ca_file);
    config
}

#[tokio::test]
async fn tls_with_an_own_authority() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let receiver = Receiver::start_tls(server(&authority, "localhost")).await;
    let exporter = start(&tls_config(&receiver, write(directory.path(), "ca.pem", &authority.pem())));
    for signal in Signal::ALL {
        exporter.push(items::batch(signal, 0..5)).unwrap();
    }
    wait(&exporter, |ledger| ledger.signals.iter().all(|counts| counts.sent == 5)).await;
}

/// Many records of TLS to a request, and requests that are less than one.
#[tokio::test]
async fn large_and_small_requests_in_turn_over_tls() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let receiver = Receiver::start_tls(server(&authority, "localhost")).await;
    let exporter = start(&tls_config(&receiver, write(directory.path(), "ca.pem", &authority.pem())));
    for id in 0..6 {
        exporter.push(items::heavy(id, if id % 2 == 0 { 3_000_000 } else { 1 })).unwrap();
    }
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.retries), (6, 0));
    assert_eq!(receiver.accepted(Signal::Logs), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_wrong_authority_is_named_and_a_replaced_file_is_read_again() {
    let (right, wrong, directory) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let receiver = Receiver::start_tls(server(&right, "localhost")).await;
    let ca_file = write(directory.path(), "ca.pem", &wrong.pem());
    let exporter = start(&tls_config(&receiver, ca_file));
    exporter.push(items::batch(Signal::Logs, 0..5)).unwrap();
    wait(&exporter, |ledger| ledger.of(Signal::Logs).retries >= 1).await;
    let error = last_error(&exporter, Signal::Logs);
    assert!(error.contains("invalid peer certificate"), "{error}");
    assert!(receiver.arrivals().is_empty());

    write(directory.path(), "ca.pem", &right.pem());
    assert_eq!(settled(&exporter, Signal::Logs).await.sent, 5);
}

#[tokio::test]
async fn the_servers_name_is_checked_and_can_be_told() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let receiver = Receiver::start_tls(server(&authority, "otlp.example")).await;
    let mut config = tls_config(&receiver, write(directory.path(), "ca.pem", &authority.pem()));
    let stranger = start(&config);
    stranger.push(items::batch(Signal::Logs, 0..5)).unwrap();
    wait(&stranger, |ledger| ledger.of(Signal::Logs).retries >= 1).await;
    let error = last_error(&stranger, Signal::Logs);
    assert!(error.contains("not valid for name"), "{error}");

    config.tls.server_name = Some("otlp.example".into());
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Logs, 0..5)).unwrap();
    assert_eq!(settled(&exporter, Signal::Logs).await.sent, 5);
}

#[tokio::test]
async fn mutual_tls_needs_the_clients_certificate() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = server(&authority, "localhost").client_ca_root(Certificate::from_pem(authority.pem()));
    let receiver = Receiver::start_tls(server).await;
    let mut config = tls_config(&receiver, write(directory.path(), "ca.pem", &authority.pem()));
    let anonymous = start(&config);
    anonymous.push(items::batch(Signal::Logs, 0..5)).unwrap();
    wait(&anonymous, |ledger| ledger.of(Signal::Logs).retries >= 1).await;
    assert!(receiver.arrivals().is_empty());
    assert!(!last_error(&anonymous, Signal::Logs).is_empty());

    let (certificate, key) = authority.issue("agent");
    config.tls.cert_file = Some(write(directory.path(), "cert.pem", &certificate));
    config.tls.key_file = Some(write(directory.path(), "key.pem", &key));
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Logs, 0..5)).unwrap();
    assert_eq!(settled(&exporter, Signal::Logs).await.sent, 5);
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let start = |ca_file: PathBuf| {
        let mut config = config("https://localhost:4317".into());
        config.tls.ca_file = Some(ca_file);
        OtlpExporter::start(&config, &Handle::current())
    };
    let missing = start(directory.path().join("none.pem")).unwrap_err();
    assert!(matches!(missing, ExportError::File(_)));
    assert!(missing.to_string().contains("none.pem"), "{missing}");
    let empty = start(write(directory.path(), "empty.pem", "# nothing\n")).unwrap_err();
    assert!(empty.to_string().contains("holds no PEM section CERTIFICATE"), "{empty}");
}

#[tokio::test]
async fn without_an_authority_of_its_own_it_trusts_the_public_ones_only() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(server(&authority, "localhost")).await;
    let exporter = start(&config(format!("https://localhost:{}", receiver.address.port())));
    exporter.push(items::batch(Signal::Logs, 0..5)).unwrap();
    wait(&exporter, |ledger| ledger.of(Signal::Logs).retries >= 1).await;
    assert!(last_error(&exporter, Signal::Logs).contains("UnknownIssuer"));
}
