//! Searches of the audit log page by page, newest first, to the end.

use crate::{Audit, AuditQuery, Error, FoundEntries};
use model::{Nanos, WriterId, audit::Entry};
use std::{fmt, str::FromStr};

/// The page of a search (`query.limit`: its most entries) after a place, and where the next one begins; `None` on the last page.
///
/// # Errors
/// As [`Audit::search`].
pub async fn audit_page(
    log: &dyn Audit,
    query: AuditQuery,
    after: Option<AuditPlace>,
) -> Result<(FoundEntries, Option<AuditPlace>), Error> {
    let AuditQuery { from, to, limit: size, .. } = query;
    let from = after.map_or(from, |place| place.from);
    // of the last one's instant there may be more
    let to = after.map_or(to, |place| place.at.plus(1));
    let mut limit = size + 2;
    loop {
        let FoundEntries { mut entries, unreadable } = log.search(&AuditQuery { from, to, limit, ..query }).await?;
        let is_all = entries.len() + unreadable < limit;
        entries.drain(..after.map_or(0, |place| place.n_shown(&entries)));
        // what cannot be read, or was shown already, has taken the room of others
        if !is_all && entries.len() <= size {
            limit *= 2;
            continue;
        }
        let more = entries.len() > size;
        entries.truncate(size);
        let last = entries.last().filter(|_| more);
        let next = last.map(|last| AuditPlace::of(from, last));
        return Ok((FoundEntries { entries, unreadable }, next));
    }
}

/// The last entry of a page, and the begin of the time that was asked for: without a begin that is so long before now, and
/// now is later at the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPlace {
    from: Nanos,
    at: Nanos,
    writer: WriterId,
    sequence: u64,
}

impl AuditPlace {
    fn of(from: Nanos, last: &Entry) -> Self {
        Self { from, at: last.event.at, writer: last.writer, sequence: last.sequence }
    }

    /// How many of the entries up to its instant, newest first, were shown. None, when it is not there any more: twice is
    /// better than never.
    fn n_shown(&self, entries: &[Entry]) -> usize {
        let last = entries.iter().position(|one| (one.writer, one.sequence) == (self.writer, self.sequence));
        last.map_or(0, |last| last + 1)
    }
}

impl fmt::Display for AuditPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.from.0, self.at.0, self.writer.uuid(), self.sequence)
    }
}

impl FromStr for AuditPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(());
        let (from, at, writer, sequence) = (part()?, part()?, part()?, part()?);
        let number = |text: &str| text.parse::<i64>().map(Nanos).map_err(|_| ());
        let place = Self {
            from: number(from)?,
            at: number(at)?,
            writer: writer.parse().map_err(|_| ())?,
            sequence: sequence.parse().map_err(|_| ())?,
        };
        if parts.next().is_none() { Ok(place) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use bytes::Bytes;
    use model::{
        access::Purpose,
        audit::{Chain, Event, Outcome},
    };

    /// Entries, newest first; `None`: one that cannot be read, of the instant of the one before it.
    struct Log(Vec<Option<Entry>>);

    #[async_trait]
    impl Audit for Log {
        async fn append(&self, _: &[Entry]) -> Result<(), Error> {
            Ok(())
        }

        async fn entries(&self, _: WriterId, _: u64, _: usize) -> Result<Vec<(u64, Bytes)>, Error> {
            Ok(vec![])
        }

        async fn writers(&self) -> Result<Vec<WriterId>, Error> {
            Ok(vec![])
        }

        async fn search(&self, query: &AuditQuery) -> Result<FoundEntries, Error> {
            let (mut found, mut at) = (FoundEntries::default(), Nanos::MAX);
            for entry in &self.0 {
                at = entry.as_ref().map_or(at, |entry| entry.event.at);
                if at < query.from || query.to <= at || found.entries.len() + found.unreadable == query.limit {
                    continue;
                }
                match entry {
                    Some(entry) => found.entries.push(entry.clone()),
                    None => found.unreadable += 1,
                }
            }
            Ok(found)
        }
    }

    fn log(instants: &[i64]) -> Log {
        let mut chain = Chain::new(WriterId::from_bytes([1; 16]));
        let mut event = |at: &i64| {
            chain.append(Event {
                at: Nanos(*at),
                subject: None,
                patient: None,
                action: "login".into(),
                purpose: Purpose::Operations,
                outcome: Outcome::Allowed,
                detail: "".into(),
                request: [0; 16],
            })
        };
        Log(instants.iter().map(|at| Some(event(at))).collect())
    }

    /// Instants page by page.
    async fn pages(log: &Log, size: usize) -> Vec<Vec<i64>> {
        let query = AuditQuery { patient: None, from: Nanos(2), to: Nanos(100), limit: size };
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let (found, next) = audit_page(log, query, after).await.unwrap();
            pages.push(found.entries.iter().map(|entry| entry.event.at.0).collect());
            let Some(next) = next else { return pages };
            after = Some(next.to_string().parse().unwrap());
        }
    }

    #[tokio::test]
    async fn pages_join_also_where_many_entries_are_of_one_instant() {
        let all = log(&[9, 8, 7, 7, 7, 7, 7, 3, 2, 1]);
        assert_eq!(pages(&all, 2).await, [vec![9, 8], vec![7, 7], vec![7, 7], vec![7, 3], vec![2]]);
        assert_eq!(pages(&all, 9).await, [vec![9, 8, 7, 7, 7, 7, 7, 3, 2]], "a full page is the last one");
        assert_eq!(pages(&log(&[]), 2).await, [Vec::<i64>::new()]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_ends_no_list() {
        let mut damaged = log(&[9, 8, 7, 6, 5]);
        for _ in 0..10 {
            damaged.0.insert(2, None);
        }
        assert_eq!(pages(&damaged, 2).await, [vec![9, 8], vec![7, 6], vec![5]]);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = AuditPlace { from: Nanos(-1), at: Nanos(2), writer: WriterId::from_bytes([7; 16]), sequence: 3 };
        assert_eq!(good.to_string().parse(), Ok(good));
        for bad in ["x", "1.2.3.4", &format!("{good}.5"), &good.to_string()[1..good.to_string().len() - 2]] {
            assert!(bad.parse::<AuditPlace>().is_err(), "{bad}");
        }
    }
}
