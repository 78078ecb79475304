//! The kernel's counters of one socket: how two readings compare, and what they amount to.

use tarsier_abi::tcp::Counters;

/// Nothing counted, nothing measured.
pub(super) const NOTHING: Counters = Counters {
    bytes_sent: 0,
    bytes_received: 0,
    segments_sent: 0,
    segments_received: 0,
    retransmits: 0,
    srtt_us: 0,
    min_rtt_us: u32::MAX,
    extra: 0,
};

/// Whether a socket's first sequence number went to a SYN of its own, after the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syn {
    /// It connected.
    Sent,
    /// It was accepted, or restored.
    NotSent,
    Unknown,
}

/// The totals with the payload sent made exact: what the sequence numbers tell of it, less the SYN.
pub(super) fn exact(counters: &Counters, syn: Syn) -> Counters {
    let syn = match syn {
        Syn::Sent => 1,
        Syn::NotSent => 0,
        // Right either way as long as nothing was counted more than once.
        Syn::Unknown => i64::from(counters.extra.clamp(0, 1)),
    };
    let sent = span(counters).saturating_sub(syn);
    Counters { bytes_sent: u64::try_from(sent).unwrap_or(0), extra: 0, ..*counters }
}

/// The later of two readings, field by field. A sweep reads while the socket changes, but never ahead.
pub(super) fn later(one: &Counters, other: &Counters) -> Counters {
    // The kernel's 32-bit counters wrap.
    let newer = |old: u32, new: u32| if new.wrapping_sub(old) > u32::MAX / 2 { old } else { new };
    // What is counted once more makes `bytes_sent` more and `extra` less: only their sum never falls.
    let sent = if span(other) >= span(one) { other } else { one };
    Counters {
        bytes_sent: sent.bytes_sent,
        extra: sent.extra,
        bytes_received: one.bytes_received.max(other.bytes_received),
        segments_sent: newer(one.segments_sent, other.segments_sent),
        segments_received: newer(one.segments_received, other.segments_received),
        retransmits: newer(one.retransmits, other.retransmits),
        ..*other
    }
}

/// Whether anything was sent or received between the two.
pub(super) fn differ(one: &Counters, other: &Counters) -> bool {
    let amounts = |counters: &Counters| {
        let Counters { bytes_received, segments_sent, segments_received, retransmits, .. } = *counters;
        (span(counters), bytes_received, segments_sent, segments_received, retransmits)
    };
    amounts(one) != amounts(other)
}

/// What was counted since `earlier`; round-trip times are those of `now`.
pub(super) fn since(now: &Counters, earlier: &Counters) -> Counters {
    Counters {
        bytes_sent: now.bytes_sent.saturating_sub(earlier.bytes_sent),
        bytes_received: now.bytes_received.saturating_sub(earlier.bytes_received),
        segments_sent: now.segments_sent.wrapping_sub(earlier.segments_sent),
        segments_received: now.segments_received.wrapping_sub(earlier.segments_received),
        retransmits: now.retransmits.wrapping_sub(earlier.retransmits),
        ..*now
    }
}

/// Sequence numbers sent, a FIN aside.
fn span(counters: &Counters) -> i64 {
    i64::try_from(counters.bytes_sent).unwrap_or(i64::MAX).saturating_add(i64::from(counters.extra))
}
