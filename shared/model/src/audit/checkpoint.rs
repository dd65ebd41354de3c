//! A checkpoint: a signature under everything that a writer had written up to an entry.

use super::Hash;
use crate::{
    bytes::{Malformed, Reader, put_signed, put_varint},
    id::WriterId,
    time::Nanos,
};

const VERSION: u8 = 1;
/// Starts what is signed, so that the signature is none under anything else.
const SIGNED: &[u8] = b"wardline audit checkpoint\0";

/// Fixes an entry, and by its hash all entries before it. Worth something only when kept where whoever can change the
/// log cannot reach it, or take it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The writer whose chain is signed.
    pub writer: WriterId,
    /// Number of the last entry that the signature covers, from 1.
    pub sequence: u64,
    /// Hash of that entry, and so of all before it.
    pub hash: Hash,
    /// When it was signed.
    pub at: Nanos,
    /// Id of the Ed25519 key that signed: the first 8 bytes of the public key's SHA-256.
    pub key_id: [u8; 8],
    /// The signature under [`Self::signed_bytes`].
    pub signature: [u8; 64],
}

impl Checkpoint {
    /// Exactly what is signed.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut out = SIGNED.to_vec();
        self.put_unsigned(&mut out);
        out
    }

    /// Encodes the checkpoint as its file keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_unsigned(&mut out);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads a checkpoint back; whether the signature is right is another question.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        if input.byte()? != VERSION {
            return Err(input.malformed("checkpoint version 1"));
        }
        let checkpoint = Self {
            writer: WriterId::from_bytes(input.array()?),
            sequence: input.varint()?,
            hash: input.array()?,
            at: Nanos(input.signed()?),
            key_id: input.array()?,
            signature: input.array()?,
        };
        input.end()?;
        if checkpoint.encode() != bytes {
            return Err(input.malformed("numbers in their shortest form"));
        }
        Ok(checkpoint)
    }

    fn put_unsigned(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(self.writer.as_bytes());
        put_varint(out, self.sequence);
        out.extend_from_slice(&self.hash);
        put_signed(out, self.at.0);
        out.extend_from_slice(&self.key_id);
    }
}
