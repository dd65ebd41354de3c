//! The tools of the device side and of readers, against servers that misbehave.

mod fake;
mod simulate;
mod stream;
mod timeline;
