//! The tools of the device side and of readers, against servers that misbehave.

#[path = "../../../../shared/client/tests/it/fake.rs"]
mod fake;
mod simulate;
mod timeline;
