//! HTTP and HTTPS.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use tarsier::config::units::Duration as Setting;
use tarsier::export::DropCause;
use tarsier::export::alerts::{AlertsConfig, Channels, HttpOutput};
use tarsier::export::otlp::Headers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::authority::{Authority, write};
use crate::server::{Answer, Server};
use crate::{config, counts, narrow, overflow, sent, start, tell, until};

fn to(url: String) -> AlertsConfig {
    AlertsConfig { http_output: HttpOutput { enabled: true, url, ..HttpOutput::default() }, ..config() }
}

fn plain(address: SocketAddr) -> AlertsConfig {
    to(format!("http://{address}/in?a=b"))
}

fn bodies(server: &Server) -> Vec<String> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    server.arrivals().iter().map(|arrival| text(&arrival.body)).collect()
}

#[tokio::test]
async fn each_alert_is_a_post_and_all_go_by_one_connection() {
    let server = Server::start([]).await;
    let mut config = plain(server.address);
    config.http_output.headers = Headers([("authorization".to_owned(), "Bearer x".to_owned())].into());
    config.http_output.keep_alive = true;
    config.http_output.echo = true;
    let channels = start(&config);
    for message in ["one", "two\n", "three"] {
        tell(&channels, message);
    }
    sent(&channels, 3).await;
    let bodies = bodies(&server);
    assert!(bodies[1].ends_with(": Warning two\\n") && bodies[2].ends_with(" three"), "{bodies:?}");
    let arrival = &server.arrivals()[0];
    assert_eq!(arrival.path, "/in?a=b");
    assert_eq!(arrival.headers["content-type"], "text/plain");
    assert_eq!(arrival.headers["authorization"], "Bearer x");
    assert_eq!(arrival.headers["host"], server.address.to_string());
    assert!(arrival.headers["user-agent"].to_str().unwrap().starts_with("tarsier/"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn json_and_compressed() {
    let server = Server::start([]).await;
    let mut config = plain(server.address);
    config.json_output = true;
    config.http_output.compress_uploads = true;
    let channels = start(&config);
    tell(&channels, "one");
    sent(&channels, 1).await;
    let arrival = &server.arrivals()[0];
    assert_eq!(arrival.headers["content-type"], "application/json");
    assert_eq!(arrival.headers["content-encoding"], "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&arrival.body[..]).read_to_string(&mut text).unwrap();
    let alert: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(alert["rule"], "Test");
}

#[tokio::test]
async fn what_may_be_otherwise_another_time_is_tried_again_and_the_rest_is_refused() {
    let script = [Answer::Status(502), Answer::After(1), Answer::Status(404), Answer::Status(429)];
    let server = Server::start(script).await;
    let channels = start(&plain(server.address));
    for message in ["one", "two", "three"] {
        tell(&channels, message);
    }
    sent(&channels, 2).await;
    let arrived = bodies(&server);
    let order: Vec<_> = arrived.iter().map(|body| body.rsplit(' ').next().unwrap()).collect();
    assert_eq!(order, ["one", "one", "one", "two", "two", "three"]);
    let counts = counts(&channels);
    assert_eq!((counts.dropped(DropCause::Refused), counts.retries), (1, 3));
    let arrivals = server.arrivals();
    assert!(arrivals[2].at - arrivals[1].at >= Duration::from_secs(1), "the server asked for a pause");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closes_costs_no_retry() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Answers one request of each connection as if more could come, and hangs up.
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"end") {
                socket.read_buf(&mut request).await.unwrap();
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    let channels = start(&plain(address));
    tell(&channels, "one end");
    sent(&channels, 1).await;
    tell(&channels, "two end");
    sent(&channels, 2).await;
    server.await.unwrap();
    assert_eq!(counts(&channels).retries, 0);
}

#[tokio::test]
async fn no_answer_and_no_server() {
    let server = Server::start([Answer::Hang]).await;
    let mut config = plain(server.address);
    config.output_timeout = Setting::from_millis(200);
    let channels = start(&config);
    tell(&channels, "one");
    sent(&channels, 1).await;
    assert_eq!((server.arrivals().len(), counts(&channels).retries), (2, 1));
    drop(server);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let channels = start(&AlertsConfig { retry_for: Setting::from_millis(1), ..plain(nobody) });
    tell(&channels, "one");
    until("given up", || counts(&channels).dropped(DropCause::RetryExhausted) == 1).await;
}

#[tokio::test]
async fn a_server_that_reads_nothing_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    overflow(&start(&narrow(plain(listener.local_addr().unwrap())))).await;
}

fn tls(server: &Server, ca_cert: std::path::PathBuf) -> AlertsConfig {
    let mut config = to(format!("https://localhost:{}", server.address.port()));
    config.http_output.ca_cert = Some(ca_cert);
    config
}

#[tokio::test]
async fn tls_with_an_own_authority_whose_file_is_read_again() {
    let (right, wrong, directory) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let server = Server::start_tls(&right, false).await;
    let channels = start(&tls(&server, write(directory.path(), "ca.pem", &wrong.pem())));
    tell(&channels, "one");
    until("a second attempt", || counts(&channels).retries > 0).await;
    assert!(server.arrivals().is_empty());
    write(directory.path(), "ca.pem", &right.pem());
    sent(&channels, 1).await;
    tell(&channels, "two");
    sent(&channels, 2).await;
    assert_eq!(bodies(&server).len(), 2);
}

#[tokio::test]
async fn mutual_tls_needs_the_clients_certificate() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = Server::start_tls(&authority, true).await;
    let mut config = tls(&server, write(directory.path(), "ca.pem", &authority.pem()));
    let anonymous = start(&config);
    tell(&anonymous, "one");
    until("a second attempt", || counts(&anonymous).retries > 0).await;
    assert!(server.arrivals().is_empty());

    let (certificate, key) = authority.issue("agent");
    config.http_output.client_cert = Some(write(directory.path(), "cert.pem", &certificate));
    config.http_output.client_key = Some(write(directory.path(), "key.pem", &key));
    let channels = start(&config);
    tell(&channels, "two");
    sent(&channels, 1).await;
    assert!(bodies(&server)[0].ends_with(" two"));
}

#[tokio::test]
async fn files_that_cannot_be_used_and_urls_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let start = |config: &AlertsConfig| {
        Channels::start(config, "node-1", &Handle::current()).unwrap_err().to_string()
    };
    let mut config = to("https://localhost".into());
    config.http_output.ca_cert = Some(directory.path().join("none.pem"));
    let missing = start(&config);
    assert!(missing.starts_with("http_output.ca_cert: ") && missing.contains("none.pem"), "{missing}");
    std::fs::write(directory.path().join("empty.pem"), "# nothing\n").unwrap();
    config.http_output.ca_cert = Some(directory.path().join("empty.pem"));
    assert!(start(&config).contains("holds no certificate"));
    for (url, problem) in [
        ("localhost:1", "must begin with"),
        ("ftp://a", "must begin with"),
        ("http://me:secret@a/", "authorization"),
        ("", "url"),
    ] {
        let errors = to(url.into()).check();
        assert!(errors.len() == 1 && errors[0].to_string().contains(problem), "{url}: {errors:?}");
    }
}
