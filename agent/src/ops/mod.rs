//! The agent's own health: metrics, the HTTP endpoint, the admin socket behind `tarsier top`, the
//! checks behind `tarsier doctor`.
//!
//! Nothing here knows the pipeline: it hands in closures that take a snapshot when one is asked for.

pub mod admin;
pub mod build;
pub mod doctor;
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
    /// Where `/metrics`, `/healthz`, `/livez`, `/readyz` and `/versions` are served.
    pub listen: Listen,
    /// The Unix socket that `tarsier top` connects to (mode 0600); empty = none.
    pub admin_socket: String,
}

impl Default for Config {
    fn default() -> Self {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 8765));
        Self { listen: Listen(Some(local)), admin_socket: admin::DEFAULT_SOCKET.into() }
    }
}
