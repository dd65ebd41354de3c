//! Why somebody can or cannot do something with a patient, in words.

use super::{Action, Barred, Facts, Principal, Purpose, Scope, Subject};
use crate::time::Nanos;

/// Where a permission holds, in words.
pub fn place(scope: &Scope) -> String {
    match scope {
        Scope::Everywhere => "everywhere".to_owned(),
        Scope::Ward(ward) => format!("in the ward {ward}"),
        Scope::Study(study) => format!("for the study {study}"),
    }
}

/// What [`super::decide`] checks, one line each: the permission, the ward, relations and consents.
pub fn why(principal: &Principal, action: Action, facts: &Facts, now: Nanos) -> Vec<String> {
    let needed = action.needs();
    let held: Vec<_> = principal.grants.iter().filter(|grant| grant.permission == needed).collect();
    let mut steps = Vec::new();
    match held.as_slice() {
        [] => steps.push(format!("no role grants {}", needed.name())),
        held => steps.extend(held.iter().map(|grant| format!("{} is granted {}", needed.name(), place(&grant.scope)))),
    }
    steps.push(
        facts
            .ward
            .as_ref()
            .map_or("the patient is in no ward".to_owned(), |ward| format!("the patient is in the ward {ward}")),
    );
    if facts.relations.is_empty() {
        steps.push("no relation to the patient".to_owned());
    }
    for relation in &facts.relations {
        let when = match (now < relation.from, now < relation.to) {
            (true, _) => "has not begun",
            (_, false) => "is over",
            _ => "holds",
        };
        let opens = if relation.kind.opens(action) { "opens this" } else { "does not open this" };
        let purposes: Vec<_> = relation.kind.purposes().iter().map(|purpose| purpose.code()).collect();
        let name = relation.kind.name();
        steps.push(format!("relation {name} {when}, {opens}, serves {}", purposes.join(" ")));
    }
    for consent in facts.consents.iter().filter(|consent| consent.from <= now && now < consent.to) {
        let who = match consent.barred {
            Barred::Anyone => "everybody".to_owned(),
            Barred::User(user) if principal.subject == Subject::User(user) => "this person".to_owned(),
            Barred::User(_) => "another person".to_owned(),
            Barred::Kind(kind) => format!("the relation {}", kind.name()),
        };
        let purpose = consent.purpose.map_or("any purpose", Purpose::code);
        steps.push(format!("the patient has barred {who}, for {purpose}"));
    }
    steps
}
