//! A real HTTP server that answers by a script and notes what arrived.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::authority::Authority;

/// How one request is answered. When the script is empty all is well.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    /// 503, to be asked again after so many seconds.
    After(u32),
    /// None at all.
    Hang,
}

/// One request as it arrived, whatever the answer was.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) path: String,
    pub(crate) at: Instant,
}

#[derive(Clone, Default)]
struct Desk {
    script: Arc<Mutex<VecDeque<Answer>>>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    connections: Arc<Mutex<usize>>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    desk: Desk,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        let desk = Desk::default();
        desk.script.lock().unwrap().extend(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Plain { listener, desk: desk.clone() };
        let task = tokio::spawn(serve(listener, desk.clone()));
        Self { address, desk, task }
    }

    /// With TLS, as `localhost`; `of_clients`: it asks clients for a certificate of this authority.
    pub(crate) async fn start_tls(authority: &Authority, of_clients: bool) -> Self {
        let acceptor = acceptor(authority, of_clients);
        let desk = Desk::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Tls { plain: Plain { listener, desk: desk.clone() }, acceptor };
        let task = tokio::spawn(serve(listener, desk.clone()));
        Self { address, desk, task }
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.desk.arrivals.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.desk.connections.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<L: Listener<Addr = SocketAddr>>(listener: L, desk: Desk) {
    axum::serve(listener, Router::new().fallback(answer).with_state(desk)).await.unwrap();
}

async fn answer(
    State(desk): State<Desk>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(method, "POST");
    let arrival = Arrival { headers, body, path: uri.to_string(), at: Instant::now() };
    desk.arrivals.lock().unwrap().push(arrival);
    let answer = desk.script.lock().unwrap().pop_front();
    match answer {
        None => "thanks".into_response(),
        Some(Answer::Status(status)) => (StatusCode::from_u16(status).unwrap(), "no").into_response(),
        Some(Answer::After(seconds)) => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", seconds.to_string())]).into_response()
        }
        Some(Answer::Hang) => std::future::pending().await,
    }
}

fn acceptor(authority: &Authority, of_clients: bool) -> TlsAcceptor {
    let (certificate, key) = authority.issue("localhost");
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = if of_clients {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        ServerConfig::builder().with_client_cert_verifier(verifier)
    } else {
        ServerConfig::builder().with_no_client_auth()
    };
    TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate], key).unwrap()))
}

struct Plain {
    listener: TcpListener,
    desk: Desk,
}

impl Listener for Plain {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let accepted = self.listener.accept().await.unwrap();
        *self.desk.connections.lock().unwrap() += 1;
        accepted
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Tls {
    plain: Plain,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (socket, address) = self.plain.accept().await;
            // One that is turned away is gone.
            if let Ok(stream) = self.acceptor.accept(socket).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.plain.local_addr()
    }
}
