//! The wire: generated messages and services, and how errors look on it.
//!
//! The only crate that knows prost and tonic's generated code. No generated message has `Debug`: patient data
//! cannot reach a log through `{:?}`.

pub use prost_types;

use prost_reflect::DescriptorPool;
use std::sync::LazyLock;

pub mod codec;
pub mod in_place;
pub mod problem;
pub mod resource;
pub mod rpc;
pub mod salvage;
pub mod update;

/// Devices' way in and readers' way out.
pub mod telemetry {
    /// Version 1 of the package `wardline.telemetry`.
    #[allow(missing_docs, clippy::doc_lazy_continuation)]
    pub mod v1 {
        tonic::include_proto!("wardline.telemetry.v1");
    }
}

/// Messages and services for operators: quarantine and audit log.
pub mod operations {
    /// Version 1 of the package `wardline.operations`.
    #[allow(missing_docs, clippy::doc_lazy_continuation)]
    pub mod v1 {
        tonic::include_proto!("wardline.operations.v1");
    }
}

/// People, devices, roles, relations.
pub mod registry {
    /// Version 1 of the package `wardline.registry`.
    #[allow(missing_docs, clippy::doc_lazy_continuation)]
    pub mod v1 {
        tonic::include_proto!("wardline.registry.v1");
    }
}

/// Jobs, data sets, reports and models of reference data.
pub mod analytics {
    pub use crate::wardline::analytics::v1;
}

/// Packages that have messages of `google.api`: generated code reaches those from the root of all packages on.
mod wardline {
    pub mod analytics {
        /// Version 1 of the package `wardline.analytics`.
        #[allow(missing_docs, clippy::doc_lazy_continuation)]
        pub mod v1 {
            tonic::include_proto!("wardline.analytics.v1");
        }
    }
}

/// Options of fields and methods.
mod options {
    #[allow(missing_docs, clippy::doc_lazy_continuation)]
    pub mod v1 {
        tonic::include_proto!("wardline.options.v1");
    }
}

/// Google's option for HTTP, and its message for what is no JSON.
pub mod google {
    /// The package `google.api`, as far as it is used.
    #[allow(missing_docs, clippy::doc_lazy_continuation)]
    pub mod api {
        tonic::include_proto!("google.api");
    }
}

/// Descriptors of all services, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// [`DESCRIPTORS`], decoded once; `None` never, which a test holds.
pub fn pool() -> Option<&'static DescriptorPool> {
    static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());
    POOL.as_ref()
}

/// Descriptors of `google.rpc` error details, for reflection.
pub const ERROR_DESCRIPTORS: &[u8] = tonic_types::pb::FILE_DESCRIPTOR_SET;

/// How many bytes a message has on the wire.
pub fn n_bytes(message: &impl prost::Message) -> usize {
    message.encoded_len()
}
