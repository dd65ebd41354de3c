//! Models as people use them: trained by a job, kept in versions of which one is in use, asked by callers.
//!
//! What a model is and how it learns is in [`crate::models`], which touches nothing outside; here are its rows, its files, its
//! job and its rpcs.

pub mod frames;
pub mod rpcs;
pub mod shelf;
#[cfg(test)]
mod tests;
pub mod train;
mod wire;

pub use rpcs::ModelRpcs;
pub use shelf::Shelf;
pub use train::Train;
