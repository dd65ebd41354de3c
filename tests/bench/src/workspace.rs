//! Where a benchmark's data are: a folder of its own, and for the live engines a topic and a keyspace of its own. All
//! of it goes afterwards.

use super::Engines;
use anyhow::Context;
use node::config::{Config, Sources};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use scylla::client::session_builder::SessionBuilder;
use std::{fs, path::PathBuf, time::Duration};
use tokio::net::TcpStream;
use uuid::Uuid;
use wardline::{demo, settings};

/// An engine that is there answers at once.
const REACHED_WITHIN: Duration = Duration::from_secs(5);
/// Partitions of topic and embedded log: the defaults.
const PARTITIONS: u16 = 8;
const BUCKETS: i16 = 64;

/// What the command line says.
pub(super) struct Where {
    pub(super) dir: Option<PathBuf>,
    pub(super) kafka: String,
    pub(super) cql: String,
}

/// A place that nobody else uses.
pub(super) struct Workspace {
    pub(super) dir: PathBuf,
    /// `section.key=value`, for this process and for its children.
    pub(super) flags: Vec<String>,
    pub(super) config: Config,
    topics: Vec<String>,
    keyspaces: Vec<String>,
}

impl Workspace {
    /// Makes folder, topic and keyspace. Log and store may be of different kinds.
    pub(super) async fn make(at: &Where, log: Engines, store: Engines) -> anyhow::Result<Self> {
        let id = Uuid::new_v4().simple().to_string();
        let name = format!("bench_{}", &id[..12]);
        let parent = at.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = parent.join(format!("wardline-{name}"));
        fs::create_dir_all(&dir).with_context(|| format!("folder {}", dir.display()))?;
        let mut flags = vec![
            format!("data.dir={}", dir.display()),
            "telemetry.level=warn".to_owned(),
            format!("log.embedded.partitions={PARTITIONS}"),
            // measured for minutes: no connection ends of itself, none is over the limit
            "server.connection_age_minutes=0".to_owned(),
            "server.max_streams=2048".to_owned(),
            "server.max_connections_per_address=0".to_owned(),
        ];
        // a few devices and readers do what thousands would
        let unlimited = ["reads", "batches", "device_readings", "device_bytes"];
        flags.extend(unlimited.map(|what| format!("quotas.{what}_a_second=0")));
        let (mut topics, mut keyspaces) = (Vec::new(), Vec::new());
        if log == Engines::Live {
            reach("Kafka", &at.kafka).await?;
            flags.push("log.kind=kafka".to_owned());
            flags.push(format!("log.kafka.brokers={}", at.kafka));
            flags.push(format!("log.kafka.topic={name}"));
            flags.push(format!("log.kafka.partitions={PARTITIONS}"));
            flags.push("log.kafka.replication_factor=1".to_owned());
            flags.push("log.kafka.min_insync_replicas=1".to_owned());
            flags.push(format!("writer.group={name}"));
            topics.push(name.clone());
        }
        if store == Engines::Live {
            reach("CQL server", &at.cql).await?;
            flags.push("store.kind=cql".to_owned());
            flags.push(format!("store.cql.nodes=[\"{}\"]", at.cql));
            flags.push(format!("store.cql.keyspace={name}"));
            flags.push(format!("store.cql.buckets={BUCKETS}"));
            keyspaces.push(name);
        }
        let config = Config::load(&Sources { flags: flags.clone(), ..Sources::default() })?;
        let place = Self { dir, flags, config, topics, keyspaces };
        demo::people(&place.config.directory_dir())?;
        settings::migrate(&place.config).await?;
        Ok(place)
    }

    /// The same place with settings replaced, to be used from this process; its topic, group and keyspace are made.
    pub(super) async fn beside(&mut self, flags: &[String]) -> anyhow::Result<Config> {
        let flags = self.flags.iter().chain(flags).cloned().collect();
        let config = Config::load(&Sources { flags, ..Sources::default() })?;
        settings::migrate(&config).await?;
        if !self.topics.is_empty() && !self.topics.contains(&config.log.kafka.topic) {
            self.topics.push(config.log.kafka.topic.clone());
        }
        if !self.keyspaces.is_empty() && !self.keyspaces.contains(&config.store.cql.keyspace) {
            self.keyspaces.push(config.store.cql.keyspace.clone());
        }
        Ok(config)
    }

    /// Deletes what was made. What cannot be deleted is said and left.
    pub(super) async fn remove(&self) {
        if let Err(error) = self.drop_topics().await {
            tracing::warn!(error = format!("{error:#}"), topics = ?self.topics, "topics were left");
        }
        if let Err(error) = self.drop_keyspaces().await {
            tracing::warn!(error = format!("{error:#}"), keyspaces = ?self.keyspaces, "keyspaces were left");
        }
        // and the folder, when this is dropped
    }

    async fn drop_topics(&self) -> anyhow::Result<()> {
        if self.topics.is_empty() {
            return Ok(());
        }
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.config.log.kafka.brokers);
        let client: AdminClient<DefaultClientContext> = client.create()?;
        let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(REACHED_WITHIN));
        for deleted in client.delete_topics(&names, &options).await? {
            deleted.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    async fn drop_keyspaces(&self) -> anyhow::Result<()> {
        if self.keyspaces.is_empty() {
            return Ok(());
        }
        let session = SessionBuilder::new().known_nodes(&self.config.store.cql.nodes).build().await?;
        for keyspace in &self.keyspaces {
            session.query_unpaged(format!("DROP KEYSPACE {keyspace}"), ()).await?;
        }
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "the benchmark's folder was left");
        }
    }
}

/// One clear line instead of a driver's time-out.
async fn reach(what: &str, address: &str) -> anyhow::Result<()> {
    let reached = tokio::time::timeout(REACHED_WITHIN, TcpStream::connect(address)).await;
    let reached = reached.map_err(anyhow::Error::from).and_then(|connected| connected.map_err(Into::into));
    reached.with_context(|| format!("no {what} at {address}; start it with deploy/engines/engines up"))?;
    Ok(())
}
