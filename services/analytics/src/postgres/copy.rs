//! One table in a transaction: made or compared, filled by COPY beside it, and brought up to date by key.

use super::{
    Gone,
    connect::failed,
    encode,
    table::{GONE_AT, Table},
};
use crate::{jobs::kinds::Failure, reporting, reports::Answer};
use bytes::Bytes;
use datafusion::arrow::record_batch::RecordBatch;
use futures::SinkExt;
use std::pin::pin;
use tokio::sync::mpsc;
use tokio_postgres::Transaction;

/// Bytes that are sent at once.
const PIECE_BYTES: usize = 256 << 10;
/// What a statement waits for is let go of, and so is a transaction in which nothing happens: of a worker that was paused.
const BOUNDS: &str = "SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '1h'; \
                      SET LOCAL idle_in_transaction_session_timeout = '15min'";

/// Rows as they come.
pub(super) enum Rows {
    /// Of a report.
    Report(Box<Answer>),
    /// Of a data set's files.
    Files(mpsc::Receiver<Result<RecordBatch, String>>),
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Rows that came.
    pub(super) copied: u64,
    /// Those that are new in the table.
    pub(super) inserted: u64,
    /// Those that are other than before.
    pub(super) updated: u64,
    /// Rows of the table that did not come, and were marked or deleted.
    pub(super) gone: u64,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        match self {
            Self::Report(answer) => answer.next().await.map_err(|error| reporting::failed(error.into())),
            Self::Files(batches) => batches.recv().await.transpose().map_err(Failure::Again),
        }
    }
}

/// Bounds what the transaction may wait for.
pub(super) async fn bound(transaction: &Transaction<'_>) -> Result<(), Failure> {
    transaction.batch_execute(BOUNDS).await.map_err(failed)
}

/// Copies rows into the table.
pub(super) async fn copy(
    transaction: &Transaction<'_>,
    table: &Table,
    rows: Rows,
    gone: Gone,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Counts, Failure> {
    ready(transaction, table, gone).await?;
    transaction.batch_execute(&table.create_staging()).await.map_err(failed)?;
    let copied = send(transaction, table, rows, progress).await?;
    transaction.batch_execute(&table.analyze()).await.map_err(failed)?;
    let twice = transaction.query_one(&table.duplicates(), &[]).await.map_err(failed)?.get::<_, i64>(0);
    if twice > 0 {
        let key = table.key.join(", ");
        return Err(Failure::Final(format!("{}: {twice} keys ({key}) occur more than once", table.shown())));
    }
    let done = transaction.query_one(&table.upsert(gone), &[]).await.map_err(failed)?;
    let count = |at| u64::try_from(done.get::<_, i64>(at)).unwrap_or_default();
    let (inserted, updated) = (count(0), count(1));
    let gone = match table.gone(gone).filter(|_| copied > 0) {
        // nothing at all is no reason to forget everything
        None => 0,
        Some(statement) => transaction.execute(&statement, &[]).await.map_err(failed)?,
    };
    Ok(Counts { copied, inserted, updated, gone })
}

/// Makes the table, or compares the one that is there; nobody else copies into it until the transaction ends.
pub(super) async fn ready(transaction: &Transaction<'_>, table: &Table, gone: Gone) -> Result<(), Failure> {
    let name = table.quoted();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('wardline ' || $1, 0))";
    transaction.execute(lock, &[&name]).await.map_err(failed)?;
    let columns = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a \
                   JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                   WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let there = transaction.query(columns, &[&table.schema, &table.name]).await.map_err(failed)?;
    let there: Vec<(String, String)> = there.iter().map(|row| (row.get(0), row.get(1))).collect();
    match there.is_empty() {
        true => transaction.batch_execute(&table.create()).await.map_err(failed)?,
        false => {
            fits(table, &there)?;
            has_key(transaction, table).await?;
        }
    }
    if gone == Gone::Mark && !there.iter().any(|(name, _)| name == GONE_AT) {
        transaction.batch_execute(&table.add_gone_at()).await.map_err(failed)?;
    }
    Ok(())
}

fn fits(table: &Table, there: &[(String, String)]) -> Result<(), Failure> {
    let Some(difference) = table.difference(there) else { return Ok(()) };
    let shown = table.shown();
    let text = format!("{shown} has other columns: {difference}; rename it, and the next run makes a new one");
    Err(Failure::Final(text))
}

/// Whether the table that is there has the unique key that rows are compared by.
async fn has_key(transaction: &Transaction<'_>, table: &Table) -> Result<(), Failure> {
    let asked = "SELECT count(*) FROM pg_index AS i WHERE i.indrelid = $1::text::regclass AND i.indisunique AND i.indisvalid \
                 AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnatts = i.indnkeyatts \
                 AND (i.indisprimary OR i.indnullsnotdistinct) \
                 AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") FROM pg_attribute AS a \
                      WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) = $2";
    let mut key = table.key.clone();
    key.sort_unstable();
    let found = transaction.query_one(asked, &[&table.quoted(), &key]).await.map_err(failed)?.get::<_, i64>(0);
    if found > 0 {
        return Ok(());
    }
    let (shown, key) = (table.shown(), table.key.join(", "));
    Err(Failure::Final(format!("{shown} has no UNIQUE NULLS NOT DISTINCT ({key}): add it, or rename the table")))
}

/// Sends the rows to the table beside; how many there were.
async fn send(
    transaction: &Transaction<'_>,
    table: &Table,
    mut rows: Rows,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<u64, Failure> {
    let mut sink = pin!(transaction.copy_in::<_, Bytes>(&table.copy()).await.map_err(failed)?);
    let (mut piece, mut n_rows) = (String::new(), 0);
    while let Some(batch) = rows.next().await? {
        for row in 0..batch.num_rows() {
            if !encode::row(&batch, row, &mut piece) {
                let shown = table.shown();
                return Err(Failure::Final(format!("{shown}: a text has a NUL, which PostgreSQL does not keep")));
            }
            if piece.len() >= PIECE_BYTES {
                sink.send(std::mem::take(&mut piece).into()).await.map_err(failed)?;
            }
        }
        n_rows += batch.num_rows() as u64;
        progress(n_rows);
    }
    if !piece.is_empty() {
        sink.send(piece.into()).await.map_err(failed)?;
    }
    sink.as_mut().finish().await.map_err(failed)
}
