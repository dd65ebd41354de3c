//! `wardline relations`, `consents` and `emergencies`: what ties people to patients, and what patients do not want.

use super::{
    RegistryCli,
    cli::{Consents, Emergencies, Relations, Why},
    rows::Rows,
};
use crate::operator::{Id, ask, ask_all, change, shown};
use anyhow::Context;
use proto::registry::v1::{
    Consent, CreateConsentRequest, CreateRelationRequest, EndRelationRequest, ExplainAccessRequest,
    ListBreakGlassRequest, ListConsentsRequest, ListNoticesRequest, ListRelationsRequest, OpenBreakGlassRequest,
    Relation, ReviewBreakGlassRequest, RevokeConsentRequest,
};
use std::io::Write;

impl RegistryCli {
    /// Runs a command of `wardline relations` and prints the result.
    pub async fn relations(&mut self, what: &Relations, out: &mut impl Write) -> anyhow::Result<()> {
        let found = match what {
            Relations::List { user, patient } => {
                let text = |id: &Option<Id>| id.map(|id| id.to_string()).unwrap_or_default();
                let (user_id, patient_id) = (text(user), text(patient));
                ask_all!(
                    self.list_relations(ListRelationsRequest {
                        user_id: user_id.clone(),
                        patient_id: patient_id.clone()
                    })
                    .relations
                )
            }
            Relations::Create { user, kind, patient, ward, study } => {
                let relation = Relation {
                    user_id: user.to_string(),
                    kind: kind.clone(),
                    patient_id: patient.map(|patient| patient.to_string()).unwrap_or_default(),
                    ward: ward.clone(),
                    study: study.clone(),
                    ..Relation::default()
                };
                change!(self.create_relation(CreateRelationRequest { relation: Some(relation) }))
                    .relation
                    .into_iter()
                    .collect()
            }
            Relations::End { relation } => {
                let request = EndRelationRequest { relation_id: relation.to_string() };
                change!(self.end_relation(request)).relation.into_iter().collect()
            }
        };
        let mut rows = Rows::new(&["relation", "user", "kind", "patient", "ward", "study", "from", "to"]);
        for one in found {
            let [from, to] = [one.start_time, one.end_time].map(|at| shown(at).unwrap_or_default());
            rows.push([&one.relation_id, &one.user_id, &one.kind, &one.patient_id, &one.ward, &one.study, &from, &to]);
        }
        rows.print(self.format, out)
    }

    /// Runs a command of `wardline consents` and prints the result.
    pub async fn consents(&mut self, what: &Consents, out: &mut impl Write) -> anyhow::Result<()> {
        let found = match what {
            Consents::List { patient } => {
                ask_all!(self.list_consents(ListConsentsRequest { patient_id: patient.to_string() }).consents)
            }
            Consents::Create { patient, bars, purpose } => {
                let (bars, purpose) = (bars.clone(), purpose.clone());
                let consent = Consent { patient_id: patient.to_string(), bars, purpose, ..Consent::default() };
                change!(self.create_consent(CreateConsentRequest { consent: Some(consent) }))
                    .consent
                    .into_iter()
                    .collect()
            }
            Consents::Revoke { patient, consent } => {
                let (patient_id, consent_id) = (patient.to_string(), consent.to_string());
                let request = RevokeConsentRequest { patient_id, consent_id };
                change!(self.revoke_consent(request)).consent.into_iter().collect()
            }
        };
        let mut rows = Rows::new(&["consent", "patient", "bars", "purpose", "from", "to"]);
        for one in found {
            let [from, to] = [one.start_time, one.end_time].map(|at| shown(at).unwrap_or_default());
            rows.push([&one.consent_id, &one.patient_id, &one.bars, &one.purpose, &from, &to]);
        }
        rows.print(self.format, out)
    }

    /// Runs a command of `wardline emergencies` and prints the result.
    pub async fn emergencies(&mut self, what: &Emergencies, out: &mut impl Write) -> anyhow::Result<()> {
        let found = match what {
            Emergencies::List { unreviewed } => {
                ask_all!(self.list_break_glass(ListBreakGlassRequest { unreviewed: *unreviewed }).break_glass)
            }
            Emergencies::Notices => {
                let (patient_id, start_time) = (String::new, None);
                ask_all!(
                    self.list_notices(ListNoticesRequest { patient_id: patient_id(), start_time: start_time }).notices
                )
            }
            Emergencies::Open { patient, reason, text, minutes } => {
                let (patient_id, minutes) = (patient.to_string(), i32::from(*minutes));
                let (reason, text) = (reason.clone(), text.clone());
                let request = OpenBreakGlassRequest { patient_id, reason, text, minutes };
                change!(self.open_break_glass(request)).break_glass.into_iter().collect()
            }
            Emergencies::Review { emergency, outcome, text } => {
                let (break_glass_id, outcome, text) = (emergency.to_string(), outcome.clone(), text.clone());
                let request = ReviewBreakGlassRequest { break_glass_id, outcome, text };
                change!(self.review_break_glass(request)).break_glass.into_iter().collect()
            }
        };
        let columns = &["emergency", "user", "patient", "reason", "text", "from", "to", "told", "outcome", "reviewer"];
        let mut rows = Rows::new(columns);
        for one in found {
            let [from, to, told] =
                [one.start_time, one.end_time, one.notified_at].map(|at| shown(at).unwrap_or_default());
            rows.push([
                &one.break_glass_id,
                &one.user_id,
                &one.patient_id,
                &one.reason,
                &one.text,
                &from,
                &to,
                &told,
                &one.outcome,
                &one.reviewed_by,
            ]);
        }
        rows.print(self.format, out)
    }

    /// Runs `wardline explain` and prints why access is permitted or denied.
    pub async fn explain(&mut self, why: &Why, out: &mut impl Write) -> anyhow::Result<()> {
        let Why { user, patient, action, purpose } = why;
        let (user_id, patient_id) = (user.to_string(), patient.to_string());
        let (action, purpose) = (action.clone(), purpose.clone());
        let answer = ask!(self.explain_access(ExplainAccessRequest { user_id, patient_id, action, purpose }));
        let mut rows = Rows::new(&["step"]);
        answer.steps.iter().for_each(|step| rows.push([step]));
        rows.print(self.format, out).context("output")
    }
}
