//! The second thread: exporters, HTTP endpoint, admin socket, signals. It never touches a record.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::follow::{Follower, Loaded};
use super::outlet::Outlet;
use super::{Desk, FLUSH};
use crate::config::Config;
use crate::export::alerts::{Change, Channels};
use crate::export::otlp::OtlpExporter;
use crate::host::identity;
use crate::kernel::wait::Waker;
use crate::ops::admin::AdminServer;
use crate::ops::http::{HttpServer, Sources};
use crate::rules::Active;

/// A running second thread.
pub(super) struct Background {
    exits: Exits,
    /// What was loaded anew, or why it was not.
    reloaded: mpsc::Receiver<Reloaded>,
    flush: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What was loaded anew, or why nothing could be.
pub(super) type Reloaded = anyhow::Result<Next>;

/// What is to take the place of what was at the start, or of what was loaded before.
pub(super) struct Next {
    pub(super) config: Config,
    /// None: there were no rules at the start.
    pub(super) active: Option<Active>,
    /// The channels that the configuration asks for, started.
    pub(super) channels: Change,
}

/// The ways out that the thread runs.
#[derive(Clone)]
pub(super) struct Exits {
    /// If OTLP is configured.
    pub(super) otlp: Option<Arc<OtlpExporter>>,
    /// Of alerts; there may be none.
    pub(super) alerts: Arc<Channels>,
}

/// What the thread says once, when everything that can fail at start is up.
type Started = anyhow::Result<Exits>;

impl Background {
    /// Starts it; returns when the endpoint listens and the exporters run. What `follower` looks at is loaded anew.
    pub(super) fn start(
        config: &Config,
        follower: Option<Follower>,
        desk: Arc<Desk>,
        stop: Arc<AtomicBool>,
        waker: Waker,
    ) -> anyhow::Result<Self> {
        let (flush, flushed) = oneshot::channel();
        let (started, starting) = mpsc::channel();
        let (reloads, reloaded) = mpsc::channel();
        let config = config.clone();
        let thread = std::thread::Builder::new().name("tarsier-io".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime.context("starting the IO thread") {
                Ok(runtime) => {
                    let follow = follower.map(|follower| (follower, reloads));
                    runtime.block_on(serve(&config, desk, stop, waker, &started, flushed, follow));
                    // Without waiting for a file system that stands still.
                    runtime.shutdown_background();
                }
                // The receiver waits for exactly this message.
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        let exits = starting.recv().context("the IO thread ended early")??;
        Ok(Self { exits, reloaded, flush, thread })
    }

    /// The ways out.
    pub(super) fn exits(&self) -> &Exits {
        &self.exits
    }

    /// What was loaded anew next, if anything was.
    pub(super) fn reloaded(&self) -> Option<Reloaded> {
        self.reloaded.try_recv().ok()
    }

    /// Flushes the exporters, says what could not be sent, and ends the thread.
    pub(super) fn stop(self, outlet: &Outlet) {
        // It has ended already if this fails; then there is nothing to flush.
        let _ = self.flush.send(());
        if self.thread.join().is_err() {
            tracing::error!("the IO thread panicked");
        }
        outlet.log_account();
    }
}

async fn serve(
    config: &Config,
    desk: Arc<Desk>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    started: &mpsc::Sender<Started>,
    flushed: oneshot::Receiver<()>,
    follow: Option<(Follower, mpsc::Sender<Reloaded>)>,
) {
    match open(config, &desk).await {
        Ok(servers) => {
            let exits = servers.exits.clone();
            // The receiver waits for exactly this message.
            let _ = started.send(Ok(exits.clone()));
            tokio::spawn(reopening(Arc::clone(&exits.alerts)));
            if let Some((follower, reloads)) = follow {
                let host_name = host_name(config);
                tokio::spawn(reloading(
                    follower,
                    reloads,
                    Arc::clone(&exits.alerts),
                    host_name,
                    waker.clone(),
                ));
            }
            tokio::spawn(signals(stop, waker));
            // The sender is dropped only when the pipeline gave up: flush then too.
            let _ = flushed.await;
            let otlp = async {
                if let Some(exporter) = &exits.otlp {
                    exporter.shutdown(FLUSH).await;
                }
            };
            tokio::join!(otlp, exits.alerts.shutdown(FLUSH));
        }
        // As above.
        Err(error) => drop(started.send(Err(error))),
    }
}

/// What lives as long as the thread does.
struct Servers {
    exits: Exits,
    _http: Option<HttpServer>,
    _admin: Option<AdminServer>,
}

async fn open(config: &Config, desk: &Arc<Desk>) -> anyhow::Result<Servers> {
    let runtime = tokio::runtime::Handle::current();
    let otlp = if config.otlp.is_configured() {
        Some(Arc::new(OtlpExporter::start(&config.otlp, &runtime)?))
    } else {
        None
    };
    let alerts = Channels::start(&config.alerts, &host_name(config), &runtime).context("alerts")?;
    let exits = Exits { otlp, alerts: Arc::new(alerts) };
    let http = match config.ops.listen.0 {
        None => None,
        Some(address) => {
            let (for_metrics, for_health) = (Arc::clone(desk), Arc::clone(desk));
            let sources = Sources {
                metrics: Arc::new(move || for_metrics.metrics()),
                health: Arc::new(move || for_health.health()),
            };
            let server = HttpServer::start(address, sources).await.map_err(|error| {
                anyhow::anyhow!(
                    "cannot listen on {address}: {error}; name another address (--listen IP:PORT) or none (--listen none)"
                )
            })?;
            tracing::info!(address = %server.address(), "serving /metrics and /healthz");
            Some(server)
        }
    };
    Ok(Servers { exits, _http: http, _admin: admin(config, desk) })
}

/// The admin socket is a convenience: without it the agent runs, and says so.
fn admin(config: &Config, desk: &Arc<Desk>) -> Option<AdminServer> {
    if config.ops.admin_socket.is_empty() {
        return None;
    }
    let desk = Arc::clone(desk);
    let path = Path::new(&config.ops.admin_socket);
    match AdminServer::start(path, Arc::new(move || desk.top())) {
        Ok(server) => Some(server),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "no admin socket: `tarsier top` will not find this agent");
            None
        }
    }
}

/// The host's name as alerts say it.
fn host_name(config: &Config) -> String {
    identity::identity(&identity::facts(), config).host_name
}

/// Hands what was loaded anew to the pipeline, and wakes it.
async fn reloading(
    follower: Follower,
    reloads: mpsc::Sender<Reloaded>,
    channels: Arc<Channels>,
    host_name: String,
    waker: Waker,
) {
    let runtime = tokio::runtime::Handle::current();
    let tell = |loaded: anyhow::Result<Loaded>| {
        let reloaded = loaded.and_then(|Loaded { config, active }| {
            let channels = channels.prepare(&config.alerts, &host_name, &runtime).context("alerts")?;
            Ok(Next { config, active, channels })
        });
        // It fails only when the pipeline has ended.
        let _ = reloads.send(reloaded);
        waker.wake();
    };
    follower.run(tell).await;
}

/// SIGUSR1 is what log rotation for Falco sends. It must not end the agent; files need no telling, programs are started
/// anew.
async fn reopening(channels: Arc<Channels>) {
    let Ok(mut asked) = signal(SignalKind::user_defined1()) else { return };
    while asked.recv().await.is_some() {
        channels.reopen();
    }
}

/// The first SIGINT or SIGTERM asks the pipeline to end; a second one ends the process at once.
async fn signals(stop: Arc<AtomicBool>, waker: Waker) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be handled");
        return std::future::pending().await;
    };
    let mut asked = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if asked {
            std::process::exit(130);
        }
        asked = true;
        stop.store(true, Ordering::Release);
        waker.wake();
        // Last: whoever reads standard error may stand still.
        tracing::info!("stopping: a second signal ends without flushing");
    }
}
