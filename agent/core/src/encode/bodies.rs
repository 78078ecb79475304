//! Memory of finished requests, used again once the exporter has let go of it: half a megabyte from
//! the allocator is memory to be faulted in, page by page, for every request.

use bytes::BytesMut;

/// Buffers that hand out their content and take it back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    kept: Vec<BytesMut>,
    next: usize,
}

impl Bodies {
    /// Buffers kept for each signal: one under way, one waiting, and two for when the backend is slow.
    /// Beyond that, memory comes and goes with the requests.
    const KEPT: usize = 4;

    /// A buffer with room for `len` bytes. To be filled and split off whole.
    pub(super) fn take(&mut self, len: usize) -> &mut BytesMut {
        let free = self.kept.iter_mut().position(|buffer| {
            buffer.clear();
            buffer.try_reclaim(len)
        });
        let at = free.unwrap_or_else(|| {
            let buffer = BytesMut::with_capacity(len.next_multiple_of(64 << 10));
            if self.kept.len() < Self::KEPT {
                self.kept.push(buffer);
                return self.kept.len() - 1;
            }
            // All are on their way, or too small: the oldest leaves the circle.
            self.next = (self.next + 1) % Self::KEPT;
            self.kept[self.next] = buffer;
            self.next
        });
        &mut self.kept[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bodies: &mut Bodies, content: &[u8]) -> bytes::Bytes {
        let buffer = bodies.take(content.len());
        buffer.extend_from_slice(content);
        buffer.split().freeze()
    }

    #[test]
    fn what_is_out_stays_as_it_was_and_what_is_back_is_used_again() {
        let mut bodies = Bodies::default();
        let content = |number: usize| vec![number as u8; 70_000];
        let out: Vec<_> = (0..9).map(|number| body(&mut bodies, &content(number))).collect();
        assert!(out.iter().enumerate().all(|(number, body)| **body == content(number)));
        assert_eq!(bodies.kept.len(), Bodies::KEPT);
        drop(out);
        let addresses: Vec<_> = (0..9).map(|number| body(&mut bodies, &content(number)).as_ptr()).collect();
        assert!(addresses.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
