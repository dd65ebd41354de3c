//! `wardline quarantine`: the operators' view of records that could not be stored.

use crate::{
    cli::Quarantine,
    operator::{self, Token, ask, calling, plain, shown},
};
use anyhow::bail;
use client::{Connection, Remote};
use proto::operations::v1::{
    GetQuarantinedRequest, ListQuarantinedRequest, QuarantinedRecord, ReplayQuarantinedRequest,
    quarantine_service_client::QuarantineServiceClient,
};
use std::io::Write;

/// Speaks to a node with one token.
pub struct QuarantineClient {
    client: QuarantineServiceClient<Connection>,
}

impl QuarantineClient {
    /// Connects with an administrator's token.
    pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Self> {
        Ok(Self { client: QuarantineServiceClient::new(operator::connect(remote, token).await?) })
    }

    /// All records, in the order of the log.
    pub async fn list(&mut self) -> anyhow::Result<Vec<QuarantinedRecord>> {
        Ok(ask!(self.list_quarantined(ListQuarantinedRequest {})).records)
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
                let found = ask!(self.get_quarantined(GetQuarantinedRequest { place: place.clone() }));
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
            let request = ReplayQuarantinedRequest { place: place.clone() };
            match calling!(Unbegun, self.replay_quarantined(request)) {
                Ok(_) => writeln!(out, "{place}  published again")?,
                Err(client::Error::Refused(status)) => {
                    failed += 1;
                    writeln!(out, "{place}  {}", status.message())?;
                }
                // the others would wait as long, and in vain
                Err(error) => return Err(plain(error).context(format!("{place} and those after it stay"))),
            }
        }
        if failed > 0 {
            bail!("{failed} of {} records stay in quarantine", places.len());
        }
        Ok(())
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
