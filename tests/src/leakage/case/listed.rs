//! Whom somebody lists: exactly those whom the rules open, in pages, and each of them is in the audit log.

use super::{Asker, Question, Rule, Run, one, oracle};
use crate::leakage::world::WARDS;
use model::audit::Outcome;
use rand::Rng;
use std::collections::BTreeSet;
use tonic::Code;
use uuid::Uuid;

impl Run {
    /// Somebody lists all patients, or those of a ward.
    pub(super) async fn listed(&mut self) -> anyhow::Result<()> {
        let (asker, _) = self.meeting();
        let ward = self.random.random_bool(0.3).then(|| *one(&WARDS, &mut self.random));
        let size = self.random.random_range(0..4);
        let answer = self.served.list(&self.world, &asker, ward.unwrap_or_default(), size).await;
        let written = self.served.written().await?;
        let question = Question::all_of(Uuid::nil());
        let rule = oracle::rule(&self.world, &asker, &question, None, self.now);
        let (open, refused): (BTreeSet<_>, _) = match rule {
            Rule::Expired => (BTreeSet::new(), Some(Code::Unauthenticated)),
            Rule::NotPermitted => (BTreeSet::new(), Some(Code::PermissionDenied)),
            Rule::Hidden | Rule::Open(_) => (self.open_to(&asker, ward), None),
        };
        match (&answer, refused) {
            (Err(status), Some(code)) if status.code() == code => {}
            (Ok(listed), None) if listed.iter().eq(&open) => {
                let seen: BTreeSet<_> =
                    written.iter().filter_map(|entry| entry.event.patient).map(|p| p.uuid()).collect();
                let is_right = written.len() == listed.len()
                    && seen == open
                    && written.iter().all(|entry| entry.event.outcome == Outcome::Allowed);
                if !is_right {
                    self.differs(&asker, &question, format!("lists {listed:?}, and {seen:?} are in the audit log"));
                }
            }
            _ => {
                let shown = answer.as_ref().map_or(&[][..], Vec::as_slice);
                self.report.leaks += shown.iter().filter(|id| !open.contains(id)).count() as u64;
                self.differs(
                    &asker,
                    &question,
                    format!("lists {answer:?} of {ward:?} instead of {open:?}, {refused:?}"),
                );
            }
        }
        self.note(&written);
        Ok(())
    }

    /// The patients of a ward, or all, whom the rules open.
    fn open_to(&self, asker: &Asker, ward: Option<&str>) -> BTreeSet<Uuid> {
        let is_open = |(number, id): &(usize, Uuid)| {
            matches!(oracle::rule(&self.world, asker, &Question::all_of(*id), Some(*number), self.now), Rule::Open(_))
        };
        let patients = self.world.patients.iter().enumerate();
        let there = patients.filter(|(_, patient)| ward.is_none() || patient.ward == ward);
        there.map(|(number, patient)| (number, patient.id)).filter(is_open).map(|(_, id)| id).collect()
    }
}
