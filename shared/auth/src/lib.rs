//! Who is asking: tokens, certificates, and the directory of people, devices and what ties them.
//!
//! The only crate that knows jsonwebtoken. A token is checked against one pinned algorithm and key per issuer and
//! becomes a `model::access::Principal`; what a principal may do is decided by `model::access` from the relations that
//! the [`Directory`] knows: from files, and from the changes of the [`registry`]. Both are followed while the process runs,
//! so that a change holds within seconds.

pub mod audit_key;
mod certificate;
mod demo;
mod demo_ca;
mod device_issuer;
mod directory;
mod key_file;
mod pseudonyms;
pub mod registry;
mod sealer;
mod signer;
mod token;

pub use audit_key::AuditKey;
pub use certificate::{Certificate, Holder};
pub use demo::{DemoIssuer, PEOPLE as DEMO_PEOPLE, demo_person};
pub use demo_ca::{DemoCa, Issued};
pub use device_issuer::{DeviceCa, DeviceIssuer, Requested};
pub use directory::{Assignment, Directory, NoDevice, Shared};
pub use pseudonyms::Pseudonyms;
pub use sealer::Sealer;
pub use token::{
    Algorithm, Discovery, Identity, Issuer, Pace, Rejected, SubjectKind, TokenType, Verifier, count_refused,
};

use std::path::PathBuf;

/// Why the settings of this crate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A directory file is wrong.
    #[error("{file}: {what}")]
    Directory {
        /// Which file.
        file: String,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// A change of the registry cannot be followed.
    #[error("change {sequence} of the registry: {what}")]
    Registry {
        /// Its number.
        sequence: u64,
        /// Why.
        what: String,
    },
    /// A key cannot be used.
    #[error("key {name} cannot be used: {what}")]
    Key {
        /// Which key.
        name: String,
        /// Why.
        what: String,
    },
    /// A certificate, or a request for one, cannot be used.
    #[error("certificate: {what}")]
    Certificate {
        /// Why.
        what: String,
    },
}
