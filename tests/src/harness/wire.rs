//! The server's end of a connection, which can be told to break: after so many bytes read (a [`Fuse`]), or
//! where an answer is due (a [`Link`]).

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

/// Bytes that may still be read before connections break; none = never break.
#[derive(Debug, Default)]
pub struct Fuse {
    left: Mutex<Option<usize>>,
    burnt: Condvar,
}

impl Fuse {
    fn left(&self) -> MutexGuard<'_, Option<usize>> {
        self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Break every connection once `bytes` more have been read from any of them.
    pub fn light(&self, bytes: usize) {
        *self.left() = Some(bytes);
    }

    /// Break nothing from now on.
    pub fn put_out(&self) {
        *self.left() = None;
    }

    /// Waits until it has burnt down and cut a connection; false at the deadline.
    pub fn wait_burnt(&self, deadline: Duration) -> bool {
        let waited = self.burnt.wait_timeout_while(self.left(), deadline, |left| *left != Some(0));
        let (left, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        *left == Some(0)
    }

    /// Takes `bytes` off; true if it has burnt down.
    fn burn(&self, bytes: usize) -> bool {
        let mut left = self.left();
        *left = left.map(|left| left.saturating_sub(bytes));
        if *left == Some(0) {
            self.burnt.notify_all();
        }
        *left == Some(0)
    }
}

/// How a connection ends where an answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By a reset.
    Reset,
    /// By the end of the server's half: it reads on, and says nothing any more.
    HalfClose,
}

/// One connection as its requests see it.
#[derive(Debug, Default)]
pub struct Link {
    cut: Mutex<Option<Cut>>,
}

impl Link {
    /// From now on nothing more is written, and the connection ends so.
    pub fn cut(&self, cut: Cut) {
        *self.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(cut);
    }

    fn is_cut(&self) -> Option<Cut> {
        *self.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A connection that a [`Fuse`] can cut in the middle of a request, with a reset as a crashed server
/// makes it.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    fuse: Arc<Fuse>,
    link: Arc<Link>,
}

impl Wire {
    /// An accepted connection.
    pub fn new(stream: TcpStream, fuse: Arc<Fuse>) -> Self {
        Self { stream, fuse, link: Arc::default() }
    }

    /// Breaks it with a reset, as a crashed server does.
    fn reset(&self) -> io::Error {
        // If it cannot be set, the connection ends in an orderly way, and the test says what is missing.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        io::ErrorKind::ConnectionReset.into()
    }
}

impl Connected for Wire {
    /// Among the extensions of every request.
    type ConnectInfo = Arc<Link>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.link)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        if matches!(result, Poll::Ready(Ok(()))) && read > 0 && self.fuse.burn(read) {
            buffer.set_filled(before);
            return Poll::Ready(Err(self.reset()));
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.link.is_cut() {
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
            Some(Cut::Reset) => Poll::Ready(Err(self.reset())),
            Some(Cut::HalfClose) => {
                // Fails only if the peer has gone altogether.
                let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write);
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuse_burns_down_once_lit_and_not_before() {
        let fuse = Fuse::default();
        assert!(!fuse.burn(1_000_000));
        fuse.light(100);
        assert!(!fuse.burn(60));
        assert!(fuse.burn(60));
        assert!(fuse.burn(1), "burnt down stays burnt down, for reconnections too");
        fuse.put_out();
        assert!(!fuse.burn(1));
    }
}
