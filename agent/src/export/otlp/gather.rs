//! TCP below TLS and HTTP/2 that gathers what they write, so that one system call takes many frames.
//!
//! h2 writes each frame (16 KiB is what receivers announce) by a call of its own and flushes after it, and every call
//! wakes a reader that has caught up. [`Gathered`] holds frames back, and says "flushed" before they are.
//!
//! **What is held leaves.** A flush that is put off wakes the task that asked for it, and a read writes all that is
//! held before it reads. Each poll of h2's connection reads before it writes, unless the stream
//! itself said that it is blocked, and of TLS's handshake after it flushed; so what was flushed leaves in the very next
//! poll, and nothing has to happen before. Bytes also leave when [`LIMIT`] of them are held, at shutdown, and,
//! as far as the kernel takes them at once, when the stream is dropped: TLS sends an alert and hangs up.
//!
//! **What fails is told.** Once the socket takes no more, a flush is pending until all has left, as on the socket
//! itself. The error of a late write is kept for the next call that can return it; what has arrived is read first, for it
//! may say why.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::codegen::{BoxFuture, Service};

/// Bytes held at most, and the memory of a connection: twice as many gain nothing more, half of them less.
const LIMIT: usize = 128 << 10;

/// A connected socket and what is to be written to it.
#[derive(Debug)]
pub(super) struct Gathered {
    socket: TcpStream,
    /// Bytes of `held` at most.
    limit: usize,
    held: Vec<u8>,
    /// Of `held`, what the socket took already.
    written: usize,
    /// The socket takes nothing now: the task is woken when it does again.
    blocked: bool,
    /// A late write failed, and nobody knows yet.
    failed: Option<io::Error>,
}

impl Gathered {
    fn new(socket: TcpStream, limit: usize) -> Self {
        Self { socket, limit, held: Vec::new(), written: 0, blocked: false, failed: None }
    }

    /// Writes all that is held; pending while the socket takes no more.
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        while self.written < self.held.len() {
            let rest = &self.held[self.written..];
            let taken = match Pin::new(&mut self.socket).poll_write(context, rest) {
                Poll::Pending => {
                    self.blocked = true;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(result) => result,
            };
            match taken {
                Ok(taken) => self.written += taken,
                Err(error) => {
                    self.all_gone();
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.all_gone();
        Poll::Ready(Ok(()))
    }

    fn all_gone(&mut self) {
        self.held.clear();
        self.written = 0;
        self.blocked = false;
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.blocked || this.failed.is_some() || this.held.len() == this.limit {
            ready!(this.poll_leave(context))?;
        }
        if this.held.capacity() == 0 {
            this.held.reserve_exact(this.limit);
        }
        let before = this.held.len();
        for part in parts {
            let room = this.limit - this.held.len();
            this.held.extend_from_slice(&part[..part.len().min(room)]);
        }
        Poll::Ready(Ok(this.held.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.blocked || self.failed.is_some() {
            return self.poll_leave(context);
        }
        if !self.held.is_empty() {
            context.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_leave(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl AsyncRead for Gathered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_leave(context) {
            self.failed = Some(error);
        }
        match (Pin::new(&mut self.socket).poll_read(context, into), self.failed.is_some()) {
            (Poll::Pending, true) => self.poll_leave(context),
            (read, _) => read,
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        let rest = &self.held[self.written..];
        if !rest.is_empty() {
            // Nobody is left to be told, and nothing may wait here.
            let _ = self.socket.try_write(rest);
        }
    }
}

/// Connects as tonic's own connector does, and gathers.
#[derive(Clone, Debug)]
pub(super) struct Connector(HttpConnector);

impl Connector {
    pub(super) fn new() -> Self {
        let mut tcp = HttpConnector::new();
        // TLS is above, and its scheme is none of TCP's business.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self(tcp)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Gathered>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move { Ok(TokioIo::new(Gathered::new(connecting.await?.into_inner(), LIMIT))) })
    }
}

#[cfg(test)]
mod tests;
