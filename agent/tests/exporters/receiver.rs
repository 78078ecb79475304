//! A real OTLP receiver in this process: the services that `opentelemetry-proto` generates, served by
//! tonic over TCP, answering by a script and noting what it accepted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tarsier::export::Signal;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::items;

/// How the receiver answers one request. When the script is empty it accepts.
pub(crate) enum Answer {
    Accept,
    Partial(i64, &'static str),
    Refuse(Status),
    /// No answer at all.
    Hang,
}

/// One request as it arrived, whatever the answer was.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) signal: Signal,
    /// Numbers of the items in it.
    pub(crate) ids: Vec<u64>,
    pub(crate) headers: MetadataMap,
    pub(crate) at: Instant,
    pub(crate) accepted: bool,
}

/// Shared by the three services.
#[derive(Clone)]
struct Desk {
    script: Arc<Mutex<VecDeque<Answer>>>,
    arrivals: watch::Sender<Vec<Arrival>>,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    desk: Desk,
    server: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), script, Server::builder())
    }

    pub(crate) async fn start_tls(tls: ServerTlsConfig) -> Self {
        let server = Server::builder().tls_config(tls).unwrap();
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), [], server)
    }

    /// One that takes `bytes` before it must be heard again, of each stream and of the connection.
    pub(crate) async fn start_narrow(bytes: u32) -> Self {
        let server =
            Server::builder().initial_stream_window_size(bytes).initial_connection_window_size(bytes);
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), [], server)
    }

    pub(crate) fn serve(
        listener: TcpListener,
        script: impl IntoIterator<Item = Answer>,
        mut server: Server,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let desk = Desk {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            arrivals: watch::Sender::new(Vec::new()),
        };
        let (gzip, zstd) = (CompressionEncoding::Gzip, CompressionEncoding::Zstd);
        let router = server
            .add_service(LogsServiceServer::new(desk.clone()).accept_compressed(gzip).accept_compressed(zstd))
            .add_service(
                TraceServiceServer::new(desk.clone()).accept_compressed(gzip).accept_compressed(zstd),
            )
            .add_service(
                MetricsServiceServer::new(desk.clone()).accept_compressed(gzip).accept_compressed(zstd),
            );
        let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, desk, server }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.desk.arrivals.borrow().clone()
    }

    /// Waits until `enough` holds of what has arrived.
    pub(crate) async fn wait(&self, enough: impl FnMut(&Vec<Arrival>) -> bool) -> Vec<Arrival> {
        let mut arrivals = self.desk.arrivals.subscribe();
        let found = tokio::time::timeout(crate::PATIENCE, arrivals.wait_for(enough)).await;
        found.expect("the requests arrive in time").unwrap().clone()
    }

    /// Numbers of all accepted items of a signal, in order of arrival.
    pub(crate) fn accepted(&self, signal: Signal) -> Vec<u64> {
        let arrivals = self.arrivals();
        let accepted = arrivals.iter().filter(|arrival| arrival.accepted && arrival.signal == signal);
        accepted.flat_map(|arrival| arrival.ids.clone()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A port that refuses connections and is ours: bound, but not listening until [`Absent::appear`].
pub(crate) struct Absent {
    socket: TcpSocket,
}

impl Absent {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { socket }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.socket.local_addr().unwrap())
    }

    pub(crate) fn appear(self) -> Receiver {
        Receiver::serve(self.socket.listen(64).unwrap(), [], Server::builder())
    }
}

impl Desk {
    /// Notes a request and answers it; `Ok` holds the partial success to report.
    async fn answer(
        &self,
        signal: Signal,
        ids: Vec<u64>,
        headers: &MetadataMap,
    ) -> Result<Option<(i64, String)>, Status> {
        let answer = self.script.lock().unwrap().pop_front().unwrap_or(Answer::Accept);
        let accepted = matches!(answer, Answer::Accept | Answer::Partial(..));
        let arrival = Arrival { signal, ids, headers: headers.clone(), at: Instant::now(), accepted };
        self.arrivals.send_modify(|arrivals| arrivals.push(arrival));
        match answer {
            Answer::Accept => Ok(None),
            Answer::Partial(rejected, message) => Ok(Some((rejected, message.to_owned()))),
            Answer::Refuse(status) => Err(status),
            Answer::Hang => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Err(Status::internal("nobody waits this long"))
            }
        }
    }
}

#[tonic::async_trait]
impl LogsService for Desk {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let ids = items::ids_of_logs(request.get_ref());
        let partial = self.answer(Signal::Logs, ids, request.metadata()).await?;
        let partial_success = partial.map(|(rejected_log_records, error_message)| ExportLogsPartialSuccess {
            rejected_log_records,
            error_message,
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl TraceService for Desk {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let ids = items::ids_of_spans(request.get_ref());
        let partial = self.answer(Signal::Traces, ids, request.metadata()).await?;
        let partial_success = partial.map(|(rejected_spans, error_message)| ExportTracePartialSuccess {
            rejected_spans,
            error_message,
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Desk {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let ids = items::ids_of_points(request.get_ref());
        let partial = self.answer(Signal::Metrics, ids, request.metadata()).await?;
        let partial_success = partial.map(|(rejected_data_points, error_message)| {
            ExportMetricsPartialSuccess { rejected_data_points, error_message }
        });
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}
