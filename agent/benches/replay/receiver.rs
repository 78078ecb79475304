//! A receiver of OTLP in a process of its own that reads requests and throws them away, and the exporter that
//! talks to it: what sending costs the sender, without what receiving costs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
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
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tarsier::export::Snapshot;
use tarsier::export::otlp::{Compression, OtlpConfig, OtlpExporter};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

struct Nobody;

macro_rules! throw_away {
    ($service:ident, $request:ident, $response:ident) => {
        #[tonic::async_trait]
        impl $service for Nobody {
            async fn export(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Ok(Response::new($response::default()))
            }
        }
    };
}
throw_away!(LogsService, ExportLogsServiceRequest, ExportLogsServiceResponse);
throw_away!(TraceService, ExportTraceServiceRequest, ExportTraceServiceResponse);
throw_away!(MetricsService, ExportMetricsServiceRequest, ExportMetricsServiceResponse);

/// Serves until its standard input ends; the first line of its output is its address.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        let most = 64 << 20;
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop));
        let server = tonic::transport::Server::builder()
            .add_service(LogsServiceServer::new(Nobody).max_decoding_message_size(most))
            .add_service(TraceServiceServer::new(Nobody).max_decoding_message_size(most))
            .add_service(MetricsServiceServer::new(Nobody).max_decoding_message_size(most))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        tokio::select! {
            served = server => served.unwrap(),
            _ = ended => {}
        }
    });
}

/// A running receiver and the exporter to it, on a runtime of its own as in the agent.
pub(crate) struct Peer {
    child: Child,
    exporter: Arc<OtlpExporter>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<Snapshot>,
}

impl Peer {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--receiver")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let config = OtlpConfig {
            endpoint: Some(address.trim().to_owned()),
            compression: Some(Compression::None),
            ..OtlpConfig::default()
        };
        let (started, starting) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let exporter = OtlpExporter::start(&config, &tokio::runtime::Handle::current()).unwrap();
                let exporter = Arc::new(exporter);
                started.send(Arc::clone(&exporter)).unwrap();
                ended.await.unwrap();
                exporter.shutdown(Duration::from_secs(4)).await
            })
        });
        Self { child, exporter: starting.recv().unwrap(), end, thread }
    }

    pub(crate) fn sender(&self) -> Arc<OtlpExporter> {
        Arc::clone(&self.exporter)
    }

    /// Waits until everything queued has been sent.
    pub(crate) fn drained(&self) {
        // As much room as there is when nothing is left.
        self.exporter.wait_for_room(self.exporter.queue_limit_bytes());
    }

    pub(crate) fn stop(mut self) {
        self.end.send(()).unwrap();
        let sent = self.thread.join().unwrap();
        for signal in tarsier::export::Signal::ALL {
            let counts = sent.of(signal);
            assert_eq!(counts.dropped_total() + counts.rejected, 0, "{} were lost", signal.name());
        }
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}
