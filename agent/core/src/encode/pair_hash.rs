//! SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012) of what tells an established connection: nine
//! bytes, a use and two sequence numbers. The crate's takes any message byte by byte and always makes all 128 bits;
//! a span's id is half of them, and all ids of a connection are made together here.

/// Mixes nine-byte messages under one key.
#[derive(Clone)]
pub(super) struct PairHash {
    /// The state before the first word.
    begin: State,
}

#[derive(Clone, Copy)]
struct State([u64; 4]);

impl PairHash {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = *key;
        let low = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
        let high = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        // "somepseudorandomlygeneratedbytes", and 0xEE for 128 bits.
        let begin = State([
            low ^ 0x736F_6D65_7073_6575,
            high ^ 0x646F_7261_6E64_6F6D ^ 0xEE,
            low ^ 0x6C79_6765_6E65_7261,
            high ^ 0x7465_6462_7974_6573,
        ]);
        Self { begin }
    }

    /// The first 8 bytes of the hash of `domain`, the first number and the second.
    #[inline]
    pub(super) fn half(&self, domain: u8, isn: (u32, u32)) -> [u8; 8] {
        self.absorb(domain, isn).end(0xEE).to_le_bytes()
    }

    /// All 16 bytes.
    #[inline]
    pub(super) fn whole(&self, domain: u8, isn: (u32, u32)) -> [u8; 16] {
        let mut state = self.absorb(domain, isn);
        let first = state.end(0xEE);
        state.0[1] ^= 0xDD;
        state.rounds(4);
        (u128::from(first) | u128::from(state.folded()) << 64).to_le_bytes()
    }

    #[inline]
    fn absorb(&self, domain: u8, (first, second): (u32, u32)) -> State {
        let mut state = self.begin;
        let message = u128::from(domain) | u128::from(first) << 8 | u128::from(second) << 40;
        // The last word ends with the message's length.
        for word in [message as u64, (message >> 64) as u64 | 9 << 56] {
            state.0[3] ^= word;
            state.rounds(2);
            state.0[0] ^= word;
        }
        state
    }
}

impl State {
    #[inline]
    fn end(&mut self, mark: u64) -> u64 {
        self.0[2] ^= mark;
        self.rounds(4);
        self.folded()
    }

    #[inline]
    fn folded(self) -> u64 {
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }

    #[inline]
    fn rounds(&mut self, count: u32) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        for _ in 0..count {
            v0 = v0.wrapping_add(v1);
            v2 = v2.wrapping_add(v3);
            v1 = v1.rotate_left(13) ^ v0;
            v3 = v3.rotate_left(16) ^ v2;
            v0 = v0.rotate_left(32);
            v2 = v2.wrapping_add(v1);
            v0 = v0.wrapping_add(v3);
            v1 = v1.rotate_left(17) ^ v2;
            v3 = v3.rotate_left(21) ^ v0;
            v2 = v2.rotate_left(32);
        }
        self.0 = [v0, v1, v2, v3];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use siphasher::sip128::SipHasher24;

    use super::*;

    proptest! {
        #[test]
        fn it_is_siphash(key: [u8; 16], domain: u8, first: u32, second: u32) {
            let (first_bytes, second_bytes) = (first.to_le_bytes(), second.to_le_bytes());
            let message = [&[domain][..], &first_bytes, &second_bytes].concat();
            let want = SipHasher24::new_with_key(&key).hash(&message).as_bytes();
            let hash = PairHash::new(&key);
            prop_assert_eq!(hash.whole(domain, (first, second)), want);
            prop_assert_eq!(&hash.half(domain, (first, second))[..], &want[..8]);
        }
    }
}
