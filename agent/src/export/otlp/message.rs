//! The gRPC message of a request: encoded already, perhaps compressed here, and sent from where it is.
//!
//! tonic's encoder copies a message into a buffer of its own, which the kernel has to make of fresh pages for
//! every request, and compresses at a level that nobody can choose. So the message travels beside
//! tonic's request, as an extension, and [`Direct`] makes it the body; everything else of a call (its
//! headers, status, trailers, answer) stays tonic's.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::transport::{Channel, Error};

/// Level of gzip and zstd: a request repeats itself so much that more effort costs three times the CPU and
/// spares few bytes.
const LEVEL: u8 = 1;
/// What gRPC writes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The body of a unary request: the prefix, then the message itself, not copied.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Empty once it is sent.
    prefix: Bytes,
    content: Bytes,
}

impl Message {
    fn new(compressed: bool, content: Bytes) -> Result<Self, Status> {
        let Ok(length) = u32::try_from(content.len()) else {
            return Err(Status::internal("a gRPC message ends at 4 GiB"));
        };
        let [a, b, c, d] = length.to_be_bytes();
        let prefix: [u8; PREFIX] = [u8::from(compressed), a, b, c, d];
        Ok(Self { prefix: Bytes::copy_from_slice(&prefix), content })
    }
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let part = if this.prefix.is_empty() { &mut this.content } else { &mut this.prefix };
        let part = std::mem::take(part);
        Poll::Ready((!part.is_empty()).then(|| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty() && self.content.is_empty()
    }
}

/// A channel whose requests have the [`Message`] among their extensions as their body.
#[derive(Clone, Debug)]
pub(super) struct Direct(pub(super) Channel);

impl Service<http::Request<Body>> for Direct {
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(message) = request.extensions_mut().remove::<Message>() {
            *request.body_mut() = Body::new(message);
        }
        self.0.call(request)
    }
}

/// Makes messages of bodies.
pub(super) struct Packer {
    compression: Option<CompressionEncoding>,
    /// Memory of the compressed message, used again once it is sent.
    packed: BytesMut,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Packer {
    pub(super) fn new(compression: Option<CompressionEncoding>) -> Self {
        Self { compression, packed: BytesMut::new(), zstd: None }
    }

    /// The message of an encoded request.
    pub(super) fn pack(&mut self, body: Bytes) -> Result<Message, Status> {
        let packed = match self.compression {
            None => return Message::new(false, body),
            Some(CompressionEncoding::Zstd) => self.zstd(&body),
            Some(_) => self.gzip(&body),
        };
        packed.map_err(|error| Status::internal(format!("compressing: {error}")))?;
        Message::new(true, self.packed.split().freeze())
    }

    fn gzip(&mut self, body: &[u8]) -> io::Result<()> {
        // Behind what is still being sent, there is room for one more of the same size, more or less.
        self.packed.reserve(body.len() / 8);
        let level = flate2::Compression::new(LEVEL.into());
        let mut encoder = flate2::write::GzEncoder::new((&mut self.packed).writer(), level);
        encoder.write_all(body)?;
        encoder.finish().map(drop)
    }

    fn zstd(&mut self, body: &[u8]) -> io::Result<()> {
        let compressor = match &mut self.zstd {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL.into())?),
        };
        self.packed.resize(zstd::zstd_safe::compress_bound(body.len()), 0);
        let len = compressor.compress_to_buffer(body, &mut self.packed[..])?;
        self.packed.truncate(len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body::Body as _;

    use super::*;

    /// Prefix and content as they go out.
    fn sent(mut message: Message) -> (Vec<u8>, Vec<u8>) {
        let mut parts = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        while !message.is_end_stream() {
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut message).poll_frame(&mut context) else {
                panic!("not at its end")
            };
            parts.extend(frame.into_data().unwrap());
        }
        let content = parts.split_off(PREFIX);
        (parts, content)
    }

    #[test]
    fn a_message_is_its_length_and_its_content_and_the_same_bytes_each_time() {
        let body = Bytes::from(b"process.executable.path".repeat(30_000));
        for compression in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
            let mut packer = Packer::new(compression);
            let first = packer.pack(body.clone()).unwrap();
            let again = packer.pack(body.clone()).unwrap();
            let (prefix, content) = sent(first);
            assert_eq!((prefix.clone(), content.clone()), sent(again));
            assert_eq!(prefix[0], u8::from(compression.is_some()));
            assert_eq!(prefix[1..], (content.len() as u32).to_be_bytes());
            let mut decoded = Vec::new();
            match compression {
                None => decoded = content,
                Some(CompressionEncoding::Zstd) => {
                    zstd::stream::copy_decode(&*content, &mut decoded).unwrap();
                }
                Some(_) => {
                    flate2::read::GzDecoder::new(&*content).read_to_end(&mut decoded).unwrap();
                }
            }
            assert!(decoded == body, "{compression:?}");
        }
    }

    #[test]
    fn an_empty_message_is_its_prefix() {
        let (prefix, content) = sent(Packer::new(None).pack(Bytes::new()).unwrap());
        assert_eq!((prefix, content), (vec![0; PREFIX], Vec::new()));
    }
}
