//! `wardline quarantine`: the operators' view of records that could not be stored.

use crate::{
    cli::Quarantine,
    operator::{self, Token, ask, calling, on_one_line, plain, shown},
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
                    let QuarantinedRecord { log_position, bytes, reason, .. } = &record;
                    let reason = on_one_line(reason);
                    writeln!(out, "{log_position}  put aside {aside}  {bytes} bytes  replayed: {replayed}  {reason}")?;
                }
            }
            Quarantine::Show { log_position } => {
                let found = ask!(self.get_quarantined(GetQuarantinedRequest { log_position: log_position.clone() }));
                if let Some(record) = &found.record {
                    writeln!(out, "{}", serde_json::to_string_pretty(&as_json(record))?)?;
                }
                let hexadecimal: String = found.payload.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(out, "{hexadecimal}")?;
            }
            Quarantine::Replay { log_positions } => return self.replay(log_positions, out).await,
        }
        Ok(())
    }

    async fn replay(&mut self, log_positions: &[String], out: &mut impl Write) -> anyhow::Result<()> {
        let log_positions = match log_positions {
            [] => self.list().await?.into_iter().filter(|r| r.replayed_at.is_none()).map(|r| r.log_position).collect(),
            log_positions => log_positions.to_vec(),
        };
        let mut failed = 0;
        for log_position in &log_positions {
            let request = ReplayQuarantinedRequest { log_position: log_position.clone() };
            match calling!(Unbegun, self.replay_quarantined(request)) {
                Ok(_) => writeln!(out, "{log_position}  published again")?,
                Err(client::Error::Refused(status)) => {
                    failed += 1;
                    writeln!(out, "{log_position}  {}", on_one_line(status.message()))?;
                }
                // the others would wait as long, and in vain
                Err(error) => return Err(plain(error).context(format!("{log_position} and those after it stay"))),
            }
        }
        if failed > 0 {
            bail!("{failed} of {} records stay in quarantine", log_positions.len());
        }
        Ok(())
    }
}

fn as_json(record: &QuarantinedRecord) -> serde_json::Value {
    serde_json::json!({
        "log_position": record.log_position,
        "put_aside_at": shown(record.put_aside_at),
        "reason": record.reason,
        "bytes": record.bytes,
        "replayed_at": shown(record.replayed_at),
    })
}
