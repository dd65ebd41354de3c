//! The SDK against a server that misbehaves.

mod fake;
mod queue;
mod reader;
mod several;
mod stream;
