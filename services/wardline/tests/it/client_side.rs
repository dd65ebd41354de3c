//! The tools of the device side and of readers, against servers that misbehave.

#[allow(dead_code, reason = "the SDK's own tests use the rest")]
#[path = "../../../../shared/client/tests/it/fake.rs"]
mod fake;
mod simulate;
mod timeline;
mod tokens;
