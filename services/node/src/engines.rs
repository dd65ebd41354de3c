//! Opens the log and the store that the configuration names.

use crate::config::{self, Config, LogKind, StoreKind};
use anyhow::Context;
use async_trait::async_trait;
use bus::{
    Progress, Publish, Subscribe, embedded,
    kafka::{self, GroupProgress, KafkaConsumer, KafkaPublisher},
};
use model::{ClockTolerance, DeviceId, StreamId};
use std::{path::PathBuf, sync::Arc, time::Duration};
use store::cql;

/// The log, opened once; publishers and subscribers are made from it.
pub enum Log {
    /// The embedded log, in a folder of this process.
    Embedded(embedded::Log),
    /// A topic of Kafka, with the settings to reach it.
    Kafka(Box<kafka::Settings>),
}

impl Log {
    /// Opens the embedded log, or takes the settings for Kafka.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        match config.log.kind {
            LogKind::Embedded => {
                let dir = config.data.dir.join("log");
                let log = embedded::Log::open(&dir, readings_log(config));
                Ok(Self::Embedded(log.with_context(|| format!("embedded log in {}", dir.display()))?))
            }
            LogKind::Kafka => Ok(Self::Kafka(Box::new(kafka_settings(config)))),
        }
    }

    /// Opens a publisher of readings.
    pub fn publisher(&self) -> anyhow::Result<Arc<dyn Publish>> {
        Ok(match self {
            Self::Embedded(log) => Arc::new(log.clone()),
            Self::Kafka(settings) => {
                Arc::new(KafkaPublisher::open(settings.as_ref().clone()).context("Kafka producer")?)
            }
        })
    }

    /// The way in for notices: a topic of its own.
    pub fn notices(&self, config: &Config) -> anyhow::Result<Arc<dyn Publish>> {
        Ok(match self {
            Self::Embedded(_) => {
                let dir = config.data.dir.join("notices");
                let log = embedded::Log::open(&dir, notices_log(config));
                Arc::new(log.with_context(|| format!("embedded log in {}", dir.display()))?)
            }
            Self::Kafka(settings) => {
                Arc::new(KafkaPublisher::open(notices_settings(settings, config)).context("Kafka producer")?)
            }
        })
    }

    /// The topic, as quarantined records are named by it.
    pub fn topic(&self) -> &str {
        match self {
            Self::Embedded(_) => bus::READINGS,
            Self::Kafka(settings) => &settings.topic,
        }
    }

    /// How far a consumer group has come.
    pub fn progress_of(&self, group: &str) -> Arc<dyn Progress> {
        match self {
            Self::Embedded(log) => Arc::new(log.progress_of(group)),
            Self::Kafka(settings) => Arc::new(GroupProgress::new(settings.as_ref().clone(), group)),
        }
    }

    /// Opens a subscriber of readings as a member of a consumer group.
    pub fn subscriber(&self, group: &str) -> anyhow::Result<Box<dyn Subscribe>> {
        Ok(match self {
            Self::Embedded(log) => Box::new(log.subscribe(group).context("embedded log")?),
            Self::Kafka(settings) => {
                Box::new(KafkaConsumer::open(settings.as_ref().clone(), group).context("Kafka consumer")?)
            }
        })
    }
}

/// How the embedded log of readings is opened.
pub fn readings_log(config: &Config) -> embedded::Settings {
    let embedded = &config.log.embedded;
    embedded::Settings {
        partitions: embedded.partitions,
        max_in_flight_bytes: embedded.max_in_flight_mib << 20,
        retention_bytes: embedded.retention_gib << 30,
        retention_age: Duration::from_secs(embedded.retention_hours * 3_600),
        reserve_bytes: config.data.reserve_mib << 20,
        ..embedded::Settings::default()
    }
}

/// How the embedded log of notices is opened.
pub fn notices_log(config: &Config) -> embedded::Settings {
    embedded::Settings { partitions: 1, reserve_bytes: config.data.reserve_mib << 20, ..Default::default() }
}

/// The store, by its ways in and out.
#[derive(Clone)]
pub struct Store {
    /// Writes rows; for the writer.
    pub append: Arc<dyn store::Append>,
    /// For the writer, beside its rows.
    pub seal: Arc<dyn store::Seal>,
    /// Reads hours and rollups of patients; for queries.
    pub timeline: Arc<dyn store::Rollups>,
    /// How far streams have come; for ingest and the writer.
    pub positions: Arc<dyn store::Positions>,
    /// What sequences were used for; for ingest and the writer.
    pub identities: Arc<dyn store::Identities>,
    /// Records that were put aside; for the writer and operators.
    pub quarantine: Arc<dyn store::Quarantine>,
    /// The audit log; for every service that shows something.
    pub audit: Arc<dyn store::Audit>,
    /// For the registry, and for all who follow it.
    pub registry: Arc<dyn store::Registry>,
    /// Jobs, schedules, data sets and models; for analytics.
    pub histories: Arc<dyn store::Histories>,
    /// All of it, where it is in this process.
    pub embedded: Option<store::embedded::Store>,
}

impl Store {
    /// Opens the embedded store, or connects.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        match config.store.kind {
            StoreKind::Embedded => {
                let dir = config.data.dir.join("store");
                let space = disk::Space::new(&dir, config.data.reserve_mib << 20).hold();
                let store = store::embedded::Store::open_within(&dir, space);
                let store = store.with_context(|| format!("embedded store in {}", dir.display()))?;
                let store = store.with_tolerance(config.tolerance());
                Ok(Self { embedded: Some(store.clone()), ..Self::from(store) })
            }
            StoreKind::Cql => {
                let store = cql::Store::connect(&cql_settings(config)).await;
                Ok(Self::from(store.context("CQL store")?))
            }
        }
    }

    fn from<S>(store: S) -> Self
    where
        S: store::Append
            + store::Seal
            + store::Rollups
            + store::Positions
            + store::Identities
            + store::Quarantine
            + store::Audit
            + store::Registry
            + store::Histories
            + 'static,
    {
        let store = Arc::new(store);
        Self {
            append: store.clone(),
            seal: store.clone(),
            timeline: store.clone(),
            positions: store.clone(),
            identities: store.clone(),
            quarantine: store.clone(),
            audit: store.clone(),
            registry: store.clone(),
            histories: store,
            embedded: None,
        }
    }

    /// Why nothing can be written any more, if so: the process should end.
    pub fn failed(&self) -> Option<String> {
        self.embedded.as_ref().and_then(store::embedded::Store::failed)
    }
}

impl Config {
    /// How far a device's clock may be ahead of ours: one rule for the way in, the rollups and the way out.
    pub fn tolerance(&self) -> ClockTolerance {
        ClockTolerance::new(Duration::from_secs(self.ingest.max_clock_ahead_seconds))
    }
}

/// How long ingest waits for the store's answer: a device waits meanwhile, and the writer decides in any case.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What ingest asks the store: only where streams had come to, and what their sequences were used for.
pub struct KnownPositions(pub Arc<dyn store::Positions>, pub Arc<dyn store::Identities>);

#[async_trait]
impl ingest::Positions for KnownPositions {
    async fn stored(&self, device: DeviceId, stream: StreamId) -> ingest::Stored {
        let streams = [(device, stream)];
        let both = futures::future::try_join(self.0.position(device, stream), self.1.highest(&streams));
        let (through, highest) = answered(both).await.unwrap_or_default();
        ingest::Stored { through: through.unwrap_or(0), highest: highest.into_iter().flatten().max().unwrap_or(0) }
    }

    async fn digests(&self, device: DeviceId, stream: StreamId, sequence: u64) -> Vec<u64> {
        let sought = [store::Sought { device, stream, sequence, near: Vec::new() }];
        answered(self.1.digests(&sought)).await.unwrap_or_default().into_iter().flatten().collect()
    }

    async fn last(&self, device: DeviceId) -> Result<Option<ingest::Last>, ingest::Unknown> {
        let last = answered(self.0.last_stream(device)).await.ok_or(ingest::Unknown)?;
        Ok(last.map(|(stream, received_at)| ingest::Last { stream, received_at }))
    }
}

/// The store's answer, if it comes in time.
async fn answered<T>(asked: impl Future<Output = Result<T, store::Error>>) -> Option<T> {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "what is stored of a stream is not known");
        }
        Err(_) => tracing::warn!("what is stored of a stream is not known: the store did not answer in time"),
    }
    None
}

/// Makes topic, consumer groups (the writer's, and those of further services), keyspace and tables, or brings them up to date;
/// says what was done.
pub async fn migrate(config: &Config, more_groups: &[String]) -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    match config.log.kind {
        LogKind::Embedded => done.push("log: embedded, nothing to do".to_owned()),
        LogKind::Kafka => {
            let settings = kafka_settings(config);
            kafka::ensure_topic(&settings).await.context("Kafka topic")?;
            for group in [&config.writer.group].into_iter().chain(more_groups) {
                kafka::ensure_group(&settings, group).await.context("Kafka consumer group")?;
            }
            let notices = notices_settings(&settings, config);
            kafka::ensure_topic(&notices).await.context("Kafka topic of notices")?;
            let group = &config.writer.group;
            done.push(format!("log: topics {} and {} and group {group} are there", settings.topic, notices.topic));
        }
    }
    match config.store.kind {
        StoreKind::Embedded => done.push("store: embedded, nothing to do".to_owned()),
        StoreKind::Cql => {
            for applied in cql::migrate(&cql_settings(config)).await.context("CQL schema")? {
                let when = if applied.now { "applied now" } else { "was there" };
                done.push(format!("store: {:03} {} {when}", applied.version, applied.name));
            }
        }
    }
    Ok(done)
}

fn notices_settings(readings: &kafka::Settings, config: &Config) -> kafka::Settings {
    kafka::Settings { topic: config.log.kafka.notices_topic.clone(), ..readings.clone() }
}

fn kafka_settings(config: &Config) -> kafka::Settings {
    let from = &config.log.kafka;
    kafka::Settings {
        brokers: from.brokers.clone(),
        topic: from.topic.clone(),
        partitions: from.partitions,
        replication_factor: from.replication_factor,
        min_insync_replicas: from.min_insync_replicas,
        compression: match from.compression {
            config::Compression::Zstd => kafka::Compression::Zstd,
            config::Compression::Lz4 => kafka::Compression::Lz4,
            config::Compression::None => kafka::Compression::None,
        },
        security: kafka::Security {
            protocol: match from.security_protocol {
                config::Protocol::Plaintext => kafka::Protocol::Plaintext,
                config::Protocol::Ssl => kafka::Protocol::Ssl,
                config::Protocol::SaslPlaintext => kafka::Protocol::SaslPlaintext,
                config::Protocol::SaslSsl => kafka::Protocol::SaslSsl,
            },
            ca: path(&from.ca_file),
            certificate: path(&from.cert_file),
            key: path(&from.key_file),
            sasl_mechanism: text(&from.sasl_mechanism),
            username: text(&from.username),
            password: text(&from.password),
        },
        max_in_flight_bytes: from.max_in_flight_mib << 20,
        extra: from.extra.clone(),
        ..kafka::Settings::default()
    }
}

fn cql_settings(config: &Config) -> cql::Settings {
    let from = &config.store.cql;
    let identity = path(&from.cert_file).zip(path(&from.key_file));
    cql::Settings {
        nodes: from.nodes.clone(),
        keyspace: from.keyspace.clone(),
        replication: from.replication.clone(),
        consistency: match from.consistency {
            config::Consistency::LocalQuorum => cql::Consistency::LocalQuorum,
            config::Consistency::One => cql::Consistency::One,
        },
        datacenter: text(&from.datacenter),
        credentials: text(&from.username)
            .map(|username| cql::Credentials { username, password: from.password.clone() }),
        tls: path(&from.ca_file)
            .map(|ca| cql::Tls { ca, identity: identity.map(|(cert, key)| cql::TlsIdentity { cert, key }) }),
        buckets: from.buckets,
        tolerance: config.tolerance(),
        ..cql::Settings::default()
    }
}

fn text(setting: &str) -> Option<String> {
    (!setting.is_empty()).then(|| setting.to_owned())
}

fn path(setting: &str) -> Option<PathBuf> {
    text(setting).map(PathBuf::from)
}
