//! `wardline replay`: readers, plans, resuming, and the public recordings in full.

mod formats;
mod real;
mod run;
mod support;
