//! Newest: a clock that is wrong hides nothing, whenever the rows were stored; of two values of one instant the one received
//! later stands.

use model::{
    Absence, Batch, BatchId, Block, Bound, ClockQuality, ClockTolerance, Column, Comparator, DeviceId, Factor, Hour,
    MetricId, Nanos, Quality, Range, Retraction, Rollup, Sheet, StreamId, Summary, Values, age, counts_from,
};

#[path = "newest/superseded.rs"]
mod superseded;

const HOUR: Hour = Hour(470_000);
const SECOND: i64 = Nanos::SECOND;
const GOOD: Quality = Quality::GOOD;

/// A batch of one column: stream, sequence, when it was received after the hour's start, and (second, number) of each reading.
fn row(stream: u8, sequence: u64, received_s: i64, unit: &str, readings: &[(i64, f64)]) -> (Batch, Vec<u8>) {
    row_of(GOOD, (stream, sequence, received_s), unit, readings)
}

/// The same, of readings that the device took back.
fn taken_back(stream: u8, sequence: u64, received_s: i64, readings: &[(i64, f64)]) -> (Batch, Vec<u8>) {
    row_of(Quality::ENTERED_IN_ERROR, (stream, sequence, received_s), "", readings)
}

fn row_of(
    quality: Quality,
    (stream, sequence, received_s): (u8, u64, i64),
    unit: &str,
    readings: &[(i64, f64)],
) -> (Batch, Vec<u8>) {
    let (device, stream) = (DeviceId::from_bytes([1; 16]), StreamId::from_bytes([stream; 16]));
    let factor = if unit.is_empty() { Factor::IDENTITY } else { Factor { scale: 2.0, offset: 0.0 } };
    let column = Column {
        metric: MetricId(3),
        unit: unit.into(),
        factor,
        index: (0..readings.len() as u32).collect(),
        measured_at: readings.iter().map(|(second, _)| HOUR.start().plus(second * SECOND)).collect(),
        quality: vec![quality; readings.len()],
        lasting: vec![],
        values: Values::Number(readings.iter().map(|(_, number)| *number).collect()),
    };
    let mut bytes = Vec::new();
    Block { columns: vec![column] }.encode(HOUR, &mut bytes);
    let received_at = HOUR.start().plus(received_s * SECOND);
    let identity = BatchId { device, stream, sequence, digest: sequence };
    (Batch { identity, received_at, clock: ClockQuality::Free }, bytes)
}

fn sheet(rows: &[(Batch, Vec<u8>)]) -> Sheet {
    Sheet::collect(HOUR, rows.iter().map(|(batch, block)| (*batch, &block[..])), &[]).unwrap()
}

/// Number and marks of each reading, as they stand.
fn marked(mut sheet: Sheet) -> Vec<(f64, Quality)> {
    ClockTolerance::default().mark(&mut sheet);
    let column = |column: &model::SheetColumn| match &column.lines.values {
        Values::Number(numbers) => {
            numbers.iter().copied().zip(column.lines.quality.iter().copied()).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    sheet.columns.iter().flat_map(column).collect()
}

#[test]
fn what_was_measured_ahead_of_its_receipt_is_found_in_rows_that_do_not_say_so() {
    let readings = [(0, 60.0), (120, 61.0), (121, 62.0), (3_000, 63.0)];
    let sheet = sheet(&[row(1, 1, 0, "", &readings)]);
    let future = Quality::FUTURE;
    assert_eq!(marked(sheet.clone()), [(60.0, GOOD), (61.0, GOOD), (62.0, future), (63.0, future)]);
    let rollups = Rollup::of(&sheet, ClockTolerance::default());
    let good = Some(Summary { n: 2, min: 60.0, max: 61.0, sum: 121.0 });
    assert_eq!(rollups, [Rollup { metric: MetricId(3), n_doubtful: 2, n_repeats: 0, n_bounded: 0, n_absent: 0, good }]);
    let mut present = sheet;
    ClockTolerance::default().mark(&mut present);
    present.leave_out(Quality::FUTURE);
    assert_eq!(marked(present), [(60.0, GOOD), (61.0, GOOD)]);
}

#[test]
fn rollups_made_under_another_rule_are_made_again() {
    let (two, ten) = (ClockTolerance::default(), ClockTolerance::new(std::time::Duration::from_secs(600)));
    let bytes = Rollup::encode(&[], two);
    assert_eq!(Rollup::decode(&bytes, two), Ok(Some(Vec::new())));
    assert_eq!(Rollup::decode(&bytes, ten), Ok(None));
    assert_eq!(Rollup::decode(&[1, 0], two), Ok(None), "as they were before there was a rule");
    let mut before = bytes.clone();
    before[0] = 2;
    assert_eq!(Rollup::decode(&before, two), Ok(None), "as they were before clocks that were never set were known");
    before[0] = 3;
    assert_eq!(Rollup::decode(&before, two), Ok(None), "as they were before all repeats were counted");
    before[0] = 4;
    assert_eq!(Rollup::decode(&before, two), Ok(None), "as they were before bounds were doubted");
    before[0] = 5;
    assert_eq!(Rollup::decode(&before, two), Ok(None), "as they were when what was corrected was added up, too");
    assert!(Rollup::decode(&[7, 0], two).is_err());
}

#[test]
fn of_two_values_of_one_instant_the_one_received_later_comes_last_and_is_the_correction() {
    let correction = Quality::CORRECTION;
    // by identity the correction comes first: its stream is the smaller
    let rows = [row(9, 1, 10, "", &[(5, 80.0), (6, 81.0)]), row(1, 1, 20, "", &[(5, 90.0), (6, 81.0)])];
    let expected = [(80.0, GOOD), (90.0, correction), (81.0, GOOD), (81.0, Quality::REPEAT)];
    assert_eq!(marked(sheet(&rows)), expected, "the same value again corrects nothing");
    let read = Sheet::decode(HOUR, &sheet(&rows).encode().unwrap(), &[]).unwrap();
    assert_eq!(marked(read), expected);
    // in another unit: 45 times two is 90, 40 times two is 80
    let rows =
        [row(9, 1, 10, "", &[(5, 80.0)]), row(1, 1, 20, "half", &[(5, 45.0)]), row(2, 1, 15, "half", &[(5, 40.0)])];
    let mut found = marked(sheet(&rows));
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(found, [(40.0, GOOD), (45.0, correction), (80.0, GOOD)]);
    // two values in one batch: neither was received later
    assert_eq!(marked(sheet(&[row(1, 1, 10, "", &[(5, 80.0), (5, 90.0)])])), [(80.0, GOOD), (90.0, GOOD)]);
}

#[test]
fn what_a_device_sends_again_in_another_stream_is_marked_as_repeated() {
    let (correction, repeat) = (Quality::CORRECTION, Quality::REPEAT);
    let first = [row(1, 1, 10, "", &[(5, 80.0), (6, 81.0)]), row(1, 2, 11, "", &[(5, 90.0)])];
    // all again after the device lost its state, its correction too, and something new
    let again = [row(2, 1, 20, "", &[(5, 80.0), (5, 90.0), (6, 81.0), (7, 82.0)])];
    let sheet_of_all = sheet(&[&first[..], &again[..]].concat());
    let expected =
        [(80.0, GOOD), (90.0, correction), (80.0, repeat), (90.0, repeat), (81.0, GOOD), (81.0, repeat), (82.0, GOOD)];
    assert_eq!(marked(sheet_of_all.clone()), expected);
    let rollups = Rollup::of(&sheet_of_all, ClockTolerance::default());
    let good = Some(Summary { n: 3, min: 81.0, max: 90.0, sum: 253.0 });
    assert_eq!(rollups, [Rollup { metric: MetricId(3), n_doubtful: 0, n_repeats: 3, n_bounded: 0, n_absent: 0, good }]);
    let bytes = Rollup::encode(&rollups, ClockTolerance::default());
    assert_eq!(Rollup::decode(&bytes, ClockTolerance::default()), Ok(Some(rollups)));
    // back to the first value in the same stream is a correction like any other
    let back = [row(1, 1, 10, "", &[(5, 80.0)]), row(1, 2, 11, "", &[(5, 90.0)]), row(1, 3, 12, "", &[(5, 80.0)])];
    assert_eq!(marked(sheet(&back)), [(80.0, GOOD), (90.0, correction), (80.0, correction)]);
    // events of one instant in its own stream are several
    let twice = [row(1, 1, 10, "", &[(5, 80.0), (5, 80.0)]), row(1, 2, 11, "", &[(5, 80.0)])];
    assert_eq!(marked(sheet(&twice)), [(80.0, GOOD); 3]);
    // said in another unit it is not the same word for word
    let in_half = marked(sheet(&[row(1, 1, 10, "", &[(5, 80.0)]), row(2, 1, 20, "half", &[(5, 40.0)])]));
    assert_eq!(in_half, [(80.0, GOOD), (40.0, GOOD)]);
}

#[test]
fn of_very_many_values_of_an_instant_each_is_a_correction_and_what_was_said_early_a_repeat() {
    let mut rows: Vec<_> = (0..1_000u32).map(|n| row(1, n.into(), n.into(), "", &[(5, n.into())])).collect();
    rows.push(row(2, 1, 2_000, "", &[(5, 7.0)]));
    let marks: Vec<_> = marked(sheet(&rows)).into_iter().map(|(_, mark)| mark).collect();
    assert_eq!((marks[0], marks[1_000]), (GOOD, Quality::REPEAT));
    assert!(marks[1..1_000].iter().all(|mark| *mark == Quality::CORRECTION));
}

#[test]
fn what_a_device_takes_back_is_shown_once_and_never_counts() {
    let (in_error, repeat) = (Quality::ENTERED_IN_ERROR, Quality::REPEAT);
    let also = |mark: Quality| mark.with(in_error);
    let first = row(1, 1, 10, "", &[(5, 80.0), (6, 81.0)]);
    let back = taken_back(1, 2, 20, &[(5, 80.0)]);
    let rows = [first.clone(), back.clone()];
    assert_eq!(marked(sheet(&rows)), [(80.0, in_error), (80.0, also(repeat)), (81.0, GOOD)]);
    let rollups = Rollup::of(&sheet(&rows), ClockTolerance::default());
    let good = Some(Summary { n: 1, min: 81.0, max: 81.0, sum: 81.0 });
    assert_eq!(rollups, [Rollup { metric: MetricId(3), n_doubtful: 1, n_repeats: 1, n_bounded: 0, n_absent: 0, good }]);
    // what is sent in its place counts, also when a device that lost its place sends all of it again
    let rows = [
        row(1, 1, 10, "", &[(5, 80.0)]),
        back,
        row(1, 3, 30, "", &[(5, 90.0)]),
        row(2, 1, 40, "", &[(5, 80.0)]),
        taken_back(2, 2, 41, &[(5, 80.0)]),
        row(2, 3, 42, "", &[(5, 90.0)]),
    ];
    let now: Vec<_> = marked(sheet(&rows)).into_iter().filter(|(_, mark)| !mark.has(repeat)).collect();
    assert_eq!(now, [(80.0, in_error), (90.0, Quality::CORRECTION)]);
    // with another value, or without anything before it, it is shown as it came
    assert_eq!(marked(sheet(&[taken_back(1, 1, 10, &[(5, 80.0)])])), [(80.0, in_error)]);
    let other = [first, taken_back(1, 2, 20, &[(5, 85.0)])];
    assert_eq!(marked(sheet(&other)), [(80.0, in_error), (85.0, also(Quality::CORRECTION)), (81.0, GOOD)]);
    for clock in [ClockQuality::Free, ClockQuality::Unset] {
        assert_eq!(counts_from(in_error, clock, Nanos(1), Nanos(2)), None);
    }
}

#[test]
fn a_retraction_marks_what_was_received_by_then_of_its_device_metrics_and_time() {
    let in_error = Quality::ENTERED_IN_ERROR;
    let at = |second: i64| HOUR.start().plus(second * SECOND);
    let all =
        Retraction { device: None, metrics: None, range: Range::new(at(5), at(7)).unwrap(), received_until: at(20) };
    let rows =
        [row(1, 1, 10, "", &[(4, 79.0), (5, 80.0), (6, 81.0), (7, 82.0)]), row(1, 2, 21, "", &[(5, 90.0), (6, 91.0)])];
    let after = |retraction: &Retraction| {
        let mut sheet = sheet(&rows);
        retraction.mark(&mut sheet);
        let marks = marked(sheet);
        marks.into_iter().filter(|(_, mark)| mark.has(in_error)).map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(after(&all), [80.0, 81.0]);
    let none: [f64; 0] = [];
    let (own, other) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
    assert_eq!(after(&Retraction { device: Some(own), ..all.clone() }), [80.0, 81.0]);
    assert_eq!(after(&Retraction { device: Some(other), ..all.clone() }), none);
    for (metrics, expected) in [(vec![3], &[80.0, 81.0][..]), (vec![2, 4], &none), (vec![], &none)] {
        let metrics = Some(metrics.into_iter().map(MetricId).collect());
        assert_eq!(after(&Retraction { metrics, ..all.clone() }), expected);
    }
    assert_eq!(after(&Retraction { received_until: at(21), ..all.clone() }), [80.0, 90.0, 81.0, 91.0]);
    // what was retracted is doubtful, and counts nowhere once it was corrected
    for (rows, expected) in [(&rows[..1], (2, 2)), (&rows[..], (0, 4))] {
        let mut sheet = sheet(rows);
        all.mark(&mut sheet);
        let rollup = Rollup::of(&sheet, ClockTolerance::default())[0];
        assert_eq!((rollup.n_doubtful, rollup.good.unwrap().n), expected);
    }
    // whole hours are passed over where they cannot be meant
    let concerns = |hour: i32, metrics: &[u16]| {
        all.concerns(Hour(HOUR.0 + hour), &metrics.iter().copied().map(MetricId).collect::<Vec<_>>())
    };
    assert!(concerns(0, &[]) && concerns(0, &[9]) && !concerns(1, &[]) && !concerns(-1, &[]));
}

#[test]
fn a_clock_that_was_never_set_counts_by_receipt_and_no_age_is_negative() {
    let (measured, received) = (Nanos(5), Nanos(9 * SECOND));
    let at = |quality, clock| counts_from(quality, clock, measured, received);
    assert_eq!(at(Quality::IMPLAUSIBLE, ClockQuality::Unknown), Some(measured));
    assert_eq!(at(Quality::FUTURE, ClockQuality::Synchronized), None);
    assert_eq!(at(Quality::ANCIENT.with(Quality::QUESTIONABLE), ClockQuality::Free), None);
    assert_eq!(at(Quality::UNSET_CLOCK, ClockQuality::Free), None);
    assert_eq!(at(Quality::SUSPECT_UNIT, ClockQuality::Free), Some(measured), "shown, and flagged");
    for quality in [Quality::GOOD, Quality::FUTURE, Quality::ANCIENT, Quality::UNSET_CLOCK] {
        assert_eq!(at(quality, ClockQuality::Unset), Some(received));
    }
    assert_eq!([age(Nanos(7), Nanos(10)), age(Nanos(10), Nanos(7)), age(Nanos::MIN, Nanos::MAX)], [3, 0, i64::MAX]);
}

/// Seconds since 1970.
fn at(text: &str) -> Nanos {
    let parts: Vec<i64> = text.split(['-', 'T', ':', 'Z']).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = parts[..] else { panic!("{text}") };
    // days from civil, after Howard Hinnant
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let of_era = year.rem_euclid(400);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Nanos((days * 86_400 + hour * 3_600 + minute * 60 + second) * SECOND)
}

#[test]
fn a_time_that_a_clock_shows_which_was_never_set_is_found() {
    let now = at("2026-11-29T10:00:00Z");
    let doubts = |text: &str| ClockTolerance::default().doubts(at(text), now);
    for unset in [
        "1900-01-01T00:00:00Z", // NTP
        "1904-01-01T00:00:07Z", // Macintosh
        "1969-12-31T23:00:07Z", // Unix, by a clock of Berlin
        "1970-01-01T00:00:00Z",
        "1970-01-01T05:12:09Z",
        "1970-03-04T05:12:09Z", // on for two months
        "1980-01-01T00:00:01Z", // FAT
        "1980-01-06T00:00:00Z", // GPS
        "1980-01-06T07:00:00Z",
        "1999-08-22T00:03:00Z", // GPS, after its first rollover
        "1999-12-31T15:00:00Z", // 2000-01-01 by a clock of Tokyo
        "2000-01-01T00:00:05Z",
        "2000-01-01T11:00:00Z",
        "2000-01-20T11:00:00Z",
        "2001-01-01T00:00:02Z",
        "2010-01-01T00:00:02Z", // defaults of firmware
        "2014-12-31T16:00:30Z", // the same by a clock of Shanghai
        "2015-01-01T03:00:00Z",
        "2015-01-01T09:00:00Z", // by a clock of Los Angeles
        "2019-04-07T00:00:09Z", // GPS, after its second rollover
    ] {
        assert_eq!(doubts(unset), Quality::UNSET_CLOCK, "{unset}");
    }
    for true_time in [
        "1990-06-01T00:00:00Z",
        "1999-08-21T00:00:00Z",
        "2000-03-01T00:00:00Z",
        "2004-02-29T12:00:00Z",
        "2015-01-03T00:00:00Z",
        "2015-12-30T00:00:00Z",
        "2019-04-11T00:00:00Z",
        "2020-01-01T00:00:00Z", // kept for years, and sent now
        "2025-01-01T00:01:00Z",
        "2025-07-01T00:00:00Z",
        "2026-01-01T00:00:05Z", // people are measured on New Year's night, too
        "2026-11-29T09:59:59Z",
    ] {
        assert_eq!(doubts(true_time), Quality::GOOD, "{true_time}");
    }
    assert_eq!(doubts("1899-12-31T23:59:59Z"), Quality::ANCIENT);
    assert_eq!(doubts("2026-11-29T10:02:01Z"), Quality::FUTURE);
    for end in [Nanos::MIN, Nanos::MAX] {
        for other in [Nanos::MIN, Nanos(0), Nanos::MAX] {
            ClockTolerance::default().doubts(end, other);
        }
    }
}

#[test]
fn rows_that_do_not_say_so_of_a_clock_that_was_never_set_are_marked_when_they_are_read() {
    let hour = at("2000-01-01T00:00:00Z").hour();
    let (mut batch, _) = row(1, 1, 0, "", &[]);
    batch.received_at = HOUR.start();
    let column = Column {
        metric: MetricId(3),
        unit: "".into(),
        factor: Factor::IDENTITY,
        index: vec![0],
        measured_at: vec![hour.start().plus(9 * SECOND)],
        quality: vec![Quality::GOOD],
        lasting: vec![],
        values: Values::Number(vec![70.0]),
    };
    let mut block = Vec::new();
    Block { columns: vec![column] }.encode(hour, &mut block);
    let sheet = Sheet::collect(hour, [(batch, &block[..])], &[]).unwrap();
    let rollups = Rollup::of(&sheet, ClockTolerance::default());
    assert_eq!(
        rollups,
        [Rollup { metric: MetricId(3), n_doubtful: 1, n_repeats: 0, n_bounded: 0, n_absent: 0, good: None }]
    );
    assert_eq!(marked(sheet), [(70.0, Quality::UNSET_CLOCK)]);
}

#[test]
fn doubtful_bounds_and_doubtful_readings_without_a_value_are_counted_as_doubtful() {
    let qualities = [GOOD, Quality::SUSPECT_UNIT, Quality::ANCIENT, Quality::IMPLAUSIBLE, Quality::UNSET_CLOCK, GOOD];
    // the last one is ahead of its receipt, and its row does not say so
    let seconds = [0, 1, 2, 3, 4, 3_000];
    let bound = Bound { comparator: Comparator::Less, number: 20.0 };
    let absent = Absence::from_code(1).unwrap();
    for (values, n_bounded, n_absent) in
        [(Values::Bounded(vec![bound; 6]), 1, 0), (Values::Absent(vec![absent; 6]), 0, 1)]
    {
        let column = Column {
            metric: MetricId(3),
            unit: "".into(),
            factor: Factor::IDENTITY,
            index: (0..6).collect(),
            measured_at: seconds.map(|second| HOUR.start().plus(second * SECOND)).to_vec(),
            quality: qualities.to_vec(),
            lasting: vec![],
            values,
        };
        let mut block = Vec::new();
        Block { columns: vec![column] }.encode(HOUR, &mut block);
        let (batch, _) = row(1, 1, 0, "", &[]);
        let rollups = Rollup::of(&sheet(&[(batch, block)]), ClockTolerance::default());
        let expected = Rollup { metric: MetricId(3), n_doubtful: 5, n_repeats: 0, n_bounded, n_absent, good: None };
        assert_eq!(rollups, [expected]);
    }
}

#[test]
fn two_devices_do_not_correct_each_other() {
    let mut other = row(1, 1, 20, "", &[(5, 90.0)]);
    other.0.identity.device = DeviceId::from_bytes([2; 16]);
    let mut found = marked(sheet(&[row(9, 1, 10, "", &[(5, 80.0)]), other]));
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(found, [(80.0, GOOD), (90.0, GOOD)]);
}

#[test]
fn hours_that_were_sealed_before_receipt_counted_are_put_in_order_when_they_are_read() {
    let rows = [row(9, 1, 10, "", &[(5, 80.0)]), row(1, 1, 20, "", &[(5, 90.0)])];
    let mut old = sheet(&rows);
    // by identity, as it was: the later one first
    let column = &mut old.columns[0];
    column.batch.reverse();
    column.lines.index.reverse();
    let Values::Number(numbers) = &mut column.lines.values else { panic!() };
    numbers.reverse();
    assert_eq!(numbers, &[90.0, 80.0]);
    let read = Sheet::decode(HOUR, &old.encode().unwrap(), &[]).unwrap();
    assert_eq!(marked(read), [(80.0, GOOD), (90.0, Quality::CORRECTION)]);
}
