//! The gRPC codec: bytes that are encoded already go out as they are, and the small answer is decoded.

use bytes::{BufMut, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

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

/// Sends one body of `len` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BytesCodec {
    /// Length of the body, so that the frame's buffer is allocated once.
    pub(super) len: usize,
}

/// tonic's default, which only matters for streams of many small messages.
const YIELD_THRESHOLD: usize = 32 * 1024;
/// The gRPC frame header: a compression flag and a length.
const FRAME_HEADER: usize = 5;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = ExportResponse;
    type Encoder = BytesEncoder;
    type Decoder = ResponseDecoder;

    fn encoder(&mut self) -> BytesEncoder {
        BytesEncoder { len: self.len }
    }

    fn decoder(&mut self) -> ResponseDecoder {
        ResponseDecoder
    }
}

#[derive(Debug)]
pub(super) struct BytesEncoder {
    len: usize,
}

impl Encoder for BytesEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, frame: &mut EncodeBuf<'_>) -> Result<(), Status> {
        frame.put(body);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(self.len + FRAME_HEADER, YIELD_THRESHOLD)
    }
}

#[derive(Debug)]
pub(super) struct ResponseDecoder;

impl Decoder for ResponseDecoder {
    type Item = ExportResponse;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<ExportResponse>, Status> {
        prost::Message::decode(frame)
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer is not an OTLP response: {error}")))
    }
}
