//! A node runs the services that it is given, and ends with the first task that fails.

use crate::readiness::config;
use node::{
    run::Node,
    services,
    wiring::spawn,
    wiring::{Need, Service},
};
use std::time::Duration;
use tests::torture::child::free_address;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// One that no other program knows, with a task that panics.
const PANICS: Service = Service {
    name: "panics",
    about: "for a test",
    needs: &[Need::Store],
    metrics: &[],
    check: None,
    wire: |wiring| {
        spawn(wiring.tasks, async { panic!("on purpose") });
        Ok(())
    },
};

#[tokio::test]
async fn a_task_that_panics_ends_the_node_whichever_service_it_is_of() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    for services in [&[PANICS][..], &[services::REGISTRY, PANICS]] {
        let config = config(dir.path(), free_address()?, &[])?;
        let node = Node::start(&config, services, CancellationToken::new()).await?;
        let ended = timeout(Duration::from_secs(10), node.wait()).await?;
        assert!(ended.is_err_and(|error| format!("{error:#}").contains("a task panicked")));
    }
    Ok(())
}
