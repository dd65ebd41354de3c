//! What the registry costs when it knows many people: a start, and one change more.

use super::Row;
use directory::{
    LiveDirectory,
    registry::{CHANGES_MAX, Change, Device, DeviceStatus, Entry, Relation, User},
};
use model::Nanos;
use std::time::Instant;
use uuid::Uuid;

/// Changes that are made one by one.
const CHANGES: u32 = 200;

/// A registry of `n_people` patients with a device and a carer each, followed from its first change, then changed.
pub(super) fn rows(n_people: u32) -> anyhow::Result<Vec<Row>> {
    // there is no such folder: no files beside the registry
    let directory = LiveDirectory::open(&std::env::temp_dir().join(Uuid::new_v4().to_string()))?;
    let now = guard::clock::now();
    let changes: Vec<_> = (0..n_people).flat_map(person).collect();
    let entries = (1..).zip(changes.chunks(CHANGES_MAX));
    let entries: Vec<_> =
        entries.map(|(sequence, changes)| (sequence, Entry::new(now, None, changes.to_vec()).encode())).collect();
    let started = Instant::now();
    directory.follow(&entries)?;
    let start = started.elapsed().as_secs_f64();
    let mut milliseconds = Vec::new();
    for number in 0..CHANGES {
        let [user, ..] = person(n_people + number);
        let started = Instant::now();
        let before = directory.get();
        // as a node does: applied to a copy, then written (not here), then adopted
        let mut draft = before.registry().draft(now, None);
        draft.add([user])?;
        let (_, bytes, state) = draft.finish();
        std::hint::black_box(bytes);
        directory.adopt(state);
        milliseconds.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(vec![
        Row {
            what: "a start: all changes of the registry read",
            n_allowed: 0,
            figures: vec![start],
            unit: "s",
            wanted: None,
        },
        Row {
            what: "one change, the store's time apart",
            n_allowed: 0,
            figures: milliseconds,
            unit: "ms",
            wanted: None,
        },
    ])
}

/// A patient, a relation, and a device.
fn person(number: u32) -> [Change; 3] {
    let id = |what: u128| Uuid::from_u128(what << 64 | u128::from(number));
    let user = User {
        id: id(1),
        patient: Some(id(2)),
        ward: Some((number % 100).to_string()),
        suspended: false,
        revision: id(3),
    };
    let relation = Relation {
        id: id(4),
        user: Uuid::from_u128(u128::from(number % 1_000)),
        kind: "care-team".to_owned(),
        patient: user.patient,
        ward: None,
        study: None,
        from: i64::MIN,
        to: i64::MAX,
    };
    let device = Device {
        id: id(5),
        name: format!("monitor {number}"),
        mac: Some(format!(
            "02:00:{:02x}:{:02x}:{:02x}:{:02x}",
            number >> 24,
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        )),
        model: "bench".to_owned(),
        mdc_type: String::new(),
        firmware: String::new(),
        software: String::new(),
        registered_by: id(6),
        status: DeviceStatus::Active,
        claim: None,
        refresh: None,
        credentials_from: Nanos::MIN.0,
        first_used_at: None,
    };
    [Change::User(user), Change::Relation(relation), Change::Device(device)]
}
