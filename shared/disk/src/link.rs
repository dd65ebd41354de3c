//! The number that each batch of an embedded engine carries, so that a missing one is noticed.

/// The key under which a batch's number is written, in a keyspace of the owner's choice.
pub(crate) const LINK_KEY: [u8; 6] = *b"\0chain";
/// Sequence numbers that others may take between reading and committing: keyspaces that come and go.
const SLACK: u64 = 1 << 8;

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Number of the link, from 1, without gaps.
    pub count: u64,
    /// The engine's sequence number for it is this one or little more: it is not under the journal's checksum, and a batch
    /// with a lower one would be taken for one that is in the tables already.
    pub floor: u64,
}

impl Link {
    pub const BYTES: usize = 16;

    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..].copy_from_slice(&self.floor.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let [count, floor] = [&bytes[..8], &bytes[8..]].map(|half| half.try_into().map_or(0, u64::from_be_bytes));
        Self { count, floor }
    }

    pub fn allows(self, seqno: u64) -> bool {
        (self.floor..self.floor.saturating_add(SLACK)).contains(&seqno)
    }
}
