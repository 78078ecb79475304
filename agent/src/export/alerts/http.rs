//! Alerts by HTTP: each is the body of a POST.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::channel::SIGNAL;
use super::tls::Tls;
use crate::export::Signal;
use crate::export::otlp::Headers;
use crate::export::worker::{Accepted, Destination, Failure, Verdict, chain};

/// Of an answer, bytes that are read.
const ANSWER: usize = 64 << 10;
/// Longest pause that a server may ask for: alerts are no use tomorrow.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Alerts by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOutput {
    /// Whether alerts are sent.
    pub enabled: bool,
    /// Where: `http://host:port/path` or `https://…`.
    pub url: String,
    /// What the requests say sends them.
    pub user_agent: String,
    /// More headers of every request, such as a token.
    pub headers: Headers,
    /// PEM file of the certificate authorities that the server's certificate must come from, in place of the system's
    /// and the built-in ones. It is read again when it changes, as the other two.
    pub ca_cert: Option<PathBuf>,
    /// PEM file with a certificate of our own and its chain, if the server asks for one (mTLS). Needs `client_key`.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the private key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Write the server's answers to the agent's log.
    pub echo: bool,
    /// Compress alerts (gzip).
    pub compress_uploads: bool,
    /// Have the kernel look whether an idle connection still stands (TCP keep-alive). Connections are used again
    /// in any case.
    pub keep_alive: bool,
    /// JSON or text here, whatever `alerts.json_output` says.
    pub json_output: Option<bool>,
}

impl Default for HttpOutput {
    fn default() -> Self {
        Self {
            enabled: false,
            url: String::new(),
            user_agent: concat!("tarsier/", env!("CARGO_PKG_VERSION")).into(),
            headers: Headers::default(),
            ca_cert: None,
            client_cert: None,
            client_key: None,
            echo: false,
            compress_uploads: false,
            keep_alive: false,
            json_output: None,
        }
    }
}

/// The channel's end.
pub(super) struct HttpChannel {
    target: Target,
    compress: bool,
    echo: bool,
    timeout: Duration,
    tls: Option<Tls>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// Where, and what every request says.
#[derive(Clone, Debug)]
pub(super) struct Target {
    host: String,
    port: u16,
    is_tls: bool,
    path: Uri,
    headers: HeaderMap,
    keep_alive: bool,
}

impl Target {
    /// What the configuration names, or what is wrong with it: key and problem.
    pub(super) fn of(config: &HttpOutput, json: bool) -> Result<Self, (&'static str, String)> {
        let wrong = |problem: &str| ("url", problem.to_owned());
        let url: Uri = config.url.parse().map_err(|error| ("url", format!("{error}")))?;
        let is_tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("must begin with `http://` or `https://`")),
        };
        let authority = url.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("holds a user: put an `authorization` header into `headers`"));
        }
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|error| ("url", format!("{error}")))?;
        let value = |key, text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| (key, "is no header".to_owned()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value("url", authority.as_str())?);
        headers.insert(USER_AGENT, value("user_agent", &config.user_agent)?);
        let kind = if json { "application/json" } else { "text/plain" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, text) in &config.headers.0 {
            let name = http::HeaderName::try_from(name.as_str());
            let name = name.map_err(|_| ("headers", "a name is no header's".to_owned()))?;
            if matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection" | "host") {
                return Err(("headers", format!("`{name}` belongs to HTTP itself")));
            }
            headers.insert(name, value("headers", text)?);
        }
        let host = authority.host();
        Ok(Self {
            // An IPv6 address stands in brackets there.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            is_tls,
            path,
            headers,
            keep_alive: config.keep_alive,
        })
    }
}

impl HttpChannel {
    /// # Errors
    /// What is wrong with the configuration: key and problem.
    pub(super) fn new(
        config: &HttpOutput,
        json: bool,
        timeout: Duration,
    ) -> Result<Self, (&'static str, String)> {
        let target = Target::of(config, json)?;
        let tls = target.is_tls.then(|| Tls::new(config)).transpose()?;
        let (compress, echo) = (config.compress_uploads, config.echo);
        Ok(Self { target, compress, echo, timeout, tls, connection: None })
    }

    async fn attempt(&mut self, body: Bytes) -> Result<Accepted, Failure> {
        let body = if self.compress { gzip(&body) } else { body };
        let changed = self.tls.as_ref().is_some_and(Tls::has_changed);
        if let Some(kept) = self.connection.take().filter(|kept| !changed && !kept.is_closed())
            && let Ok(outcome) = self.post(kept, body.clone()).await
        {
            return outcome;
        }
        // None is kept, or the server has closed it meanwhile.
        let fresh = self.connect().await.map_err(Failure::again)?;
        self.post(fresh, body).await.map_err(Failure::again)?
    }

    /// One request by a connection, which is kept if it can be, and what the answer means.
    ///
    /// # Errors
    /// There was none.
    async fn post(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        body: Bytes,
    ) -> Result<Result<Accepted, Failure>, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.target.path);
        request.headers_mut().clone_from(&self.target.headers);
        if self.compress {
            request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        connection.ready().await.map_err(|error| chain(&error))?;
        let response = connection.send_request(request).await.map_err(|error| chain(&error))?;
        let (head, body) = response.into_parts();
        // Read to its end, so that the connection can be used again.
        let answer = Limited::new(body, ANSWER).collect().await;
        let text = match answer {
            Ok(answer) => {
                self.connection = Some(connection);
                String::from_utf8_lossy(&answer.to_bytes()).into_owned()
            }
            Err(error) => error.to_string(),
        };
        if self.echo {
            let answer: String = text.chars().take(300).collect();
            tracing::info!(exporter = "alerts_http", status = head.status.as_u16(), ?answer, "answer");
        }
        Ok(verdict(head.status, &head.headers, &text))
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, String> {
        let Target { host, port, keep_alive, .. } = &self.target;
        let socket = TcpStream::connect((host.as_str(), *port)).await;
        let socket = socket.map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
        // Both only improve what works without.
        let _ = socket.set_nodelay(true);
        if *keep_alive {
            let _ = rustix::net::sockopt::set_socket_keepalive(&socket, true);
        }
        match &mut self.tls {
            None => http1(socket).await,
            Some(tls) => http1(tls.connect(socket, host).await?).await,
        }
    }
}

/// Starts HTTP on a connection. What drives it ends with it.
async fn http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
    tokio::spawn(async move {
        // Its errors are those of the requests.
        let _ = connection.await;
    });
    Ok(sender)
}

/// What an answer means: what the server may do another time is tried again.
fn verdict(status: StatusCode, headers: &HeaderMap, text: &str) -> Result<Accepted, Failure> {
    if status.is_success() {
        return Ok(Accepted::default());
    }
    let text = format!("{status}: {}", text.chars().take(200).collect::<String>());
    let again = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if !again {
        return Err(Failure { verdict: Verdict::Permanent, text });
    }
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let asked = asked.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
    Err(Failure { verdict: Verdict::Retry(asked), text })
}

fn gzip(body: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // A vector takes all that is written.
    let _ = encoder.write_all(body);
    Bytes::from(encoder.finish().unwrap_or_default())
}

impl Destination for HttpChannel {
    fn name(&self) -> &'static str {
        "alerts_http"
    }

    fn signal(&self) -> Signal {
        SIGNAL
    }

    async fn send(&mut self, body: Bytes) -> Result<Accepted, Failure> {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.attempt(body)).await {
            Ok(result) => result,
            Err(_) => {
                // The answer that comes late must not be taken for the next one's.
                self.connection = None;
                Err(Failure::again(format!("no answer within {timeout:?}")))
            }
        }
    }

    async fn close(self) {}
}
