//! A world in plain data: who is tied to whom, from when to when, and the directory file that says so.

use super::oracle::serves;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::fmt::Write as _;
use uuid::Uuid;

/// 2025-03-03T10:00:00Z, in nanoseconds: the middle of every world.
pub const MIDDLE: i64 = 1_740_996_000 * 1_000_000_000;
pub const HOUR: i64 = 3_600 * 1_000_000_000;
/// What begins or ends does so at a whole hour, at most so many from the middle.
pub const REACH: i64 = 6;

const N_PEOPLE: usize = 8;
const N_PATIENTS: usize = 6;
/// Ids of the studies.
pub const STUDIES: [&str; 2] = ["heart", "lungs"];
/// Wards of the patients.
pub const WARDS: [&str; 3] = ["icu", "ward-7", "ward-9"];
/// Those that grant something about patients come more often.
const ROLES: [&str; 18] = [
    "patient",
    "nurse",
    "doctor",
    "patient",
    "nurse",
    "doctor",
    "patient",
    "doctor",
    "administrator",
    "auditor",
    "ml-scientist",
    "ml-scientist",
    "ml-scientist",
    "application-developer",
    "device-integrator",
    "reader",
    "all-of-it",
    "nobody-defined-this-one",
];
pub const KINDS: [&str; 5] = ["self", "proxy", "care-team", "ward-staff", "study"];
pub const PURPOSES: [&str; 6] = ["TREAT", "ETREAT", "PATRQT", "HPAYMT", "HOPERAT", "HRESCH"];

/// From and to, half-open; nothing: without an end on that side.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

impl Span {
    fn meets(self, other: Self) -> bool {
        let before = |to: Option<i64>, from: Option<i64>| to.zip(from).is_some_and(|(to, from)| to <= from);
        !before(self.to, other.from) && !before(other.to, self.from)
    }
}

#[derive(Debug, Clone)]
pub struct World {
    /// Beside those that are there from the start, or in place of one of them.
    pub roles: Vec<(&'static str, Vec<&'static str>)>,
    pub people: Vec<Person>,
    pub patients: Vec<Patient>,
    pub ties: Vec<Tie>,
    pub bars: Vec<Bar>,
}

#[derive(Debug, Clone)]
pub struct Person {
    pub id: Uuid,
    /// Roles, each everywhere or in a ward.
    pub held: Vec<(&'static str, Option<&'static str>)>,
    /// Which patient the person is.
    pub is: Option<usize>,
}

#[derive(Debug, Clone)]
pub struct Patient {
    pub id: Uuid,
    pub ward: Option<&'static str>,
    pub device: Uuid,
}

/// Whom a tie leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Whom {
    Patient(usize),
    Ward(&'static str),
}

#[derive(Debug, Clone)]
pub struct Tie {
    pub kind: &'static str,
    /// Of a tie by study.
    pub study: &'static str,
    pub person: usize,
    pub whom: Whom,
    pub span: Span,
}

impl Tie {
    /// Whether another ties the same in some of the same time.
    fn is_met_by(&self, other: &Self) -> bool {
        let same_study = self.kind != "study" || self.study == other.study;
        let same = self.kind == other.kind && self.person == other.person && self.whom == other.whom;
        same && same_study && self.span.meets(other.span)
    }
}

/// What a patient does not want.
#[derive(Debug, Clone)]
pub struct Bar {
    pub patient: usize,
    /// `anyone`, a kind of tie, or a person's id.
    pub who: String,
    pub purpose: Option<&'static str>,
    pub span: Span,
}

impl Bar {
    /// Whether another says the same for some of the same time.
    fn is_met_by(&self, other: &Self) -> bool {
        let said = |bar: &Self| (bar.patient, bar.who.clone(), bar.purpose);
        said(self) == said(other) && self.span.meets(other.span)
    }
}

impl World {
    /// A world that is not like another.
    pub fn random(random: &mut StdRng) -> Self {
        let mut roles = vec![
            ("reader", vec!["readings.read"]),
            (
                "all-of-it",
                vec!["readings.read", "accesses.read", "audit.read", "quarantine.manage", "deidentified.read"],
            ),
        ];
        if random.random_ratio(1, 8) {
            roles.push(("nurse", vec!["quarantine.manage"]));
        }
        let people: Vec<_> = (0..N_PEOPLE).map(|_| person(random)).collect();
        let mut patients: Vec<_> = (0..N_PATIENTS).map(|_| patient(random)).collect();
        // ids of one kind are ids of another, too: nothing may take one for the other
        patients[0].id = people[0].id;
        patients[1].device = people[1].id;
        // one device serves two patients
        patients[3].device = patients[2].device;
        let mut world = Self { roles, people, patients, ties: Vec::new(), bars: Vec::new() };
        (0..random.random_range(8..20)).for_each(|_| world.tie(random));
        (0..random.random_range(0..5)).for_each(|_| world.bar(random));
        world
    }

    fn tie(&mut self, random: &mut StdRng) {
        let (person, patient) = (random.random_range(0..N_PEOPLE), random.random_range(0..N_PATIENTS));
        let kind = KINDS[random.random_range(1..KINDS.len() + 3) % KINDS.len()];
        // who somebody is stands with the person
        let kind = if kind == "self" { "proxy" } else { kind };
        let whom = if kind == "ward-staff" { Whom::Ward(ward(random)) } else { Whom::Patient(patient) };
        let study = *one(&STUDIES, random);
        let tie = Tie { kind, study, person, whom, span: span(random) };
        // a file that has a tie twice is refused
        if !self.ties.iter().any(|held| held.is_met_by(&tie)) {
            self.ties.push(tie);
        }
    }

    fn bar(&mut self, random: &mut StdRng) {
        let patient = random.random_range(0..N_PATIENTS);
        let who = match random.random_range(0..4) {
            0 => "anyone".to_owned(),
            1 => KINDS[random.random_range(0..KINDS.len())].to_owned(),
            _ => self.people[random.random_range(0..N_PEOPLE)].id.to_string(),
        };
        let purpose = random.random_bool(0.4).then(|| *one(&PURPOSES, random));
        let bar = Bar { patient, who, purpose, span: span(random) };
        // a file that has a wish twice is refused
        if !self.bars.iter().any(|held| held.is_met_by(&bar)) {
            self.wish(bar);
        }
    }

    /// Takes a wish, if it bars anybody else: a file in which it does not is refused.
    fn wish(&mut self, bar: Bar) {
        let is_a_kind = KINDS.iter().any(|kind| *kind == bar.who);
        let mut kinds = KINDS.iter().filter(|kind| **kind != "self" && (!is_a_kind || **kind == bar.who));
        let bars_somebody = kinds.any(|kind| bar.purpose.is_none_or(|purpose| serves(kind).contains(&purpose)));
        let mut own = self.people.iter().filter(|person| person.is == Some(bar.patient));
        if bars_somebody && !own.any(|person| person.id.to_string() == bar.who) {
            self.bars.push(bar);
        }
    }

    /// Makes one change of the world, at random.
    pub fn change(&mut self, random: &mut StdRng) {
        match random.random_range(0..7) {
            0 | 1 => self.tie(random),
            2 if !self.ties.is_empty() => drop(self.ties.swap_remove(random.random_range(0..self.ties.len()))),
            3 => self.bar(random),
            4 if !self.bars.is_empty() => drop(self.bars.swap_remove(random.random_range(0..self.bars.len()))),
            5 => self.patients[random.random_range(0..N_PATIENTS)].ward = Some(ward(random)),
            _ => self.people[random.random_range(0..N_PEOPLE)].held = person(random).held,
        }
    }

    /// Ends what lets a person see a patient, one way or another (but nobody is parted from himself by a wish).
    pub fn part(&mut self, person: usize, patient: usize, random: &mut StdRng) {
        match random.random_range(0..4) {
            way @ (0 | 1) => {
                let who = if way == 0 { "anyone".to_owned() } else { self.people[person].id.to_string() };
                let bar = Bar { patient, who, purpose: None, span: Span { from: None, to: None } };
                // the one for all time is in place of those for some of it
                self.bars.retain(|held| !held.is_met_by(&bar));
                self.wish(bar);
            }
            2 => self.people[person].held.clear(),
            _ => {
                let ward = self.patients[patient].ward;
                self.ties.retain(|tie| {
                    let leads =
                        tie.whom == Whom::Patient(patient) || ward.is_some_and(|ward| tie.whom == Whom::Ward(ward));
                    tie.person != person || !leads
                });
                self.people[person].is = self.people[person].is.filter(|own| *own != patient);
            }
        }
    }

    /// As a directory file.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        for (name, permissions) in &self.roles {
            writeln!(text, "[[role]]\nname = \"{name}\"\npermissions = {permissions:?}")?;
        }
        for person in &self.people {
            let everywhere: Vec<_> = person.held.iter().filter(|held| held.1.is_none()).map(|held| held.0).collect();
            writeln!(text, "[[user]]\nid = \"{}\"\nname = \"\"\nroles = {everywhere:?}", person.id)?;
            if let Some(own) = person.is {
                writeln!(text, "patient = \"{}\"", self.patients[own].id)?;
            }
            for (role, ward) in &person.held {
                let Some(ward) = ward else { continue };
                writeln!(text, "[[grant]]\nuser = \"{}\"\nrole = \"{role}\"\nward = \"{ward}\"", person.id)?;
            }
        }
        for patient in &self.patients {
            let Some(ward) = patient.ward else { continue };
            writeln!(text, "[[patient]]\nid = \"{}\"\nward = \"{ward}\"", patient.id)?;
        }
        for tie in &self.ties {
            let table = match tie.kind {
                "care-team" | "ward-staff" => "care_team",
                kind => kind,
            };
            writeln!(text, "[[{table}]]\nuser = \"{}\"", self.people[tie.person].id)?;
            match tie.whom {
                Whom::Patient(patient) => writeln!(text, "patient = \"{}\"", self.patients[patient].id)?,
                Whom::Ward(ward) => writeln!(text, "ward = \"{ward}\"")?,
            }
            if tie.kind == "study" {
                writeln!(text, "study = \"{}\"", tie.study)?;
            }
            write_span(text, &tie.span)?;
        }
        for bar in &self.bars {
            writeln!(text, "[[consent]]\npatient = \"{}\"\nbars = \"{}\"", self.patients[bar.patient].id, bar.who)?;
            if let Some(purpose) = bar.purpose {
                writeln!(text, "purpose = \"{purpose}\"")?;
            }
            write_span(text, &bar.span)?;
        }
        Ok(())
    }
}

fn write_span(text: &mut String, span: &Span) -> std::fmt::Result {
    for (name, at) in [("from", span.from), ("to", span.to)] {
        if let Some(at) = at {
            let at = jiff::Timestamp::from_nanosecond(i128::from(at)).map_err(|_| std::fmt::Error)?;
            writeln!(text, "{name} = \"{at}\"")?;
        }
    }
    Ok(())
}

/// An id that the seed decides on.
pub fn id(random: &mut StdRng) -> Uuid {
    Uuid::from_u128(random.random())
}

pub fn one<'a, T>(of: &'a [T], random: &mut StdRng) -> &'a T {
    of.choose(random).expect("some to choose from")
}

fn ward(random: &mut StdRng) -> &'static str {
    WARDS[random.random_range(0..WARDS.len())]
}

fn person(random: &mut StdRng) -> Person {
    let held =
        (0..random.random_range(1..4)).map(|_| (*one(&ROLES, random), random.random_bool(0.3).then(|| ward(random))));
    let held = held.collect();
    Person { id: id(random), held, is: random.random_bool(0.4).then(|| random.random_range(0..N_PATIENTS)) }
}

fn patient(random: &mut StdRng) -> Patient {
    Patient { id: id(random), ward: random.random_bool(0.85).then(|| ward(random)), device: id(random) }
}

/// Holding, over, to come.
fn span(random: &mut StdRng) -> Span {
    let mut end = || random.random_bool(0.5).then(|| MIDDLE + random.random_range(-REACH..=REACH) * HOUR);
    match (end(), end()) {
        (Some(a), Some(b)) if a == b => Span { from: Some(a), to: None },
        (Some(a), Some(b)) => Span { from: Some(a.min(b)), to: Some(a.max(b)) },
        (from, to) => Span { from, to },
    }
}
