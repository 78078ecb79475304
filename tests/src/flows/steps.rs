//! What most connections do on their way.

use anyhow::ensure;

use super::lab::Lab;
use crate::harness::peer::Peer;
use crate::harness::segment::flag;

/// Socket `name` sends `sent` bytes and gets `received` back; both ends have taken all of it.
pub(super) fn exchange(
    lab: &Lab,
    name: &str,
    peer: &mut Peer<'_>,
    sent: usize,
    received: usize,
) -> anyhow::Result<()> {
    lab.tell(&format!("write {name} {sent}"))?;
    peer.take_bytes(sent)?;
    peer.send(flag::ACK, received)?;
    lab.tell(&format!("read {name} {received}"))?;
    peer.acknowledged()
}

/// The peer offers another window, with a byte of data, so that its answer tells that it is known.
pub(super) fn offer(lab: &Lab, name: &str, peer: &mut Peer<'_>, window: u16) -> anyhow::Result<()> {
    peer.window = window;
    peer.send(flag::ACK, 1)?;
    lab.tell(&format!("read {name} 1"))?;
    peer.acknowledged()
}

/// Socket `name` is closed; the peer takes its FIN.
pub(super) fn kernel_closes(lab: &Lab, name: &str, peer: &mut Peer<'_>) -> anyhow::Result<()> {
    lab.tell(&format!("close {name}"))?;
    fin(peer)
}

/// Socket `name` ends its half only; the peer takes its FIN.
pub(super) fn kernel_shuts(lab: &Lab, name: &str, peer: &mut Peer<'_>) -> anyhow::Result<()> {
    lab.tell(&format!("shut {name}"))?;
    fin(peer)
}

fn fin(peer: &mut Peer<'_>) -> anyhow::Result<()> {
    loop {
        let segment = peer.hear()?;
        if segment.is(flag::FIN | flag::ACK) {
            ensure!(segment.payload.is_empty(), "FIN with data: {segment:?}");
            peer.expected = segment.end();
            return Ok(());
        }
        ensure!(segment.is(flag::ACK) && segment.payload.is_empty(), "waiting for FIN: {segment:?}");
    }
}

/// The kernel's end closes first, the peer answers with a FIN of its own.
pub(super) fn finish(lab: &Lab, name: &str, peer: &mut Peer<'_>) -> anyhow::Result<()> {
    kernel_closes(lab, name, peer)?;
    peer.send(flag::FIN | flag::ACK, 0)?;
    peer.acknowledged()
}
