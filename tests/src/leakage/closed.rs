//! No record, no answer: what leaves when the audit log takes nothing.

use super::{
    oracle::{self, Rule},
    question::{Asker, Kind, Question, Who},
    readings,
    served::{self, Served},
    world::{MIDDLE, World},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use model::{WriterId, audit::Entry};
use rand::{SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc};
use store::{Append, Audit, AuditQuery, Error, FoundEntries, embedded::Store};
use tonic::Code;
use tonic_types::StatusExt;

/// An audit log that takes nothing.
struct ClosedLog {
    /// And does not say so.
    hangs: bool,
}

#[async_trait]
impl Audit for ClosedLog {
    async fn append(&self, _: &[Entry]) -> Result<(), Error> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(Error::Unavailable("as planned".into()))
    }

    async fn entries(&self, _: WriterId, _: u64, _: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        Ok(Vec::new())
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        Ok(Vec::new())
    }

    async fn search(&self, _: &AuditQuery) -> Result<FoundEntries, Error> {
        Ok(FoundEntries::default())
    }
}

/// Everybody asks for every patient, by every rpc, at once. What was refused, and how often: of those who may see the
/// patient, and of all others.
///
/// # Errors
/// Anything was shown.
pub async fn ask_all(seed: u64, hangs: bool) -> anyhow::Result<[BTreeMap<String, u64>; 2]> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path().join("store"))?;
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::random(&mut random);
    let (_, rows) = readings::random(&world, &mut 0, &mut random);
    Append::append(&store, &rows).await?;
    let folder = dir.path().join("directory");
    std::fs::create_dir_all(&folder)?;
    let mut served = Served::open(Arc::new(store), Arc::new(ClosedLog { hangs }), folder)?;
    served.know(&world)?;
    served::turn(MIDDLE);
    let mut cases = Vec::new();
    for person in 0..world.people.len() {
        for (number, patient) in world.patients.iter().enumerate() {
            for kind in Kind::ALL {
                let asker = Asker { who: Who::Person(person), leaves: None, ends: i64::MAX, purpose: None };
                let question = Question { kind, ..Question::all_of(patient.id) };
                let is_open = matches!(oracle::rule(&world, &asker, &question, Some(number), MIDDLE), Rule::Open(_));
                cases.push((asker, question, is_open));
            }
        }
    }
    let answers = join_all(cases.iter().map(|(asker, question, _)| served.ask(&world, asker, question))).await;
    let mut refused = [BTreeMap::new(), BTreeMap::new()];
    for ((_, question, is_open), answer) in cases.iter().zip(answers) {
        let Err(status) = answer else { anyhow::bail!("{question:?} is answered without a record") };
        anyhow::ensure!(status.code() == Code::Unavailable, "{question:?}: {status:?}");
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        *refused[usize::from(!is_open)].entry(reason).or_default() += 1;
    }
    Ok(refused)
}
