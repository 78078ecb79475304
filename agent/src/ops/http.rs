//! The HTTP endpoint: `/metrics` for Prometheus, `/livez`, `/readyz` and `/healthz` for an
//! orchestrator, `/versions`.
//!
//! Readiness means that the programs are attached. It never depends on a backend: an agent that
//! cannot export still captures, and restarting it would lose what it holds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tarsier_core::rules::load::{CONTAINER, ENGINE};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{build, metrics};

/// The agent's health at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether the event loop makes progress, or why not.
    pub live: Result<(), String>,
    /// Whether the programs are attached, or why not.
    pub ready: Result<(), String>,
    /// Whether there is enough memory, or how short it is. It is for people: an agent that is started anew
    /// would lose what it holds and need as much again.
    pub memory: Result<(), String>,
}

/// What the endpoint asks for on each request.
#[derive(Clone)]
pub struct Sources {
    /// The metrics of now.
    pub metrics: Arc<dyn Fn() -> metrics::Snapshot + Send + Sync>,
    /// The health of now.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
}

/// A running endpoint. Dropping it stops the endpoint, without waiting for open requests.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl HttpServer {
    /// Binds `address` (port 0 picks a free one) and serves on the current runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, sources: Sources) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/versions", get(versions))
            .with_state(sources);
        let serve = axum::serve(listener, router).with_graceful_shutdown(async {
            // An error means that the server was dropped, which asks to stop as well.
            let _ = stopped.await;
        });
        let task = tokio::spawn(serve.into_future());
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking connections, answers the requests that are open and returns.
    ///
    /// # Errors
    /// The server failed before.
    pub async fn stop(self) -> io::Result<()> {
        // The receiver is gone only if the server has ended already; its result says why.
        let _ = self.stop.send(());
        self.task.await.map_err(io::Error::other)?
    }
}

async fn metrics(State(sources): State<Sources>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], (sources.metrics)().render()).into_response()
}

async fn healthz(State(sources): State<Sources>) -> Response {
    let Health { live, ready, memory } = (sources.health)();
    let well = live.is_ok() && ready.is_ok();
    answer(well, &[("live", live), ("ready", ready), ("memory", memory)])
}

async fn livez(State(sources): State<Sources>) -> Response {
    let live = (sources.health)().live;
    answer(live.is_ok(), &[("live", live)])
}

async fn readyz(State(sources): State<Sources>) -> Response {
    let ready = (sources.health)().ready;
    answer(ready.is_ok(), &[("ready", ready)])
}

/// What this binary is, and what rule files find here, under the keys that Falco has for it: falcoctl and others ask before they
/// install rules. Falco's own keys for what is not here (`falco_version`, `libs_version`, `driver_…`) are left out.
async fn versions() -> Response {
    let mut versions = serde_json::to_value(build::FACTS).expect("the facts are plain text");
    let [_, minor, _] = ENGINE.0;
    versions["engine_version"] = minor.to_string().into();
    versions["engine_version_semver"] = ENGINE.to_string().into();
    // Built in, and as much as rule files can ask of it.
    versions["plugin_versions"] = serde_json::json!({ "container": CONTAINER.to_string() });
    ([(header::CONTENT_TYPE, "application/json")], versions.to_string()).into_response()
}

/// 200 if it is well, else 503; one line per check.
fn answer(well: bool, checks: &[(&str, Result<(), String>)]) -> Response {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let lines = checks.iter().map(|(name, result)| match result {
        Ok(()) => format!("{name}: ok\n"),
        Err(reason) => format!("{name}: {reason}\n"),
    });
    (status, lines.collect::<String>()).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn request(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    #[tokio::test]
    async fn routes_answer_with_the_state_of_now() {
        let attached = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&attached);
        let sources = Sources {
            metrics: Arc::new(|| {
                let mut snapshot = metrics::Snapshot::new();
                snapshot.push(metrics::Metric::FlowsLive, &[], 7);
                snapshot
            }),
            health: Arc::new(move || Health {
                live: Ok(()),
                ready: if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("tcp is not attached".into()) },
                memory: Err("short".into()),
            }),
        };
        let server = HttpServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), sources).await.unwrap();
        let address = server.address();

        let (status, text) = request(address, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
        assert!(text.contains("\ntarsier_flows_live 7\n") && text.contains("tarsier_build_info{"), "{text}");

        assert_eq!(request(address, "/livez").await.0, 200);
        let (status, text) = request(address, "/readyz").await;
        assert!(status == 503 && text.ends_with("ready: tcp is not attached\n"), "{text}");
        let (status, text) = request(address, "/healthz").await;
        assert!(status == 503 && text.contains("live: ok\n"), "{text}");
        attached.store(true, Ordering::Relaxed);
        assert_eq!(request(address, "/readyz").await.0, 200);
        let (status, text) = request(address, "/healthz").await;
        assert!(status == 200 && text.contains("memory: short\n"), "no reason to start it anew: {text}");

        let (_, text) = request(address, "/versions").await;
        let versions: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(versions["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(versions["engine_version_semver"], "0.63.0");
        assert_eq!(
            (&versions["engine_version"], &versions["plugin_versions"]["container"]),
            (&"63".into(), &"0.6.0".into())
        );
        assert_eq!(request(address, "/none").await.0, 404);

        server.stop().await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nothing listens after stop");
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sources = Sources {
            metrics: Arc::new(metrics::Snapshot::new),
            health: Arc::new(|| Health { live: Ok(()), ready: Ok(()), memory: Ok(()) }),
        };
        let error = HttpServer::start(taken.local_addr().unwrap(), sources).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
