//! `wardline relations`, `consents` and `emergencies`: relations of people to patients, and what patients do not want.

use super::{RegistryCli, rows::Rows};
use crate::operator::{Id, ask, ask_all, change, shown};
use anyhow::Context;
use clap::{Args, Subcommand};
use proto::registry::v1::{
    Consent, CreateConsentRequest, CreateRelationRequest, EndRelationRequest, ExplainAccessRequest,
    ListBreakGlassRequest, ListConsentsRequest, ListNoticesRequest, ListRelationsRequest, OpenBreakGlassRequest,
    Relation, ReviewBreakGlassRequest, RevokeConsentRequest,
};
use std::io::Write;

/// What to do with relations.
#[derive(Debug, Subcommand)]
pub enum Relations {
    /// All, or one person's, or one patient's.
    List {
        /// UUID of a person.
        #[arg(long)]
        user: Option<Id>,
        /// UUID of a patient.
        #[arg(long)]
        patient: Option<Id>,
    },
    /// Makes a relation of a person to a patient, or to a ward, from now on.
    Create {
        /// UUID of the person.
        user: Id,
        /// care-team, proxy, ward-staff or study.
        kind: String,
        /// UUID of the patient; not for ward-staff.
        #[arg(long)]
        patient: Option<Id>,
        /// Which ward; for ward-staff.
        #[arg(long, default_value = "")]
        ward: String,
        /// Which study; for study.
        #[arg(long, default_value = "")]
        study: String,
    },
    /// End a relation now.
    End {
        /// UUID of the relation.
        relation: Id,
    },
}

/// What to do with consents: as the patient, or who acts for the patient.
#[derive(Debug, Subcommand)]
pub enum Consents {
    /// All of a patient's.
    List {
        /// UUID of the patient.
        patient: Id,
    },
    /// Says what the patient does not want, from now on.
    Create {
        /// UUID of the patient.
        patient: Id,
        /// Who is barred: anyone, a person's UUID, or a kind of relation.
        bars: String,
        /// For what: a code of HL7 v3 PurposeOfUse; without it, for anything.
        #[arg(long, default_value = "")]
        purpose: String,
    },
    /// Take a consent back.
    Revoke {
        /// UUID of the patient.
        patient: Id,
        /// UUID of the consent.
        consent: Id,
    },
}

/// What to do with emergencies.
#[derive(Debug, Subcommand)]
pub enum Emergencies {
    /// All, newest first: for reviewers.
    List {
        /// Only those that nobody has reviewed.
        #[arg(long)]
        unreviewed: bool,
    },
    /// Those of patients whom one treats, is, or acts for.
    Notices,
    /// Breaks the glass: one patient, for a reason, and somebody will review it.
    Open {
        /// UUID of the patient.
        patient: Id,
        /// unconscious, life-threat, no-staff or other.
        reason: String,
        /// Why, in words: 10 to 500 characters.
        text: String,
        /// For how long.
        #[arg(long, default_value_t = 60)]
        minutes: u8,
    },
    /// Records the outcome of its review.
    Review {
        /// UUID of the emergency.
        emergency: Id,
        /// justified, unjustified or unclear.
        outcome: String,
        /// Why, in words.
        text: String,
    },
}

/// Whose access to explain.
#[derive(Debug, Args)]
pub struct Why {
    /// UUID of the person.
    pub user: Id,
    /// UUID of the patient.
    pub patient: Id,
    /// What the person wants to do.
    #[arg(default_value = "timeline.read")]
    pub action: String,
    /// What for: a code of HL7 v3 PurposeOfUse.
    #[arg(long, default_value = "")]
    pub purpose: String,
}

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
                let request = EndRelationRequest { relation_id: relation.to_string(), ..Default::default() };
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
                let request = RevokeConsentRequest { patient_id, consent_id, ..Default::default() };
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
