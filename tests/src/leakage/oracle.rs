//! The rules once more, stated from plain data: who may see a patient, and exactly what there is to see.
//!
//! Shares nothing with `model::access`: roles, permissions, kinds and purposes are named here again.

use super::{
    question::{Asker, Kind, Question, Who},
    readings::{METRICS, Reading},
    served::{self, MOVED_DAYS},
    world::{HOUR, Patient, Span, Whom, World},
};
use model::PatientId;
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 24 * HOUR;

/// What the rules say.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// May be seen, for one of these purposes.
    Open(Vec<&'static str>),
    /// The token has ended.
    Expired,
    /// No role grants it, or the token takes it away.
    NotPermitted,
    /// As if there were no such patient.
    Hidden,
}

fn granted_by(role: &str, world: &World) -> Vec<&'static str> {
    if let Some((_, permissions)) = world.roles.iter().find(|(name, _)| *name == role) {
        return permissions.clone();
    }
    match role {
        "patient" => vec!["readings.read", "accesses.read"],
        "nurse" | "doctor" => vec!["readings.read"],
        "ml-scientist" => vec!["deidentified.read"],
        _ => vec![],
    }
}

/// For what somebody asks whom no tie opens the answer: what they say, but who runs the place does not treat by it.
pub fn refused_for(world: &World, asker: &Asker, question: &Question) -> &'static str {
    let there_for = there_for(world, asker);
    let usual = if question.kind == Kind::Subject { "HRESCH" } else { there_for };
    match asker.purpose {
        Some("TREAT" | "ETREAT" | "PATRQT") if there_for == "HOPERAT" => usual,
        Some(said) => said,
        None => usual,
    }
}

/// The same, for all that they ask.
fn there_for(world: &World, asker: &Asker) -> &'static str {
    let number = match asker.who {
        Who::Person(number) => number,
        Who::Device(_) => return "TREAT",
        Who::Stranger(_) => return "HOPERAT",
    };
    let mut held: Vec<&str> = Vec::new();
    for (role, _) in &world.people[number].held {
        held.extend(granted_by(role, world));
        let is_redefined = world.roles.iter().any(|(name, _)| name == role);
        if ["nurse", "doctor"].contains(role) && !is_redefined {
            held.push("medical.write");
        }
        if *role == "patient" {
            held.push("consents.manage");
        }
    }
    if let Some(leaves) = &asker.leaves {
        held.retain(|name| leaves.contains(name));
    }
    let holds = |name: &str| held.contains(&name);
    if holds("medical.write") {
        "TREAT"
    } else if holds("accesses.read") || holds("consents.manage") {
        "PATRQT"
    } else if holds("deidentified.read") {
        "HRESCH"
    } else if holds("readings.read") {
        "TREAT"
    } else {
        "HOPERAT"
    }
}

/// What a kind of tie is for.
pub fn serves(kind: &str) -> &'static [&'static str] {
    match kind {
        "self" | "proxy" => &["PATRQT"],
        "care-team" | "ward-staff" => &["TREAT", "ETREAT"],
        "study" => &["HRESCH"],
        _ => &[],
    }
}

fn holds(span: &Span, now: i64) -> bool {
    span.from.is_none_or(|from| from <= now) && span.to.is_none_or(|to| now < to)
}

/// Whether somebody may do this to a patient (`None`: to one who does not exist) now.
pub fn rule(world: &World, asker: &Asker, question: &Question, patient: Option<usize>, now: i64) -> Rule {
    let wanted = match question.kind {
        Kind::Accesses => "accesses.read",
        Kind::Subject => "deidentified.read",
        _ => "readings.read",
    };
    if asker.ends <= now {
        return Rule::Expired;
    }
    let Who::Person(number) = asker.who else { return Rule::NotPermitted };
    let person = &world.people[number];
    let held = person.held.iter().filter(|(role, _)| granted_by(role, world).contains(&wanted));
    let wards: Vec<_> = held.map(|(_, ward)| *ward).collect();
    if wards.is_empty() || asker.leaves.as_ref().is_some_and(|leaves| !leaves.contains(&wanted)) {
        return Rule::NotPermitted;
    }
    let Some(number_of_patient) = patient else { return Rule::Hidden };
    let its_ward = world.patients[number_of_patient].ward;
    if !wards.iter().any(|ward| ward.is_none() || *ward == its_ward) {
        return Rule::Hidden;
    }
    let mut kinds: Vec<&str> = Vec::new();
    if person.is == Some(number_of_patient) && wanted != "deidentified.read" {
        kinds.push("self");
    }
    for tie in world.ties.iter().filter(|tie| tie.person == number && holds(&tie.span, now)) {
        let leads = match tie.whom {
            Whom::Patient(patient) => patient == number_of_patient,
            Whom::Ward(ward) => its_ward == Some(ward),
        };
        let opens = match wanted {
            "accesses.read" => tie.kind == "proxy",
            "deidentified.read" => tie.kind == "study" && tie.study == question.study,
            _ => tie.kind != "study",
        };
        if leads && opens {
            kinds.push(tie.kind);
        }
    }
    let mut purposes = Vec::new();
    for kind in kinds {
        let Some(usual) = serves(kind).first() else { continue };
        let purpose = asker.purpose.unwrap_or(usual);
        let is_barred = world.bars.iter().any(|bar| {
            let meant = bar.who == "anyone" || bar.who == kind || bar.who == person.id.to_string();
            bar.patient == number_of_patient
                && meant
                && bar.purpose.is_none_or(|barred| barred == purpose)
                && holds(&bar.span, now)
        });
        if serves(kind).contains(&purpose) && (kind == "self" || !is_barred) {
            purposes.push(purpose);
        }
    }
    if purposes.is_empty() { Rule::Hidden } else { Rule::Open(purposes) }
}

/// Whether somebody is told why, beside a refusal.
pub fn may_ask_why(world: &World, asker: &Asker, now: i64) -> bool {
    let Who::Person(number) = asker.who else { return false };
    let entitled = |(role, ward): &(&str, Option<&str>)| ["administrator", "auditor"].contains(role) && ward.is_none();
    now < asker.ends && asker.leaves.is_none() && world.people[number].held.iter().any(entitled)
}

/// By how much a subject's times are moved back: what only the service knows.
fn moved_by(question: &Question) -> i64 {
    served::names().moved_by(question.study, PatientId::new(question.patient))
}

/// What an answer must show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// One text a reading, hour or access, in the order of the answer.
    pub lines: Vec<String>,
    /// One text a metric, on the first page of a timeline.
    pub coverage: Vec<String>,
    /// Whether there is a page token.
    pub more: bool,
}

/// A question's range, when it is one; what is left open counts back from now.
pub fn range(question: &Question, now: i64) -> Option<(i64, i64)> {
    if question.kind == Kind::Subject {
        let shown_until = now - i64::from(MOVED_DAYS) * DAY;
        let to = question.to.unwrap_or(shown_until);
        let from = question.from.unwrap_or(to - DAY);
        // in the time in which it was measured
        let range = (from + moved_by(question), to.min(shown_until).max(from) + moved_by(question));
        return (from <= to).then_some(range);
    }
    let length = if matches!(question.kind, Kind::Readings | Kind::Columns) { DAY } else { 30 * DAY };
    let to = question.to.unwrap_or(now);
    let from = question.from.unwrap_or(to - length);
    (from <= to).then_some((from, to))
}

/// Whether a question has something in it that cannot be answered, whatever page it asks for.
pub fn is_bad(question: &Question, now: i64) -> bool {
    let unknown = question.metrics.iter().any(|metric| !METRICS.contains(metric));
    let reversed = question.token.is_empty() && range(question, now).is_none();
    match question.kind {
        Kind::Readings | Kind::Columns | Kind::Trend | Kind::Subject => unknown || question.size < 0 || reversed,
        Kind::Latest => unknown,
        Kind::Accesses => question.size < 0 || reversed,
    }
}

/// What of a patient's readings an answer shows: the page after the first `skipped` lines of a range.
pub fn shown(all: &[Reading], question: &Question, range: (i64, i64), skipped: usize, now: i64) -> Shown {
    let mut wanted: Vec<_> = all
        .iter()
        .filter(|reading| question.metrics.is_empty() || question.metrics.contains(&reading.metric))
        .collect();
    wanted.sort_by_key(|reading| reading.order());
    match question.kind {
        Kind::Readings | Kind::Columns => timeline(&wanted, question, range, skipped, now),
        Kind::Subject => subject(&wanted, question, range, skipped),
        Kind::Trend => trend(&wanted, question, range, skipped),
        Kind::Latest => latest(&wanted, now),
        Kind::Accesses => Shown::default(),
    }
}

fn timeline(wanted: &[&Reading], question: &Question, (from, to): (i64, i64), skipped: usize, now: i64) -> Shown {
    let size = if question.size == 0 { 1_000 } else { question.size as usize };
    let in_range: Vec<_> = wanted.iter().filter(|reading| from <= reading.at && reading.at < to).collect();
    // a token that counts what is not there shows nothing
    let rest = in_range.get(skipped..).unwrap_or_default();
    let line = |reading: &&&Reading| reading.line(question.kind == Kind::Columns);
    let coverage = if question.token.is_empty() { coverage(wanted, (from, to), now) } else { vec![] };
    Shown { lines: rest.iter().take(size).map(line).collect(), coverage, more: rest.len() > size }
}

fn subject(wanted: &[&Reading], question: &Question, (from, to): (i64, i64), skipped: usize) -> Shown {
    let size = if question.size == 0 { 50_000 } else { question.size as usize };
    let in_range: Vec<_> = wanted.iter().filter(|reading| from <= reading.at && reading.at < to).collect();
    let rest = in_range.get(skipped..).unwrap_or_default();
    let moved = |reading: &&Reading| Reading { at: reading.at - moved_by(question), ..(*reading).clone() }.line(true);
    Shown { lines: rest.iter().take(size).copied().map(moved).collect(), coverage: vec![], more: rest.len() > size }
}

/// Hours that a range touches: the first, and the first after.
fn hours((from, to): (i64, i64)) -> (i64, i64) {
    let first = from.div_euclid(HOUR);
    if from == to { (first, first) } else { (first, (to - 1).div_euclid(HOUR) + 1) }
}

fn coverage(wanted: &[&Reading], (from, to): (i64, i64), now: i64) -> Vec<String> {
    let (first, end) = hours((from, to));
    let n_hours = (end.min(now.div_euclid(HOUR) + 1) - first).max(0);
    let mut metrics: BTreeMap<&str, Vec<&Reading>> = BTreeMap::new();
    for reading in wanted.iter().filter(|reading| (first..end).contains(&reading.at.div_euclid(HOUR))) {
        metrics.entry(reading.metric).or_default().push(reading);
    }
    let line = |(metric, readings): (&&str, &Vec<&Reading>)| {
        let mut with_data: Vec<_> = readings.iter().map(|reading| reading.at.div_euclid(HOUR)).collect();
        with_data.dedup();
        let newest = readings.iter().map(|reading| reading.at).rfind(|at| from <= *at && *at < to);
        format!("{metric}: {} of {n_hours} hours, newest {newest:?}", with_data.len())
    };
    metrics.iter().map(line).collect()
}

fn trend(wanted: &[&Reading], question: &Question, range: (i64, i64), skipped: usize) -> Shown {
    let size = if question.size == 0 { 5_000 } else { question.size as usize };
    let (first, end) = hours(range);
    // what a later batch says of the same instant stands in its place; no two values are the same
    let is_corrected = |reading: &Reading| {
        let place = |of: &Reading| (of.metric, of.at, of.device);
        wanted.iter().any(|other| place(other) == place(reading) && other.sequence > reading.sequence)
    };
    let mut cells: BTreeMap<(i64, &str), Vec<&Reading>> = BTreeMap::new();
    let within = |reading: &Reading| (first..end).contains(&reading.at.div_euclid(HOUR));
    for reading in wanted.iter().filter(|reading| within(reading) && !is_corrected(reading)) {
        cells.entry((reading.at.div_euclid(HOUR), reading.metric)).or_default().push(reading);
    }
    let cells: Vec<_> = cells.into_iter().skip(skipped).collect();
    let mut n_cells = 0;
    while n_cells < cells.len() && (n_cells < size || cells[n_cells].0.0 == cells[n_cells - 1].0.0) {
        n_cells += 1;
    }
    let line = |((hour, metric), readings): &((i64, &str), Vec<&Reading>)| {
        let good: Vec<_> = readings.iter().filter(|reading| reading.good).map(|reading| reading.value).collect();
        let (least, most) = (good.iter().copied().reduce(f64::min), good.iter().copied().reduce(f64::max));
        let mean = least.map(|_| good.iter().sum::<f64>() / good.len() as f64);
        let n_doubtful = readings.len() - good.len();
        let start = hour * HOUR / SECOND;
        format!("{metric} hour {start}: {} {least:?} {most:?} {mean:?}, {n_doubtful} doubtful", good.len())
    };
    Shown { lines: cells[..n_cells].iter().map(line).collect(), coverage: vec![], more: n_cells >= size }
}

fn latest(wanted: &[&Reading], now: i64) -> Shown {
    let mut newest: BTreeMap<&str, &Reading> = BTreeMap::new();
    for reading in wanted.iter().filter(|reading| reading.at <= now + 120 * SECOND && reading.at >= now - 400 * DAY) {
        newest.insert(reading.metric, reading);
    }
    Shown { lines: newest.values().map(|reading| reading.line(false)).collect(), ..Shown::default() }
}

/// The patient that an id names.
pub fn patient_of(world: &World, id: uuid::Uuid) -> Option<usize> {
    world.patients.iter().position(|patient: &Patient| patient.id == id)
}
