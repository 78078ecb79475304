//! Connections that are cut, stall, or lead to something that does not speak gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use tarsier::export::{DropCause, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::receiver::{Answer, Receiver};
use crate::{config, items, last_error, settled, start};

/// Forwards to `backend`, but resets the first `cuts` connections once they carried `after` bytes.
async fn cutting_proxy(backend: SocketAddr, cuts: usize, after: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(backend).await.unwrap();
            tokio::spawn(forward(client, server, if number < cuts { after } else { usize::MAX }));
        }
    });
    address
}

async fn forward(mut client: TcpStream, mut server: TcpStream, limit: usize) {
    let (mut carried, mut up, mut down) = (0, vec![0; 16 << 10], vec![0; 16 << 10]);
    while carried < limit {
        tokio::select! {
            Ok(read) = client.read(&mut up) => {
                if read == 0 || server.write_all(&up[..read]).await.is_err() { return }
                carried += read;
            }
            Ok(read) = server.read(&mut down) => {
                if read == 0 || client.write_all(&down[..read]).await.is_err() { return }
            }
            else => return,
        }
    }
    client.set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_connection_cut_in_mid_batch_is_made_again_and_the_batch_sent_again() {
    let receiver = Receiver::start([]).await;
    let proxy = cutting_proxy(receiver.address, 3, 40_000).await;
    let exporter = start(&config(format!("http://{proxy}")));
    for id in 0..3 {
        exporter.push(items::heavy(id, 1_000_000)).unwrap();
    }
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.dropped_total(), counts.retries), (3, 0, 3));
    // A request that was cut never reached the service, so nothing arrived twice.
    assert_eq!(receiver.accepted(Signal::Logs), [0, 1, 2]);
    assert!(!last_error(&exporter, Signal::Logs).is_empty());
}

/// What is held back below HTTP/2 leaves although its flow control lets nothing more be written: the windows are
/// less than a frame, and far less than what the client gathers.
#[tokio::test]
async fn a_receiver_of_narrow_windows_gets_all_at_the_first_attempt() {
    for window in [100, 20_000, 65_535, 200_000] {
        let receiver = Receiver::start_narrow(window).await;
        let exporter = start(&config(receiver.endpoint()));
        for (id, bytes) in [1_000_000, 10, 300_000].into_iter().enumerate() {
            exporter.push(items::heavy(id as u64, if window < 1000 { bytes / 20 } else { bytes })).unwrap();
        }
        let counts = settled(&exporter, Signal::Logs).await;
        assert_eq!((counts.sent, counts.retries), (3, 0), "windows of {window}");
        assert_eq!(receiver.accepted(Signal::Logs), [0, 1, 2]);
    }
}

#[tokio::test]
async fn a_request_without_an_answer_is_sent_again_after_the_timeout() {
    let receiver = Receiver::start([Answer::Hang]).await;
    let mut config = config(receiver.endpoint());
    config.timeout = Some(Duration::from_secs(1));
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Logs, 0..2)).unwrap();
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.retries), (2, 1));
    let arrivals = receiver.arrivals();
    assert!(arrivals[1].at - arrivals[0].at >= Duration::from_millis(900));
    assert!(arrivals[0].headers.contains_key("grpc-timeout"));
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(format!("http://{}", listener.local_addr().unwrap()));
    config.timeout = Some(Duration::from_millis(100));
    config.retry.max_elapsed = Duration::from_millis(150);
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Logs, 0..2)).unwrap();
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.dropped(DropCause::RetryExhausted)), (0, 2));
    let error = last_error(&exporter, Signal::Logs);
    assert!(error.contains("no answer within 100ms") || error.contains("Timeout expired"), "{error}");
}

/// A NAT that forgot the connection, a peer that lost its power: no reset ever comes.
#[tokio::test]
async fn a_connection_that_goes_silent_is_replaced() {
    let receiver = Receiver::start([]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(format!("http://{}", listener.local_addr().unwrap()));
    let backend = receiver.address;
    tokio::spawn(async move {
        let (_silent, _) = listener.accept().await.unwrap();
        let (client, _) = listener.accept().await.unwrap();
        forward(client, TcpStream::connect(backend).await.unwrap(), usize::MAX).await;
    });
    config.timeout = Some(Duration::from_secs(1));
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Logs, 0..2)).unwrap();
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.retries), (2, 1));
}

#[tokio::test]
async fn a_peer_that_does_not_speak_grpc_is_retried_and_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 512];
                let _ = peer.read(&mut request).await;
                let _ = peer.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            });
        }
    });
    let mut config = config(format!("http://{address}"));
    config.retry.max_elapsed = Duration::from_millis(100);
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Metrics, 0..2)).unwrap();
    let counts = settled(&exporter, Signal::Metrics).await;
    assert_eq!(counts.dropped(DropCause::RetryExhausted), 2);
    let error = last_error(&exporter, Signal::Metrics);
    // Which of the two the client meets first, the answer or the close, is a race.
    assert!(error.contains("http2") || error.contains("connection"), "{error}");
}
