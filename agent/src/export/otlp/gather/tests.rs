//! Over real TCP on loopback, driven as h2 drives its connection: a poll reads, then writes and flushes.

use std::future::poll_fn;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpSocket;

use super::*;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of each socket's buffers: so small that the kernel often takes a part of what is held, or nothing.
const KERNEL: u32 = 4 << 10;

/// A stream that holds `limit` bytes, and its peer.
async fn pair(limit: usize) -> (Gathered, TcpStream) {
    let (near, far) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
    near.set_send_buffer_size(KERNEL).unwrap();
    far.set_recv_buffer_size(KERNEL).unwrap();
    far.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = far.listen(1).unwrap();
    let socket = near.connect(listener.local_addr().unwrap()).await.unwrap();
    (Gathered::new(socket, limit), listener.accept().await.unwrap().0)
}

/// One poll, by the task of the test.
async fn once<T>(mut call: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(call(context))).await
}

async fn flush_once(stream: &mut Gathered) -> Poll<io::Result<()>> {
    once(|context| Pin::new(&mut *stream).poll_flush(context)).await
}

/// One read, of at most 64 bytes.
async fn read_once(stream: &mut Gathered) -> Poll<io::Result<Vec<u8>>> {
    let mut room = [0; 64];
    let mut into = ReadBuf::new(&mut room);
    let read = once(|context| Pin::new(&mut *stream).poll_read(context, &mut into)).await;
    read.map_ok(|()| into.filled().to_vec())
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// What the writer does next.
#[derive(Clone, Debug)]
enum Step {
    /// Writes parts of these lengths.
    Write(Vec<usize>),
    Flush,
    /// Polls a read, as the next poll of h2 would.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0_usize..20_000, 1..4).prop_map(Step::Write),
        2 => Just(Step::Flush),
        1 => Just(Step::Read),
    ]
}

/// Writes `parts` until all of them are taken.
async fn write_parts(stream: &mut Gathered, parts: &[&[u8]]) {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while rest.iter().any(|part| !part.is_empty()) {
        let written = patiently(stream.write_vectored(rest)).await.unwrap();
        assert!(written > 0, "a write with room takes something");
        IoSlice::advance_slices(&mut rest, written);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is written in whatever parts, held and taken by the kernel in others: the peer reads the same
    /// bytes in the same order, then the end, and no more than the limit is ever held.
    #[test]
    fn what_is_written_is_what_arrives(
        steps in proptest::collection::vec(step(), 0..24),
        limit in 1_usize..30_000,
        at_once in 1_usize..20_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut stream, mut peer) = pair(limit).await;
            let reader = tokio::spawn(async move {
                let (mut all, mut room) = (Vec::new(), vec![0; at_once]);
                loop {
                    match peer.read(&mut room).await.unwrap() {
                        0 => return all,
                        read => all.extend_from_slice(&room[..read]),
                    }
                }
            });
            let mut sent: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Write(lengths) => {
                        let parts: Vec<Vec<u8>> = lengths.iter().map(|&length| {
                            let from = sent.len();
                            sent.extend((from..from + length).map(|at| (at % 251) as u8));
                            sent[from..].to_vec()
                        }).collect();
                        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                        write_parts(&mut stream, &parts).await;
                    }
                    Step::Flush => patiently(stream.flush()).await.unwrap(),
                    Step::Read => assert!(read_once(&mut stream).await.is_pending()),
                }
                assert!(stream.held.len() <= limit && stream.held.capacity() <= limit);
            }
            patiently(stream.shutdown()).await.unwrap();
            let arrived = patiently(reader).await.unwrap();
            assert!(arrived == sent, "{} bytes of {} arrived, or others", arrived.len(), sent.len());
        });
    }
}

#[tokio::test]
async fn what_was_flushed_leaves_though_nothing_else_happens() {
    let (mut stream, mut peer) = pair(1000).await;
    let mut asked = false;
    // A connection of h2 in small: it reads until there is nothing, writes what is new, and waits to be woken.
    let connection = tokio::spawn(poll_fn(move |context| {
        let mut room = [0; 64];
        if Pin::new(&mut stream).poll_read(context, &mut ReadBuf::new(&mut room)).is_ready() {
            return Poll::Ready(());
        }
        if !asked {
            asked = true;
            assert!(matches!(Pin::new(&mut stream).poll_write(context, b"request"), Poll::Ready(Ok(7))));
            assert!(matches!(Pin::new(&mut stream).poll_flush(context), Poll::Ready(Ok(()))));
            assert_eq!(stream.held, b"request", "it is gathered");
        }
        Poll::Pending
    }));
    let mut request = [0; 7];
    patiently(peer.read_exact(&mut request)).await.unwrap();
    assert_eq!(&request, b"request");
    drop(peer);
    patiently(connection).await.unwrap();
}

#[tokio::test]
async fn a_flush_waits_while_the_socket_takes_nothing() {
    let (mut stream, mut peer) = pair(1000).await;
    let mut sent = 0;
    // Nobody reads: the kernel's buffers fill, then ours.
    while let Poll::Ready(written) =
        once(|context| Pin::new(&mut stream).poll_write(context, &[7; 100])).await
    {
        sent += written.unwrap();
        assert!(sent < 10 << 20, "more than any buffer");
    }
    assert!(flush_once(&mut stream).await.is_pending());
    let reader = tokio::spawn(async move {
        let mut all = vec![0; sent];
        peer.read_exact(&mut all).await.map(drop)
    });
    patiently(stream.flush()).await.unwrap();
    assert!(stream.held.is_empty());
    patiently(reader).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_late_write_that_fails_is_told_after_what_the_peer_said() {
    let (mut stream, mut peer) = pair(1000).await;
    stream.write_all(b"never read, so that the close is a reset").await.unwrap();
    assert!(read_once(&mut stream).await.is_pending());
    peer.write_all(b"why").await.unwrap();
    peer.readable().await.unwrap();
    drop(peer);
    patiently(stream.socket.ready(Interest::ERROR)).await.unwrap();
    stream.write_all(b"more").await.unwrap();
    stream.flush().await.unwrap();
    let Poll::Ready(Ok(said)) = read_once(&mut stream).await else { panic!("there is something to read") };
    assert_eq!(said, b"why");
    assert!(matches!(flush_once(&mut stream).await, Poll::Ready(Err(_))));
}

#[tokio::test]
async fn a_late_write_that_fails_is_told_by_a_read_that_has_nothing() {
    let (mut stream, _peer) = pair(1000).await;
    stream.write_all(b"held").await.unwrap();
    stream.flush().await.unwrap();
    poll_fn(|context| Pin::new(&mut stream.socket).poll_shutdown(context)).await.unwrap();
    let Poll::Ready(Err(error)) = read_once(&mut stream).await else { panic!("the write cannot succeed") };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(read_once(&mut stream).await.is_pending(), "an error is told once");
}

#[tokio::test]
async fn what_is_held_leaves_with_a_stream_that_is_dropped() {
    let (mut stream, mut peer) = pair(1000).await;
    stream.write_all(b"a last word").await.unwrap();
    drop(stream);
    let mut said = String::new();
    patiently(peer.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "a last word");
}
