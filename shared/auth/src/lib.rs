//! Who is asking: tokens, certificates and keys.
//!
//! The only crate that knows jsonwebtoken. A token is checked against one pinned algorithm and key per issuer and becomes a
//! `model::access::Identity`; what that identity may do is known to the crate `directory`.

pub mod audit_key;
mod certificate;
mod cursor_cipher;
mod demo;
mod demo_ca;
mod device_issuer;
mod issuing;
mod key_file;
pub mod metrics;
mod pseudonyms;
mod signer;
mod token;

pub use audit_key::AuditKey;
pub use certificate::{Certificate, Holder};
pub use cursor_cipher::CursorCipher;
pub use demo::{DemoIssuer, PEOPLE as DEMO_PEOPLE, demo_person};
pub use demo_ca::{DemoCa, Issued};
pub use device_issuer::{DeviceCa, DeviceIssuer, Requested};
pub use pseudonyms::Pseudonyms;
pub use token::{
    Algorithm, Discovery, Issuer, MAX_TOKEN_BYTES, Pace, Rejected, SubjectKind, TokenType, Verifier, count_refused,
    faults,
};

use std::path::PathBuf;

/// Why the settings of this crate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}")]
    File {
        /// Path of the file that cannot be read or written.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A key cannot be used.
    #[error("key {name} cannot be used: {what}")]
    Key {
        /// Path of the key's file, its `kid`, or what it is for.
        name: String,
        /// What is wrong with the key.
        what: String,
    },
    /// A certificate, or a request for one, cannot be used.
    #[error("certificate: {what}")]
    Certificate {
        /// What is wrong with it, or why none can be made.
        what: String,
    },
}
