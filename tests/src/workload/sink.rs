//! A receiver of OTLP that throws away what it is sent: what the agent exports to while it is measured, in a
//! process of its own so that receiving is not counted as the agent's.

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
use serde_json::json;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::Say;

/// Largest request taken, bytes.
const REQUEST_MAX: usize = 64 << 20;

struct Sink;

macro_rules! throw_away {
    ($service:ident, $request:ident, $response:ident) => {
        #[tonic::async_trait]
        impl $service for Sink {
            async fn export(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Ok(Response::new($response::default()))
            }
        }
    };
}
throw_away!(LogsService, ExportLogsServiceRequest, ExportLogsServiceResponse);
throw_away!(TraceService, ExportTraceServiceRequest, ExportTraceServiceResponse);
throw_away!(MetricsService, ExportMetricsServiceRequest, ExportMetricsServiceResponse);

/// Says `{endpoint}` and serves there until stdin ends.
pub fn run(say: Say<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        say(&json!({ "endpoint": format!("http://{}", listener.local_addr()?) }))?;
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop));
        let server = Server::builder()
            .add_service(LogsServiceServer::new(Sink).max_decoding_message_size(REQUEST_MAX))
            .add_service(TraceServiceServer::new(Sink).max_decoding_message_size(REQUEST_MAX))
            .add_service(MetricsServiceServer::new(Sink).max_decoding_message_size(REQUEST_MAX))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::select! {
            served = server => Ok(served?),
            _ = ended => Ok(()),
        }
    })
}
