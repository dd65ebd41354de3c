//! Steps of things, as they are read from the store.

use bytes::Bytes;
use store::{Error, Histories, Thing};

/// Steps that are read at once.
const AT_ONCE: usize = 256;

/// All steps of a thing from a number on.
pub(crate) async fn all(store: &dyn Histories, thing: Thing, from: u32) -> Result<Vec<Bytes>, Error> {
    let (mut all, mut next) = (Vec::new(), from);
    loop {
        let read = store.steps(thing, next, AT_ONCE).await?;
        let n = read.len();
        all.extend(read);
        if n < AT_ONCE {
            return Ok(all);
        }
        next += AT_ONCE as u32;
    }
}
