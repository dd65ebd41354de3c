//! Who asks, what is asked, and what an answer shows, in words that can be compared.

use super::{
    oracle::Shown,
    readings::{METRICS, line_of},
    world::{HOUR, MIDDLE, PURPOSES, STUDIES, World, id, one},
};
use directory::Directory;
use guard::convert;
use model::{
    DeviceId, Nanos, UserId,
    access::{Identity, Permission, Principal, Purpose, Subject},
};
use proto::{
    operations::v1::{AuditRecord, ListAccessesRequest, ListAccessesResponse},
    prost_types::Timestamp,
    telemetry::v1::{
        LatestReadingsRequest, LatestReadingsResponse, ReadSubjectRequest, ReadSubjectResponse, ReadTimelineRequest,
        ReadTimelineResponse, ReadTrendRequest, ReadTrendResponse, Series, TimelineLayout,
    },
};
use rand::{Rng, rngs::StdRng};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// Words of a token's scope; the last is of no use here.
const SCOPES: [&str; 4] = ["readings.read", "accesses.read", "deidentified.read", "readings.write"];

/// A caller of the questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Who {
    /// Somebody in the directory, by number.
    Person(usize),
    /// Somebody of whom the directory knows nothing.
    Stranger(Uuid),
    /// A device, by its id.
    Device(Uuid),
}

/// Who asks, with which token, for what.
#[derive(Debug, Clone)]
pub struct Asker {
    pub who: Who,
    /// The permissions that the token leaves; nothing: all.
    pub leaves: Option<Vec<&'static str>>,
    pub ends: i64,
    pub purpose: Option<&'static str>,
}

impl Asker {
    pub fn random(world: &World, random: &mut StdRng) -> Self {
        let who = match random.random_range(0..20) {
            0 => Who::Stranger(id(random)),
            1 => Who::Device(one(&world.patients, random).device),
            _ => Who::Person(random.random_range(0..world.people.len())),
        };
        Self::with_any_token(who, random)
    }

    /// The same one with any token and purpose.
    pub fn with_any_token(who: Who, random: &mut StdRng) -> Self {
        let has_scope = random.random_bool(0.2);
        let leaves = has_scope.then(|| SCOPES.into_iter().filter(|_| random.random_bool(0.7)).collect());
        // a third of them ends within reach of the clock
        let ends = if random.random_bool(0.3) { MIDDLE + random.random_range(-2..9) * HOUR } else { i64::MAX };
        let purpose = random.random_bool(0.25).then(|| *one(&PURPOSES, random));
        Self { who, leaves, ends, purpose }
    }

    pub fn subject(&self, world: &World) -> Subject {
        match self.who {
            Who::Person(number) => Subject::User(UserId::new(world.people[number].id)),
            Who::Stranger(id) => Subject::User(UserId::new(id)),
            Who::Device(id) => Subject::Device(DeviceId::new(id)),
        }
    }

    /// As the auth layer makes it from a token and the directory.
    pub fn principal(&self, world: &World, directory: &Directory) -> Principal {
        let permission = |name: &&str| Permission::from_name(name).expect("a permission's name");
        let scope = self.leaves.as_ref().map(|leaves| leaves.iter().map(permission).collect());
        let identity =
            Identity { subject: self.subject(world), scope, issued_at: Nanos(0), expires_at: Nanos(self.ends) };
        let purpose = self.purpose.map(|code| Purpose::from_code(code).expect("a purpose's code"));
        directory.principal(&identity, purpose)
    }
}

/// What an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Readings,
    Columns,
    Trend,
    Latest,
    Accesses,
    /// Of a subject of a study.
    Subject,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Readings, Self::Columns, Self::Trend, Self::Latest, Self::Accesses, Self::Subject];

    /// The action's name in the audit log.
    pub fn action(self) -> &'static str {
        match self {
            Self::Readings | Self::Columns => "timeline.read",
            Self::Trend => "trend.read",
            Self::Latest => "latest.read",
            Self::Accesses => "accesses.read",
            Self::Subject => "deidentified.read",
        }
    }
}

/// A question to the API, and who asks it.
#[derive(Debug, Clone)]
pub struct Question {
    pub kind: Kind,
    pub patient: Uuid,
    /// As whose subject the patient is asked for, where that matters.
    pub study: &'static str,
    pub metrics: Vec<&'static str>,
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Of a page; 0: as many as are usual.
    pub size: i32,
    pub token: String,
}

impl Question {
    pub fn random(patient: Uuid, random: &mut StdRng) -> Self {
        let (kind, study) = (*one(&Kind::ALL, random), *one(&STUDIES, random));
        let mut metrics: Vec<_> = METRICS.into_iter().filter(|_| random.random_bool(0.3)).collect();
        let mut end =
            |around: i64| random.random_bool(0.6).then(|| MIDDLE + (around + random.random_range(-12..=12)) * HOUR);
        let (from, to) = (end(-25), end(15));
        let size = if random.random_bool(0.6) { random.random_range(1..9) } else { 0 };
        let mut question = Self { kind, patient, study, metrics: vec![], from, to, size, token: String::new() };
        match random.random_range(0..40) {
            0 => metrics.push("0000-0"),
            1 => question.size = -1,
            2 => (question.from, question.to) = (Some(MIDDLE + 1), Some(MIDDLE)),
            3 => question.token = "00".repeat(random.random_range(0..70)),
            _ => {}
        }
        Self { metrics, ..question }
    }

    /// All that is usual.
    pub fn all_of(patient: Uuid) -> Self {
        let (metrics, token, study) = (vec![], String::new(), STUDIES[0]);
        Self { kind: Kind::Latest, patient, study, metrics, from: None, to: None, size: 0, token }
    }

    fn bounds(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let at = |at: Option<i64>| at.map(|at| convert::timestamp(Nanos(at)));
        (at(self.from), at(self.to))
    }

    fn metrics(&self) -> Vec<String> {
        self.metrics.iter().map(|&metric| metric.to_owned()).collect()
    }

    pub fn timeline(&self) -> ReadTimelineRequest {
        let (from, to) = self.bounds();
        let columns = self.kind == Kind::Columns;
        let layout = if columns { TimelineLayout::Columns } else { TimelineLayout::Readings } as i32;
        let (patient_id, page_token) = (self.patient.to_string(), self.token.clone());
        ReadTimelineRequest {
            patient_id,
            metrics: self.metrics(),
            start_time: from,
            end_time: to,
            page_size: self.size,
            page_token,
            layout,
        }
    }

    pub fn trend(&self) -> ReadTrendRequest {
        let (from, to) = self.bounds();
        let (patient_id, page_token) = (self.patient.to_string(), self.token.clone());
        ReadTrendRequest {
            patient_id,
            metrics: self.metrics(),
            start_time: from,
            end_time: to,
            page_size: self.size,
            page_token,
        }
    }

    pub fn latest(&self) -> LatestReadingsRequest {
        LatestReadingsRequest { patient_id: self.patient.to_string(), metrics: self.metrics() }
    }

    pub fn subject(&self, subject_id: String) -> ReadSubjectRequest {
        let ((from, to), page_token) = (self.bounds(), self.token.clone());
        let (study, metrics, page_size) = (self.study.to_owned(), self.metrics(), self.size);
        ReadSubjectRequest { study, subject_id, metrics, start_time: from, end_time: to, page_size, page_token }
    }

    pub fn accesses(&self) -> ListAccessesRequest {
        let (from, to) = self.bounds();
        let patient_id = self.patient.to_string();
        let (limit, page_token) = (self.size, String::new());
        ListAccessesRequest { patient_id, start_time: from, end_time: to, limit, page_token }
    }
}

/// What was shown, and the next page's token.
pub type Page = (Shown, String);

pub fn of_timeline(answer: &ReadTimelineResponse) -> Page {
    let mut lines: Vec<_> = answer.readings.iter().map(line_of).collect();
    lines.extend(answer.series.iter().flat_map(series));
    let coverage = answer.coverage.iter().map(|covered| {
        let newest = covered.newest_measured_at.as_ref().and_then(convert::nanos).map(|at| at.0);
        let (metric, hours) = (&covered.metric, covered.hours_with_data);
        format!("{metric}: {hours} of {} hours, newest {newest:?}", covered.hours_in_range)
    });
    let more = !answer.next_page_token.is_empty();
    let mut coverage: Vec<_> = coverage.collect();
    // in no order of the wire's
    coverage.sort_unstable();
    (Shown { lines, coverage, more }, answer.next_page_token.clone())
}

fn series(series: &Series) -> Vec<String> {
    let mut ticks = 0;
    let deltas = series.measured_at_delta_ticks.iter();
    let lines = deltas.zip(&series.numbers).map(|(delta, value)| {
        ticks += delta;
        format!("{} at {} = {value}", series.metric, ticks * series.tick_ns)
    });
    lines.collect()
}

pub fn of_subject(answer: &ReadSubjectResponse) -> Page {
    let lines = answer.series.iter().flat_map(series).collect();
    let more = !answer.next_page_token.is_empty();
    (Shown { lines, coverage: vec![], more }, answer.next_page_token.clone())
}

pub fn of_trend(answer: &ReadTrendResponse) -> Page {
    let lines = answer.trends.iter().flat_map(|trend| {
        trend.hours.iter().map(|hour| {
            let start = hour.start.as_ref().map_or(0, |start| start.seconds);
            let (metric, n_good, n_doubtful) = (&trend.metric, hour.n_readings, hour.n_doubtful);
            format!(
                "{metric} hour {start}: {n_good} {:?} {:?} {:?}, {n_doubtful} doubtful",
                hour.min, hour.max, hour.mean
            )
        })
    });
    let more = !answer.next_page_token.is_empty();
    (Shown { lines: lines.collect(), coverage: vec![], more }, answer.next_page_token.clone())
}

pub fn of_latest(answer: &LatestReadingsResponse) -> Page {
    let lines = answer.readings.iter().filter_map(|latest| latest.reading.as_ref()).map(line_of);
    (Shown { lines: lines.collect(), ..Shown::default() }, String::new())
}

/// The accesses that are shown, without the one numbered `own`: whether that is in it already depends on chance.
pub fn of_accesses(answer: &ListAccessesResponse, own: u64) -> Page {
    let others = answer.records.iter().filter(|record| record.sequence != own);
    (Shown { lines: others.map(access_line).collect(), ..Shown::default() }, String::new())
}

fn access_line(record: &AuditRecord) -> String {
    let AuditRecord { subject, patient_id, action, denied, sequence, .. } = record;
    let at = record.at.as_ref().and_then(convert::nanos).map_or(0, |at| at.0);
    access_text(*sequence, at, subject, patient_id, action, denied)
}

/// An access as a text.
pub fn access_text(sequence: u64, at: i64, subject: &str, patient: &str, action: &str, denied: &str) -> String {
    format!("{sequence} at {at}: {subject} {action} of {patient} {denied}")
}

/// Whether a refusal has a reason, and nothing that the policy read.
pub fn told_nothing(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.metadata.is_empty())
}

/// All that a caller learns from a refusal.
pub fn whole(status: &Status) -> (Code, String, Vec<u8>, Vec<String>) {
    let metadata = status.metadata().clone().into_headers();
    let mut metadata: Vec<_> = metadata.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    metadata.sort_unstable();
    (status.code(), status.message().to_owned(), status.details().to_vec(), metadata)
}
