//! The audit log: who accessed what, in a chain that cannot be changed without a trace.
//!
//! Each process that writes has a chain of its own ([`Chain`]): an entry carries the hash of the one before, and a signed
//! [`Checkpoint`], kept apart from the log, fixes all entries up to its own. [`Verifier`] finds what was changed, moved,
//! added or taken away as far as the last checkpoint; after it, a tail that was cut off or forged whole is not noticed.
//!
//! Layout (notation as in [`crate::Block`]), version 1. There is one way to write each entry, and no other is read:
//!
//! ```text
//! entry      = 1:u8, writer (16), v sequence, previous (32), event
//! event      = z at, subject, patient, text action, purpose:u8, outcome, text detail, request (16)
//! subject    = 0:u8 (nobody known) | 1:u8, user (16) | 2:u8, device (16)
//!            | 3:u8, user (16) | 4:u8, device (16)    (3 and 4: claimed, not proven; written since they are known)
//! patient    = 0:u8 (nobody's data) | 1:u8, patient (16)
//! purpose    = its place in Purpose::ALL
//! outcome    = 0:u8 (allowed) | 1:u8, text reason (denied)
//! checkpoint = 1:u8, writer (16), v sequence, hash (32), z at, key (8), signature (64)
//!
//! hash of an entry          = SHA-256(0:u8, entry)
//! previous of the first one = SHA-256(writer), so that no entry fits into another writer's chain
//! signed of a checkpoint    = "wardline audit checkpoint", 0:u8, all of it before the signature
//! ```

mod checkpoint;
mod event;
mod interaction;
mod verify;

pub use checkpoint::Checkpoint;
pub use event::{Detail, Event, MAX_DETAIL, MAX_NAME, Name, Outcome, Text, Who};
pub use interaction::Interaction;
pub use verify::{Fault, Finding, Verifier};

use crate::{
    bytes::{Malformed, Reader, put_varint},
    id::WriterId,
};
use sha2::{Digest, Sha256};

/// A SHA-256 hash (FIPS 180-4), 32 bytes.
pub type Hash = [u8; 32];

const VERSION: u8 = 1;
/// Starts what is hashed of an entry, so that it is no hash of anything else.
const ENTRY: u8 = 0;

/// An event at its place in its writer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The writer whose chain the entry belongs to.
    pub writer: WriterId,
    /// Its number in the chain, from 1 without a gap.
    pub sequence: u64,
    /// The hash of the entry before.
    pub previous: Hash,
    /// The access or change that the entry records.
    pub event: Event,
}

impl Entry {
    /// Encodes the entry; the bytes are what is hashed and stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.writer.as_bytes());
        put_varint(&mut out, self.sequence);
        out.extend_from_slice(&self.previous);
        self.event.put(&mut out);
        out
    }

    /// Reads an entry back.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        if input.byte()? != VERSION {
            return Err(input.malformed("audit entry version 1"));
        }
        let writer = WriterId::from_bytes(input.array()?);
        let sequence = input.varint()?;
        let entry = Self { writer, sequence, previous: input.array()?, event: Event::read(&mut input)? };
        input.end()?;
        // a number can be written in more bytes than it needs: then what was hashed is not what is read
        if entry.encode() != bytes {
            return Err(input.malformed("numbers in their shortest form"));
        }
        Ok(entry)
    }

    /// What the next entry carries as `previous`.
    pub fn hash(&self) -> Hash {
        hash_of(&self.encode())
    }
}

/// The hash of an encoded entry.
fn hash_of(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([ENTRY]).chain_update(entry).finalize().into()
}

/// What the first entry of a writer carries as `previous`.
fn root(writer: WriterId) -> Hash {
    Sha256::digest(writer.as_bytes()).into()
}

/// Where a writer's chain ends: gives the next entry its place.
#[derive(Debug, Clone)]
pub struct Chain {
    writer: WriterId,
    sequence: u64,
    last: Hash,
}

impl Chain {
    /// An empty chain. A writer must never have two: a new run of a process is a new writer.
    pub fn new(writer: WriterId) -> Self {
        Self { writer, sequence: 0, last: root(writer) }
    }

    /// The writer whose chain it is, as entries name it.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    /// The number of the last entry, 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The hash of the last entry.
    pub fn last(&self) -> Hash {
        self.last
    }

    /// Puts an event at the end.
    pub fn append(&mut self, event: Event) -> Entry {
        self.sequence += 1;
        let entry = Entry { writer: self.writer, sequence: self.sequence, previous: self.last, event };
        self.last = entry.hash();
        entry
    }
}
