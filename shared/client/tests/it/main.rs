//! The SDK against a server that misbehaves.

mod fake;
mod foreign;
mod queue;
mod reader;
mod several;
mod stream;
