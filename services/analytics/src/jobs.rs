//! Long work: submitted and answered at once, done by a worker, followed by whoever may.
//!
//! The promises: a job whose submission was answered is never lost; it has exactly one end, whatever becomes of its workers,
//! and nothing that a worker writes late changes it; a caller sees no other caller's job.

pub mod board;
mod clearing;
pub mod job;
pub mod kinds;
mod memory;
pub mod orders;
mod queue;
pub mod rpcs;
pub mod step;
pub mod submit;
pub mod task;
pub(crate) mod wire;
pub mod work;
pub mod worker;

use crate::metrics;

#[cfg(test)]
mod tests;
