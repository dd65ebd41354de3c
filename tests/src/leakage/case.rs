//! One case after the other in one world: a question, the answer, what the rules say, and what the audit log says.

mod listed;

use super::{
    Report,
    oracle::{self, Rule, Shown, patient_of},
    question::{Asker, Kind, Page, Question, Who, access_text, told_nothing, whole},
    readings::Reading,
    served::{self, Served},
    world::{HOUR, MIDDLE, REACH, STUDIES, Whom, World, id, one},
};
use model::{
    access::Subject,
    audit::{self, Entry, Outcome},
};
use rand::{Rng, rngs::StdRng};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// How long a page token can be used.
const TOKEN_NS: i64 = HOUR / 4;
/// Page tokens that are kept to be used.
const HELD_MAX: usize = 40;

/// A page token, whose it is, and what it is for.
struct Held {
    who: Who,
    /// The question that it continues, with the token in it.
    question: Question,
    range: (i64, i64),
    /// How many lines the pages before had.
    skipped: usize,
    issued: i64,
}

/// An access that is in the audit log.
struct Access {
    at: i64,
    patient: Uuid,
    line: String,
}

/// The cases of one world.
pub(super) struct Run {
    name: String,
    world: World,
    readings: Vec<Vec<Reading>>,
    served: Served,
    random: StdRng,
    now: i64,
    held: Vec<Held>,
    accesses: Vec<Access>,
    report: Report,
}

impl Run {
    pub(super) fn new(name: String, world: World, readings: Vec<Vec<Reading>>, served: Served, random: StdRng) -> Self {
        let (held, accesses) = (Vec::new(), Vec::new());
        Self { name, world, readings, served, random, now: MIDDLE, held, accesses, report: Report::default() }
    }

    /// Runs a number of cases.
    pub(super) async fn all(mut self, n_cases: u64) -> anyhow::Result<Report> {
        for _ in 0..n_cases {
            if self.random.random_ratio(1, 25) {
                self.world.change(&mut self.random);
                self.served.know(&self.world)?;
            }
            if self.random.random_ratio(1, 8) {
                self.turn();
            }
            served::turn(self.now);
            self.report.cases += 1;
            match self.random.random_range(0..21) {
                0 => self.cut().await?,
                20 => self.listed().await?,
                1..6 => self.page().await?,
                _ => self.first().await?,
            }
        }
        let (n_findings, n_entries) = self.served.close().await?;
        self.report.audited = n_entries;
        if n_findings > 0 {
            self.report.differs(format!("{}: {n_findings} findings in the audit log", self.name));
        }
        Ok(self.report)
    }

    /// Most things begin and end at whole hours: turned to just before, to the instant itself, or anywhere.
    fn turn(&mut self) {
        let hour = MIDDLE + self.random.random_range(-REACH - 1..=REACH + 1) * HOUR;
        self.now = match self.random.random_range(0..4) {
            0 => hour - 1,
            1 => hour,
            // a page token that is in use lives on, or just does not
            2 => self.now + self.random.random_range(-TOKEN_NS..=TOKEN_NS),
            _ => hour + self.random.random_range(0..HOUR),
        };
    }

    /// Somebody and a patient; half of the time there is a tie between the two.
    fn meeting(&mut self) -> (Asker, Uuid) {
        let mut asker = Asker::random(&self.world, &mut self.random);
        let mut patient = one(&self.world.patients, &mut self.random).id;
        if !self.world.ties.is_empty() && self.random.random_bool(0.5) {
            let tie = one(&self.world.ties, &mut self.random);
            asker.who = Who::Person(tie.person);
            if let Whom::Patient(number) = tie.whom {
                patient = self.world.patients[number].id;
            }
        } else if self.random.random_ratio(1, 20) {
            patient = id(&mut self.random);
        }
        (asker, patient)
    }

    async fn first(&mut self) -> anyhow::Result<()> {
        let (mut asker, mut patient) = self.meeting();
        let mut question = Question::random(patient, &mut self.random);
        // of most random questions nothing is answered
        for _ in 0..self.random.random_range(0..5) {
            let number = patient_of(&self.world, patient);
            if matches!(oracle::rule(&self.world, &asker, &question, number, self.now), Rule::Open(_)) {
                break;
            }
            (asker, patient) = self.meeting();
            question = Question::random(patient, &mut self.random);
        }
        self.check(&asker, &question).await
    }

    /// A page token is used: by its owner, or by somebody else, or for something else.
    async fn page(&mut self) -> anyhow::Result<()> {
        let Some(place) = self.some_held() else { return self.first().await };
        let Held { who, question, .. } = &self.held[place];
        let (mut who, mut question) = (*who, question.clone());
        match self.random.random_range(0..10) {
            0 => who = self.meeting().0.who,
            1 => question.patient = one(&self.world.patients, &mut self.random).id,
            2 => {
                question.kind = *one(&Kind::ALL, &mut self.random);
                question.study = *one(&STUDIES, &mut self.random);
            }
            3 => question.metrics = Question::random(question.patient, &mut self.random).metrics,
            4 => question.to = question.to.map(|to| to + 1),
            _ => question.size = self.random.random_range(0..5),
        }
        let asker = Asker::with_any_token(who, &mut self.random);
        self.check(&asker, &question).await
    }

    /// Between two pages the relation of the two ends; then it is as before.
    async fn cut(&mut self) -> anyhow::Result<()> {
        let Some(place) = self.some_held() else { return self.first().await };
        let Held { who, question, issued, .. } = &self.held[place];
        let (who, question) = (*who, question.clone());
        self.now = *issued;
        served::turn(self.now);
        let (Who::Person(person), Some(patient)) = (who, patient_of(&self.world, question.patient)) else {
            return self.first().await;
        };
        let before = self.world.clone();
        self.world.part(person, patient, &mut self.random);
        self.served.know(&self.world)?;
        self.check(&Asker { who, leaves: None, ends: i64::MAX, purpose: None }, &question).await?;
        self.world = before;
        self.served.know(&self.world)
    }

    fn some_held(&mut self) -> Option<usize> {
        (!self.held.is_empty()).then(|| self.random.random_range(0..self.held.len()))
    }

    /// Asks, and compares the answer and what was written down with what the rules say.
    async fn check(&mut self, asker: &Asker, question: &Question) -> anyhow::Result<()> {
        let patient = patient_of(&self.world, question.patient);
        let rule = oracle::rule(&self.world, asker, question, patient, self.now);
        let answer = self.served.ask(&self.world, asker, question).await;
        let written = self.served.written().await?;
        self.judge_entry(asker, question, &rule, answer.as_ref().err(), &written);
        let own = question.token.as_str();
        let is_cut = self.held.iter().any(|held| held.question.token == own && held.who == asker.who);
        match (&rule, patient) {
            (Rule::Open(_), Some(patient)) => self.judge_open(asker, question, patient, answer),
            _ => {
                self.report.cut += u64::from(is_cut);
                self.judge_refused(asker, question, &rule, answer).await?;
            }
        }
        self.note(&written);
        Ok(())
    }

    /// The caller may see the patient.
    fn judge_open(&mut self, asker: &Asker, question: &Question, patient: usize, answer: Result<Page, Status>) {
        let wants_page = !question.token.is_empty() && !matches!(question.kind, Kind::Latest | Kind::Accesses);
        let serving = wants_page.then(|| self.serving(asker, question));
        let is_bad = oracle::is_bad(question, self.now) || serving == Some(None);
        let (shown, token) = match answer {
            Err(status) if is_bad && status.code() == Code::InvalidArgument => {
                self.report.tokens_refused += u64::from(wants_page);
                return;
            }
            Err(status) => return self.differs(asker, question, format!("is not answered: {status:?}")),
            Ok(page) => page,
        };
        if is_bad {
            self.report.leaks += shown.lines.len() as u64;
            return self.differs(asker, question, "should be refused as a bad question".to_owned());
        }
        self.report.answered += 1;
        self.report.rows += shown.lines.len() as u64;
        self.report.pages += u64::from(wants_page);
        let first = || (oracle::range(question, self.now).unwrap_or_default(), 0);
        let (range, skipped) = serving.flatten().unwrap_or_else(first);
        let n_lines = shown.lines.len();
        match question.kind {
            Kind::Accesses => self.judge_looks(asker, question, range, shown),
            _ => {
                let expected = oracle::shown(&self.readings[patient], question, range, skipped, self.now);
                self.compare(asker, question, shown, expected);
            }
        }
        if !token.is_empty() {
            let question = Question { token, ..question.clone() };
            let held = Held { who: asker.who, question, range, skipped: skipped + n_lines, issued: self.now };
            if self.held.len() == HELD_MAX {
                let place = self.random.random_range(0..HELD_MAX);
                self.held.swap_remove(place);
            }
            self.held.push(held);
        }
    }

    /// The range and place of a page token, when it serves this caller and this question now.
    fn serving(&self, asker: &Asker, question: &Question) -> Option<((i64, i64), usize)> {
        let of = |question: &Question| {
            let study = (question.kind == Kind::Subject).then_some(question.study);
            (question.kind, question.patient, study, question.metrics.clone(), question.from, question.to)
        };
        let held = self.held.iter().find(|held| held.question.token == question.token)?;
        let serves = held.who == asker.who && of(&held.question) == of(question) && self.now < held.issued + TOKEN_NS;
        serves.then_some((held.range, held.skipped))
    }

    fn compare(&mut self, asker: &Asker, question: &Question, mut shown: Shown, mut expected: Shown) {
        if matches!(question.kind, Kind::Columns | Kind::Trend | Kind::Subject) {
            // by metric on the wire
            shown.lines.sort_unstable();
            expected.lines.sort_unstable();
        }
        if shown != expected {
            let strange = shown.lines.iter().filter(|line| !expected.lines.contains(line)).count();
            self.report.leaks += strange as u64;
            self.differs(asker, question, format!("shows {shown:?} instead of {expected:?}"));
        }
    }

    /// The accesses of a range, newest first; the own one is among them, or not yet.
    fn judge_looks(&mut self, asker: &Asker, question: &Question, (from, to): (i64, i64), shown: Shown) {
        let limit = if question.size == 0 { 1_000 } else { question.size as usize };
        let is_meant = |access: &&Access| access.patient == question.patient && from <= access.at && access.at < to;
        let mut accesses: Vec<_> = self.accesses.iter().filter(is_meant).collect();
        // entered in the order of their numbers
        accesses.reverse();
        accesses.sort_by_key(|access| std::cmp::Reverse(access.at));
        let own = usize::from(from <= self.now && self.now < to);
        let lines: Vec<_> = accesses.iter().map(|access| access.line.clone()).collect();
        let up_to = |n: usize| lines[..n.min(lines.len())].to_vec();
        let expected = Shown { lines: up_to(limit), ..Shown::default() };
        if shown.lines != up_to(limit - own) {
            self.compare(asker, question, shown, expected);
        }
    }

    /// The caller may not see the patient: no word more than of a patient who does not exist.
    async fn judge_refused(
        &mut self,
        asker: &Asker,
        question: &Question,
        rule: &Rule,
        answer: Result<Page, Status>,
    ) -> anyhow::Result<()> {
        let (code, count) = match rule {
            Rule::Expired => (Code::Unauthenticated, &mut self.report.expired),
            Rule::NotPermitted => (Code::PermissionDenied, &mut self.report.not_permitted),
            Rule::Hidden | Rule::Open(_) => (Code::NotFound, &mut self.report.hidden),
        };
        *count += 1;
        let status = match answer {
            Ok((shown, _)) => {
                self.report.leaks += (shown.lines.len() + shown.coverage.len()) as u64;
                self.differs(asker, question, format!("is answered: {shown:?}"));
                return Ok(());
            }
            Err(status) => status,
        };
        if status.code() != code {
            self.differs(asker, question, format!("is answered with {:?} instead of {code:?}", status.code()));
        }
        let nobody = Question { patient: id(&mut self.random), ..question.clone() };
        let missing = self.served.ask(&self.world, asker, &nobody).await;
        let written = self.served.written().await?;
        self.judge_entry(asker, &nobody, rule, missing.as_ref().err(), &written);
        self.note(&written);
        self.report.compared += 1;
        match missing {
            Err(missing) if oracle::may_ask_why(&self.world, asker, self.now) => {
                let is_told =
                    |status: &Status| status.get_details_error_info().is_some_and(|info| !info.metadata.is_empty());
                if !is_told(&missing) || !is_told(&status) || missing.message() != status.message() {
                    self.differs(asker, question, format!("does not say why: {status:?}"));
                }
            }
            Err(missing) if whole(&missing) == whole(&status) && told_nothing(&status) => {}
            Err(missing) => {
                self.differs(asker, question, format!("differs from a missing one: {status:?}, {missing:?}"))
            }
            Ok(_) => self.differs(asker, &nobody, "is answered, though nobody is meant".to_owned()),
        }
        Ok(())
    }

    /// Each answer and each refusal is there once, as what it was; a bad question perhaps.
    fn judge_entry(
        &mut self,
        asker: &Asker,
        question: &Question,
        rule: &Rule,
        refused: Option<&Status>,
        written: &[Entry],
    ) {
        let is_bad_question = refused.is_some_and(|status| status.code() == Code::InvalidArgument);
        let [entry] = written else {
            if !(written.is_empty() && is_bad_question && matches!(rule, Rule::Open(_))) {
                self.differs(asker, question, format!("is {} times in the audit log", written.len()));
            }
            return;
        };
        let (event, subject) = (&entry.event, asker.subject(&self.world));
        let codes: &[&str] = match rule {
            Rule::Open(_) => &[],
            Rule::Expired => &["EXPIRED"],
            Rule::NotPermitted => &["PERMISSION"],
            Rule::Hidden => &["SCOPE", "NO_RELATION", "PURPOSE", "CONSENT"],
        };
        let outcome_is_right = match &event.outcome {
            Outcome::Allowed => codes.is_empty(),
            Outcome::Denied(code) => codes.contains(&&**code),
        };
        let purpose = event.purpose.code();
        let purpose_is_right = match (asker.purpose, rule) {
            (Some(asked), Rule::Open(_)) => purpose == asked,
            (None, Rule::Open(purposes)) => purposes.contains(&purpose),
            _ => purpose == oracle::refused_for(&self.world, asker, question),
        };
        // a subject that nobody is of whom the caller may know
        let names_nobody = question.kind == Kind::Subject && event.patient.is_none() && !matches!(rule, Rule::Open(_));
        let is_right = event.subject == Some(audit::Who::Proven(subject))
            && (event.patient.map(|patient| patient.uuid()) == Some(question.patient) || names_nobody)
            && &*event.action == question.kind.action()
            && event.at.0 == self.now
            && outcome_is_right
            && purpose_is_right;
        if !is_right {
            self.differs(asker, question, format!("is in the audit log as {event:?}, {rule:?}"));
        }
    }

    fn note(&mut self, written: &[Entry]) {
        for Entry { sequence, event, .. } in written {
            let Some(patient) = event.patient.map(|patient| patient.uuid()) else { continue };
            let subject = match event.subject.and_then(audit::Who::proven) {
                None => String::new(),
                Some(Subject::User(user)) => format!("user:{}", user.uuid()),
                Some(Subject::Device(device)) => format!("device:{}", device.uuid()),
            };
            let denied = match &event.outcome {
                Outcome::Allowed => "",
                Outcome::Denied(code) => code,
            };
            let line = access_text(*sequence, event.at.0, &subject, &patient.to_string(), &event.action, denied);
            self.accesses.push(Access { at: event.at.0, patient, line });
        }
    }

    fn differs(&mut self, asker: &Asker, question: &Question, what: String) {
        let (name, case, now) = (&self.name, self.report.cases, self.now);
        self.report.differs(format!("{name}, case {case} at {now}: {question:?} of {asker:?} {what}"));
    }
}
