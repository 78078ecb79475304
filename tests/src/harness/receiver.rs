//! An OTLP/gRPC server in this process: it decodes with `opentelemetry-proto`, keeps what it accepted,
//! and can be told to misbehave as real backends do.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::seen::Seen;
use super::wire::{Cut, Fuse, Link, Wire};

/// Largest request accepted, bytes: the default of the Collector is 20 MiB, of tonic 4 MiB.
const REQUEST_MAX: usize = 20 << 20;

/// How the server answers logs and traces. Metrics are always accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes everything.
    #[default]
    Accept,
    /// Takes nothing and says why.
    Refuse(Code),
    /// Takes nothing and says when to come again: RESOURCE_EXHAUSTED with RetryInfo.
    Throttle(Duration),
    /// Says OK, and that it rejected one item of each request (the first, which is not kept).
    RejectOne,
    /// Takes everything, after this long.
    Slow(Duration),
    /// Takes nothing and does not answer.
    Silent,
    /// Takes nothing and closes its half of the connection instead of an answer.
    HalfClose,
    /// Takes everything, and resets the connection instead of an answer.
    KeepUnanswered,
}

/// What becomes of a request that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    All,
    AllButTheFirst,
    AllUnanswered,
}

#[derive(Default)]
struct State {
    seen: Seen,
    behaviour: Behaviour,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it looked has not left the lists half-written.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts the request and applies the behaviour; `link` is the connection, if it is one that can be cut.
    async fn arrive(&self, link: Option<Arc<Link>>) -> Result<Taken, Status> {
        let behaviour = {
            let mut state = self.lock();
            state.seen.requests += 1;
            let taken = [Behaviour::Accept, Behaviour::KeepUnanswered].contains(&state.behaviour);
            if !taken && !matches!(state.behaviour, Behaviour::Slow(_)) {
                state.seen.refused += 1;
            }
            state.behaviour
        };
        self.changed.notify_all();
        match behaviour {
            Behaviour::Accept => Ok(Taken::All),
            Behaviour::RejectOne => Ok(Taken::AllButTheFirst),
            Behaviour::Refuse(code) => Err(Status::new(code, "as the test told it")),
            Behaviour::Throttle(delay) => {
                let details = ErrorDetails::with_retry_info(Some(delay));
                Err(Status::with_error_details(Code::ResourceExhausted, "as the test told it", details))
            }
            Behaviour::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(Taken::All)
            }
            Behaviour::Silent => std::future::pending().await,
            Behaviour::HalfClose => {
                cut(link.as_deref(), Cut::HalfClose)?;
                // Never arrives: the connection takes no answers any more.
                Err(Status::unavailable("as the test told it"))
            }
            Behaviour::KeepUnanswered => {
                cut(link.as_deref(), Cut::Reset)?;
                Ok(Taken::AllUnanswered)
            }
        }
    }

    fn keep(&self, add: impl FnOnce(&mut Seen)) {
        add(&mut self.lock().seen);
        self.changed.notify_all();
    }
}

fn cut(link: Option<&Link>, cut: Cut) -> Result<(), Status> {
    link.ok_or_else(|| Status::internal("this connection cannot be cut"))?.cut(cut);
    Ok(())
}

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let taken = self.0.arrive(request.extensions().get().cloned()).await?;
        let mut groups = request.into_inner().resource_logs;
        let first = groups
            .iter_mut()
            .flat_map(|group| &mut group.scope_logs)
            .find(|scope| !scope.log_records.is_empty());
        let mut partial_success = None;
        if let Some(scope) = first.filter(|_| taken == Taken::AllButTheFirst) {
            scope.log_records.remove(0);
            let error_message = "as the test told it".to_owned();
            partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: 1, error_message });
        }
        self.0.keep(|seen| seen.add_logs(groups, taken == Taken::AllUnanswered));
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let taken = self.0.arrive(request.extensions().get().cloned()).await?;
        let mut groups = request.into_inner().resource_spans;
        let first =
            groups.iter_mut().flat_map(|group| &mut group.scope_spans).find(|scope| !scope.spans.is_empty());
        let mut partial_success = None;
        if let Some(scope) = first.filter(|_| taken == Taken::AllButTheFirst) {
            scope.spans.remove(0);
            let error_message = "as the test told it".to_owned();
            partial_success = Some(ExportTracePartialSuccess { rejected_spans: 1, error_message });
        }
        self.0.keep(|seen| seen.add_spans(groups, taken == Taken::AllUnanswered));
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.keep(|seen| seen.add_metrics(request.into_inner().resource_metrics));
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: None }))
    }
}

/// The server; dropping it closes its port and its connections.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    fuse: Arc<Fuse>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    /// Serves on a loopback port of the kernel's choice.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at("127.0.0.1:0".parse()?)
    }

    /// Serves at `address`; it is bound when this returns.
    pub fn start_at(address: SocketAddr) -> anyhow::Result<Self> {
        Self::serve(address, Server::builder())
    }

    /// Serves TLS on a loopback port of the kernel's choice, as `name`. Returns the certificate, PEM,
    /// that a client is to trust.
    pub fn start_tls(name: &str) -> anyhow::Result<(Self, String)> {
        let made =
            rcgen::generate_simple_self_signed([name.to_owned()]).context("cannot make a certificate")?;
        let certificate = made.cert.pem();
        let identity = Identity::from_pem(&certificate, made.signing_key.serialize_pem());
        let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity))?;
        Ok((Self::serve("127.0.0.1:0".parse()?, server)?, certificate))
    }

    fn serve(address: SocketAddr, server: Server) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(address))
            .with_context(|| format!("cannot serve at {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let fuse = Arc::new(Fuse::default());
        let (stop, stopped) = oneshot::channel();
        let server = serve(server, listener, Arc::clone(&shared), Arc::clone(&fuse), stopped);
        // Dropping the runtime with the thread aborts what is still connected, as a crash would.
        let thread =
            std::thread::Builder::new().name("otlp".to_owned()).spawn(move || runtime.block_on(server))?;
        Ok(Self { address, shared, fuse, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on answers so.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.lock().behaviour = behaviour;
    }

    /// What cuts its connections.
    pub fn fuse(&self) -> &Fuse {
        &self.fuse
    }

    /// Looks at what has arrived so far.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.lock().seen)
    }

    /// Waits until `find` finds something in what has arrived; an error that names `what` at the deadline.
    pub fn wait<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut find: impl FnMut(&Seen) -> Option<T>,
    ) -> anyhow::Result<T> {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = find(&state.seen) {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen = &state.seen;
                let (logs, spans, requests) = (seen.logs.len(), seen.spans.len(), seen.requests);
                bail!(
                    "no {what} within {deadline:?} (arrived: {logs} logs, {spans} spans in {requests} requests)"
                );
            }
            let (guard, _) = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            state = guard;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Both fail only if the server thread is gone already.
        drop(self.stop.take());
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

async fn serve(
    mut server: Server,
    listener: tokio::net::TcpListener,
    shared: Arc<Shared>,
    fuse: Arc<Fuse>,
    stopped: oneshot::Receiver<()>,
) {
    let incoming = TcpListenerStream::new(listener)
        .map(move |stream| stream.map(|stream| Wire::new(stream, Arc::clone(&fuse))));
    macro_rules! service {
        ($server:ident) => {
            $server::new(Service(Arc::clone(&shared)))
                .max_decoding_message_size(REQUEST_MAX)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd)
        };
    }
    let server = server
        .add_service(service!(LogsServiceServer))
        .add_service(service!(TraceServiceServer))
        .add_service(service!(MetricsServiceServer))
        .serve_with_incoming(incoming);
    tokio::select! {
        // A connection that fails does not end the server; only an unusable listener does, and then
        // the waiting test says what did not arrive.
        _ = server => {}
        _ = stopped => {}
    }
}
