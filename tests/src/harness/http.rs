//! A GET over plain HTTP/1.1 to a server on loopback: enough for `/metrics` and Jaeger's query API.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// The body of a 200 answer to `GET path`; anything else is an error.
pub fn get(address: SocketAddr, path: &str, deadline: Duration) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, deadline)?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(deadline))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).with_context(|| format!("GET {path}"))
}

fn parse(answer: &[u8]) -> anyhow::Result<String> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no end of headers")?;
    let (head, body) = answer.split_at(end + 4);
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let status = head.split(' ').nth(1).context("no status")?;
    let body = if head.contains("\r\ntransfer-encoding: chunked") { unchunk(body)? } else { body.to_vec() };
    let body = String::from_utf8(body)?;
    if status != "200" {
        bail!("status {status}: {}", body.trim());
    }
    Ok(body)
}

fn unchunk(mut body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut whole = Vec::with_capacity(body.len());
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").context("cut in a chunk's size")?;
        let size = std::str::from_utf8(&body[..end])?.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk's size")?;
        let data = &body[end + 2..];
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(data.get(..size).context("cut in a chunk")?);
        body = data.get(size + 2..).context("cut after a chunk")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_chunked_bodies_and_refuses_cut_ones() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello").unwrap(), "hello");
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2;x\r\n w\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), "hello w");
        assert!(parse(&chunked[..chunked.len() - 12]).is_err());
        assert!(parse(b"HTTP/1.1 503 No\r\n\r\nbusy").unwrap_err().root_cause().to_string().contains("busy"));
    }
}
