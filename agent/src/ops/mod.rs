//! The agent's own health: metrics, the HTTP endpoint, the admin socket behind `tarsier top`, the
//! checks behind `tarsier doctor`.
//!
//! Nothing here knows the pipeline: it hands in closures that take a snapshot when one is asked for.

pub mod admin;
pub mod build;
pub mod doctor;
pub mod falco;
pub mod http;
pub mod metrics;

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::Listen;

/// The agent's own health: HTTP endpoint and admin socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where `/metrics`, `/healthz`, `/livez`, `/readyz` and `/versions` are served. Port and paths are Falco's; `/versions` says too
    /// which of its engine's versions rule files find here, as falcoctl asks.
    pub listen: Listen,
    /// Serves in `/metrics`, under Falco's names too, what means the same here: `falcosecurity_falco_rules_matches_total` and others
    /// (docs/reference/metrics.md), for dashboards that were made for it.
    pub falco_metrics: bool,
    /// The Unix socket that `tarsier top` connects to (mode 0600); empty = none.
    pub admin_socket: String,
}

impl Default for Config {
    fn default() -> Self {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 8765));
        Self { listen: Listen(Some(local)), falco_metrics: false, admin_socket: admin::DEFAULT_SOCKET.into() }
    }
}
