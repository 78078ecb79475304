//! The gRPC codec: the small answer is decoded. What is sent goes past it, see [`message`](super::message).

use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// `Export{Logs,Trace,Metrics}ServiceResponse`: the three are the same on the wire.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ExportResponse {
    /// Absent when everything was accepted.
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// `Export…PartialSuccess`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PartialSuccess {
    /// Log records, spans or data points that were turned down.
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    /// Why; with `rejected` 0 it is a warning.
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// Encodes nothing and decodes answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerCodec;

impl Codec for AnswerCodec {
    type Encode = ();
    type Decode = ExportResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for AnswerCodec {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for AnswerCodec {
    type Item = ExportResponse;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<ExportResponse>, Status> {
        prost::Message::decode(frame)
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer is not an OTLP response: {error}")))
    }
}
