//! The folder of an embedded engine (fjall), for the log and the store alike: neither may know the other, and both must
//! not lose a byte without saying so.
//!
//! What is promised:
//! - **Damage is found before the engine opens the folder.** It takes whatever it cannot read in a journal for an unfinished
//!   end, and cuts it off; it takes a keyspace without its marker for an unfinished one, and removes it. [`check`] reads the
//!   same files first and names the file and the byte.
//! - **What was durable is still there.** Each batch carries a number ([`Chain`]), and after each sync the last number is
//!   noted in a file beside the folder ([`Mark`]); which keyspaces there are stands in another ([`Manifest`]). A cut, a lost
//!   file and an empty folder are seen by that. What an honest crash leaves behind the last durable batch is cut off, and said.
//! - **The engine never meets a full disk**: below a reserve of free space nothing is written ([`Space`]).
//! - **Files are for the owner alone** ([`private`]).

mod chain;
mod check;
mod error;
mod journal;
mod link;
mod manifest;
pub mod private;
mod repair;
mod space;
mod tree;

pub use chain::Chain;
pub use check::{EngineFiles, check};
pub use error::{Damage, Error};
pub use manifest::{Manifest, Mark};
pub use repair::{Repair, repair};
pub use space::{Measure, Need, Room, Space};
