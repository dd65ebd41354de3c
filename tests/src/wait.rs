//! Waiting for facts: a condition is asked for until it holds, and the last thing seen is said when it does not.

use std::{fmt::Debug, time::Duration};
use tokio::time::Instant;

/// How long a fact may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(20);

/// Asks until `holds` is true of the answer; fails with the last answer.
pub async fn until<T: Debug, F: Future<Output = anyhow::Result<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
    holds: impl Fn(&T) -> bool,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        match answer {
            Ok(answer) if holds(&answer) => return Ok(answer),
            answer if Instant::now() > deadline => anyhow::bail!("waited for {what}; last seen: {answer:?}"),
            _ => tokio::time::sleep(EVERY).await,
        }
    }
}
