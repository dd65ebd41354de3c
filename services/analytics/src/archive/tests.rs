//! The archive, with a disk that is taken away at any point.

mod audit_counts;
mod bucket;
mod disk;
mod exactly_once;
mod made;
mod readers;
