//! Finding what was done to a writer's entries after they were written.

use super::{Checkpoint, Entry, Hash, hash_of, root};
use crate::{bytes::Malformed, id::WriterId};
use std::collections::VecDeque;

/// Something that is not as its writer left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The writer whose chain is affected.
    pub writer: WriterId,
    /// Number of the affected entry, from 1.
    pub sequence: u64,
    /// The fault that was found.
    pub fault: Fault,
}

/// What is wrong with an entry or a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its bytes are no entry.
    #[error("cannot be read: {0}")]
    Unreadable(Malformed),
    /// Entries are missing, this one and those up to another, which is there.
    #[error("missing, as is all before {next}")]
    Gap {
        /// The next one that is there.
        next: u64,
    },
    /// It comes after an entry that should come later, or twice.
    #[error("comes after {last}")]
    OutOfOrder {
        /// The entry before it.
        last: u64,
    },
    /// It was written as another number than it is kept under.
    #[error("was written as {written}")]
    Moved {
        /// Its number as it was written.
        written: u64,
    },
    /// It was written by another writer.
    #[error("was written by {}", .0.uuid())]
    OfAnother(WriterId),
    /// It does not follow the entry before: one of the two is not what was written.
    #[error("does not follow the entry before")]
    Broken,
    /// A checkpoint is of another writer.
    #[error("has a checkpoint of {}", .0.uuid())]
    CheckpointOfAnother(WriterId),
    /// A checkpoint's signature is wrong or by no key that is trusted: it proves nothing.
    #[error("has a checkpoint with a wrong signature")]
    CheckpointUnsigned,
    /// A checkpoint was signed when the entry was another one.
    #[error("is not the entry that was signed")]
    CheckpointDiffers,
    /// A checkpoint was signed when there was such an entry.
    #[error("was signed and is missing")]
    CheckpointMissed,
}

/// Reads the entries of one writer once, in their order, in constant memory but for checkpoints and findings.
///
/// Take the checkpoints before the entries: a log that is being written has then all that was signed.
#[derive(Debug, Clone)]
pub struct Verifier {
    writer: WriterId,
    /// Those ahead whose signature is right, ascending.
    checkpoints: VecDeque<Checkpoint>,
    sequence: u64,
    last: Hash,
    covered: u64,
    findings: Vec<Finding>,
}

impl Verifier {
    /// Of a writer and all its checkpoints, in any order. `check` says whether one's signature is right.
    pub fn new(
        writer: WriterId,
        checkpoints: impl IntoIterator<Item = Checkpoint>,
        check: impl Fn(&Checkpoint) -> bool,
    ) -> Self {
        let mut verifier = Self {
            writer,
            checkpoints: VecDeque::new(),
            sequence: 0,
            last: root(writer),
            covered: 0,
            findings: Vec::new(),
        };
        let mut trusted = Vec::new();
        for checkpoint in checkpoints {
            if checkpoint.writer != writer {
                verifier.note(checkpoint.sequence, Fault::CheckpointOfAnother(checkpoint.writer));
            } else if !check(&checkpoint) {
                verifier.note(checkpoint.sequence, Fault::CheckpointUnsigned);
            } else {
                trusted.push(checkpoint);
            }
        }
        trusted.sort_by_key(|checkpoint| checkpoint.sequence);
        verifier.checkpoints = trusted.into();
        verifier
    }

    /// Takes the next stored entry, with the number it is stored under.
    pub fn take(&mut self, sequence: u64, bytes: &[u8]) {
        if sequence <= self.sequence {
            self.note(sequence, Fault::OutOfOrder { last: self.sequence });
            return;
        }
        let follows = self.sequence + 1 == sequence;
        if !follows {
            self.note(self.sequence + 1, Fault::Gap { next: sequence });
        }
        match Entry::decode(bytes) {
            Err(cause) => self.note(sequence, Fault::Unreadable(cause)),
            Ok(entry) => {
                if entry.writer != self.writer {
                    self.note(sequence, Fault::OfAnother(entry.writer));
                }
                if entry.sequence != sequence {
                    self.note(sequence, Fault::Moved { written: entry.sequence });
                }
                if follows && entry.previous != self.last {
                    self.note(sequence, Fault::Broken);
                }
            }
        }
        // of the bytes as they are stored: nothing that reading leaves out goes unnoticed
        (self.sequence, self.last) = (sequence, hash_of(bytes));
        self.compare();
    }

    /// The last entry that a checkpoint fixes: what comes after it could be cut off unnoticed. 0: none.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// The faults found so far, in the order in which they were found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// All that is wrong, after the last entry.
    pub fn close(mut self) -> Vec<Finding> {
        while let Some(checkpoint) = self.checkpoints.pop_front() {
            self.note(checkpoint.sequence, Fault::CheckpointMissed);
        }
        self.findings
    }

    /// Compares the entry with the checkpoints up to it.
    fn compare(&mut self) {
        while let Some(checkpoint) = self.checkpoints.pop_front_if(|ahead| ahead.sequence <= self.sequence) {
            if checkpoint.sequence < self.sequence {
                self.note(checkpoint.sequence, Fault::CheckpointMissed);
            } else if checkpoint.hash != self.last {
                self.note(checkpoint.sequence, Fault::CheckpointDiffers);
            } else {
                self.covered = checkpoint.sequence;
            }
        }
    }

    fn note(&mut self, sequence: u64, fault: Fault) {
        self.findings.push(Finding { writer: self.writer, sequence, fault });
    }
}
