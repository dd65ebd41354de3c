//! `wardline quarantine`: the operators' view of records that could not be stored.

use crate::cli::Quarantine;
use anyhow::{Context, bail};
use proto::{
    convert,
    operations::v1::{
        GetQuarantinedRequest, ListQuarantinedRequest, QuarantinedRecord, ReplayQuarantinedRequest,
        quarantine_service_client::QuarantineServiceClient,
    },
    prost_types::Timestamp,
};
use std::io::Write;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// Speaks to a node with one token.
pub struct Desk {
    client: QuarantineServiceClient<Channel>,
    token: MetadataValue<Ascii>,
}

impl Desk {
    /// Connects to `endpoint` with an administrator's token.
    pub async fn connect(endpoint: &str, token: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?.connect().await;
        let channel = channel.with_context(|| format!("no node answers at {endpoint}"))?;
        let token = format!("Bearer {token}").parse().context("the token has characters that no token has")?;
        Ok(Self { client: QuarantineServiceClient::new(channel), token })
    }

    /// All records, in the order of the log.
    pub async fn list(&mut self) -> anyhow::Result<Vec<QuarantinedRecord>> {
        let request = self.request(ListQuarantinedRequest {});
        Ok(self.client.list_quarantined(request).await.map_err(plain)?.into_inner().records)
    }

    /// Does what the command line says; what it finds goes to `out`.
    pub async fn act(&mut self, action: &Quarantine, out: &mut impl Write) -> anyhow::Result<()> {
        match action {
            Quarantine::List { json } => {
                let records = self.list().await?;
                if *json {
                    let records: Vec<_> = records.iter().map(as_json).collect();
                    serde_json::to_writer_pretty(&mut *out, &records)?;
                    writeln!(out)?;
                    return Ok(());
                }
                writeln!(out, "{} records", records.len())?;
                for record in records {
                    let replayed = shown(record.replayed_at).map_or("no".to_owned(), |at| format!("at {at}"));
                    let aside = shown(record.put_aside_at).unwrap_or_default();
                    let QuarantinedRecord { place, bytes, reason, .. } = record;
                    writeln!(out, "{place}  put aside {aside}  {bytes} bytes  replayed: {replayed}  {reason}")?;
                }
            }
            Quarantine::Show { place } => {
                let request = self.request(GetQuarantinedRequest { place: place.clone() });
                let found = self.client.get_quarantined(request).await.map_err(plain)?.into_inner();
                if let Some(record) = &found.record {
                    writeln!(out, "{}", serde_json::to_string_pretty(&as_json(record))?)?;
                }
                let hexadecimal: String = found.payload.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(out, "{hexadecimal}")?;
            }
            Quarantine::Replay { places } => return self.replay(places, out).await,
        }
        Ok(())
    }

    async fn replay(&mut self, places: &[String], out: &mut impl Write) -> anyhow::Result<()> {
        let places = match places {
            [] => self.list().await?.into_iter().filter(|r| r.replayed_at.is_none()).map(|r| r.place).collect(),
            places => places.to_vec(),
        };
        let mut failed = 0;
        for place in &places {
            let request = self.request(ReplayQuarantinedRequest { place: place.clone() });
            match self.client.replay_quarantined(request).await {
                Ok(_) => writeln!(out, "{place}  published again")?,
                Err(status) => {
                    failed += 1;
                    writeln!(out, "{place}  {}", status.message())?;
                }
            }
        }
        if failed > 0 {
            bail!("{failed} of {} records stay in quarantine", places.len());
        }
        Ok(())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }
}

fn as_json(record: &QuarantinedRecord) -> serde_json::Value {
    serde_json::json!({
        "place": record.place,
        "put_aside_at": shown(record.put_aside_at),
        "reason": record.reason,
        "bytes": record.bytes,
        "replayed_at": shown(record.replayed_at),
    })
}

fn shown(at: Option<Timestamp>) -> Option<String> {
    let nanos = convert::nanos(&at?)?;
    jiff::Timestamp::from_nanosecond(i128::from(nanos.0)).ok().map(|at| at.to_string())
}

fn plain(status: Status) -> anyhow::Error {
    anyhow::anyhow!("{} ({:?})", status.message(), status.code())
}
