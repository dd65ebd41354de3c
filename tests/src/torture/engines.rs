//! What a node stands on: the embedded engines, or Kafka and a CQL server that can be killed too.

use super::binary;
use anyhow::Context;
use std::path::PathBuf;
use tokio::process::Command;
use uuid::Uuid;

/// Kind of log and store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Embedded log and store.
    Embedded,
    /// Kafka and a CQL server, as `deploy/engines/engines` starts them.
    Live,
}

/// An engine that can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Apache Kafka, the log.
    Kafka,
    /// Apache Cassandra, the store.
    Cassandra,
}

/// The engines of one run: topic, group and keyspace are its own.
#[derive(Debug, Clone)]
pub struct Engines {
    kind: Kind,
    /// Address of Kafka, as `host:port`.
    pub kafka: String,
    /// `host:port` of the CQL server.
    pub cql: String,
    /// Topic, and part of the groups' names.
    pub topic: String,
    keyspace: String,
}

impl Engines {
    /// Kafka at `WARDLINE_KAFKA`, the CQL server at `WARDLINE_CQL`; by default where the script puts them.
    pub fn new(kind: Kind) -> Self {
        let at = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let id = Uuid::new_v4().simple().to_string();
        Self {
            kind,
            kafka: at("WARDLINE_KAFKA", "127.0.0.1:19092"),
            cql: at("WARDLINE_CQL", "127.0.0.1:19042"),
            topic: format!("torture-{id}"),
            keyspace: format!("torture_{id}"),
        }
    }

    /// Kind of log and store.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name of a consumer group: known to the whole Kafka cluster, so it is the run's own.
    pub fn group(&self, name: &str) -> String {
        format!("{name}-{}", self.topic)
    }

    /// Settings that lead to them.
    pub fn settings(&self) -> Vec<String> {
        if self.kind == Kind::Embedded {
            return Vec::new();
        }
        vec![
            "log.kind=kafka".to_owned(),
            format!("log.kafka.brokers={}", self.kafka),
            format!("log.kafka.topic={}", self.topic),
            "log.kafka.replication_factor=1".to_owned(),
            "log.kafka.min_insync_replicas=1".to_owned(),
            "store.kind=cql".to_owned(),
            format!("store.cql.nodes=[\"{}\"]", self.cql),
            format!("store.cql.keyspace={}", self.keyspace),
            "store.cql.consistency=one".to_owned(),
        ]
    }

    /// Kills the process (SIGKILL).
    pub async fn kill(&self, engine: Engine) -> anyhow::Result<()> {
        script("kill", engine).await
    }

    /// Starts it with its data, and waits until it answers.
    pub async fn start(&self, engine: Engine) -> anyhow::Result<()> {
        script("start", engine).await
    }
}

/// The script finds the engines by `WARDLINE_ENGINES_DATA`, as whoever started them.
async fn script(command: &str, engine: Engine) -> anyhow::Result<()> {
    let path: PathBuf = binary::workspace().join("deploy/engines/engines");
    let engine = match engine {
        Engine::Kafka => "kafka",
        Engine::Cassandra => "cassandra",
    };
    let done = Command::new(&path).args([command, engine]).output().await;
    let done = done.with_context(|| format!("{}", path.display()))?;
    anyhow::ensure!(done.status.success(), "engines {command} {engine}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
