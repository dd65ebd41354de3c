//! The tools, against servers that misbehave; and the binary as a process.

mod analytics;
mod binary;
mod client_side;
mod dashboard;
mod extracts;
mod node;
mod replay_suite;
mod shown;
