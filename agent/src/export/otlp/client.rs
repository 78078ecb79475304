//! One signal's connection: made when needed, made again when it failed or when one of its files
//! (certificates, headers) changed.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use super::codec::{AnswerCodec, ExportResponse};
use super::gather::Connector;
use super::message::{Direct, Packer};
use super::retry;
use super::settings::Target;
use super::tls;
use super::{ConnectError, headers};
use crate::export::Signal;
use crate::export::stamps::Stamps;
use crate::export::worker::{Accepted, Destination, Failure, Verdict, chain};

/// State of one signal's connection, for health checks and `tarsier top`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When the present connection was made; `None` if there is none. A connection that breaks while
    /// nothing is sent is noticed by the next request.
    pub connected_since: Option<SystemTime>,
    /// The last failure, connecting or sending, also if it has been overcome since.
    pub last_error: Option<LastError>,
}

/// A failure and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub at: SystemTime,
    /// What, with its causes. Parts of it come from the server: escape before printing.
    pub text: String,
}

/// A signal's [`Health`], written by its worker and read by anyone.
pub(super) type SharedHealth = Arc<Mutex<Health>>;

/// Sends the requests of one signal, one at a time.
pub(super) struct Client {
    target: Target,
    connection: Option<Connection>,
    health: SharedHealth,
}

struct Connection {
    grpc: Grpc<Direct>,
    packer: Packer,
    headers: MetadataMap,
    stamps: Stamps,
}

impl Client {
    pub(super) fn new(target: Target, health: SharedHealth) -> Self {
        Self { target, connection: None, health }
    }

    async fn attempt(&mut self, body: Bytes) -> Result<Accepted, Failure> {
        if let Err(error) = self.ensure_connected().await {
            return Err(self.broken(chain(&error)));
        }
        let (path, timeout) = (path(self.target.signal), self.target.timeout);
        let Some(connection) = &mut self.connection else {
            return Err(self.broken("not connected".into()));
        };
        if let Err(error) = connection.grpc.ready().await {
            return Err(self.broken(chain(&error)));
        }
        let message = match connection.packer.pack(body) {
            Ok(message) => message,
            Err(status) => return Err(self.failure(&status)),
        };
        let mut request = Request::new(());
        request.extensions_mut().insert(message);
        request.metadata_mut().clone_from(&connection.headers);
        // The server is told as well, so that it does not work on what nobody waits for.
        request.set_timeout(timeout);
        match connection.grpc.unary(request, path, AnswerCodec).await {
            Ok(response) => Ok(accepted(response.into_inner())),
            Err(status) => Err(self.failure(&status)),
        }
    }

    /// Connects unless there is a connection made with the files as they are.
    async fn ensure_connected(&mut self) -> Result<(), ConnectError> {
        let files: Vec<PathBuf> =
            self.target.tls.files().chain(self.target.headers_file.iter()).cloned().collect();
        let stamps = Stamps::of(&files);
        if self.connection.as_ref().is_some_and(|connection| connection.stamps == stamps) {
            return Ok(());
        }
        self.disconnect();
        let headers = headers::read(&self.target.headers, self.target.headers_file.as_deref())?;
        let channel = endpoint(&self.target)?.connect_with_connector(Connector::new()).await;
        let channel = channel.map_err(ConnectError::Connect)?;
        let mut grpc = Grpc::new(Direct(channel));
        if let Some(encoding) = self.target.compression {
            grpc = grpc.send_compressed(encoding).accept_compressed(encoding);
        }
        let packer = Packer::new(self.target.compression);
        self.connection = Some(Connection { grpc, packer, headers, stamps });
        self.health().connected_since = Some(SystemTime::now());
        Ok(())
    }

    /// A status is the server's word, or a local error in its shape: that one has a source, says nothing
    /// about the batch, and leaves the connection in doubt.
    fn failure(&mut self, status: &Status) -> Failure {
        if let Some(source) = status.source() {
            return self.broken(chain(source));
        }
        let text = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                format!("{}: {} (check the headers)", name(status.code()), status.message())
            }
            code => format!("{}: {}", name(code), status.message()),
        };
        Failure { verdict: retry::verdict(status), text }
    }

    fn broken(&mut self, text: String) -> Failure {
        self.disconnect();
        Failure { verdict: Verdict::Retry(None), text }
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.health().connected_since = None;
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Destination for Client {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn signal(&self) -> Signal {
        self.target.signal
    }

    /// One attempt, within the configured timeout, connecting included.
    async fn send(&mut self, body: Bytes) -> Result<Accepted, Failure> {
        let timeout = self.target.timeout;
        let result = match tokio::time::timeout(timeout, self.attempt(body)).await {
            Ok(result) => result,
            Err(_) => Err(self.broken(format!("no answer within {timeout:?}"))),
        };
        if let Err(failure) = &result {
            let error = LastError { at: SystemTime::now(), text: failure.text.clone() };
            self.health().last_error = Some(error);
        }
        result
    }

    async fn close(self) {}
}

/// Reads every file of a target and builds its endpoint, without connecting: what `start` checks first.
pub(super) fn check(target: &Target) -> Result<(), ConnectError> {
    headers::read(&target.headers, target.headers_file.as_deref())?;
    endpoint(target).map(drop)
}

fn endpoint(target: &Target) -> Result<Endpoint, ConnectError> {
    let endpoint = Endpoint::from(target.endpoint.clone())
        .user_agent(concat!("tarsier/", env!("CARGO_PKG_VERSION")))
        .map_err(ConnectError::Connect)?;
    if target.is_tls() { tls::apply(endpoint, &target.tls) } else { Ok(endpoint) }
}

fn accepted(response: ExportResponse) -> Accepted {
    let partial = response.partial_success.unwrap_or_default();
    Accepted { rejected: u64::try_from(partial.rejected).unwrap_or(0), message: partial.error_message }
}

fn path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    })
}

/// gRPC's own spelling: what people search for.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
