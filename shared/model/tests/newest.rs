//! Newest: a clock that is wrong hides nothing, whenever the rows were stored; of two values of one instant the one received
//! later stands.

use model::{
    Batch, BatchId, Block, ClockQuality, ClockTolerance, Column, DeviceId, Factor, Hour, MetricId, Nanos, Quality,
    Rollup, Sheet, StreamId, Summary, Values, age, counts_from,
};

const HOUR: Hour = Hour(470_000);
const SECOND: i64 = Nanos::SECOND;

/// A batch of one column: stream, sequence, when it was received after the hour's start, and (second, number) of each reading.
fn row(stream: u8, sequence: u64, received_s: i64, unit: &str, readings: &[(i64, f64)]) -> (Batch, Vec<u8>) {
    let (device, stream) = (DeviceId::from_bytes([1; 16]), StreamId::from_bytes([stream; 16]));
    let factor = if unit.is_empty() { Factor::IDENTITY } else { Factor { scale: 2.0, offset: 0.0 } };
    let column = Column {
        metric: MetricId(3),
        unit: unit.into(),
        factor,
        index: (0..readings.len() as u32).collect(),
        measured_at: readings.iter().map(|(second, _)| HOUR.start().plus(second * SECOND)).collect(),
        quality: vec![Quality::GOOD; readings.len()],
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
fn marked(mut sheet: Sheet) -> Vec<(f64, u8)> {
    ClockTolerance::default().mark(&mut sheet);
    let column = |column: &model::SheetColumn| match &column.lines.values {
        Values::Number(numbers) => {
            numbers.iter().copied().zip(column.lines.quality.iter().map(|quality| quality.0)).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    sheet.columns.iter().flat_map(column).collect()
}

#[test]
fn what_was_measured_ahead_of_its_receipt_is_found_in_rows_that_do_not_say_so() {
    let readings = [(0, 60.0), (120, 61.0), (121, 62.0), (3_000, 63.0)];
    let sheet = sheet(&[row(1, 1, 0, "", &readings)]);
    let future = Quality::FUTURE.0;
    assert_eq!(marked(sheet.clone()), [(60.0, 0), (61.0, 0), (62.0, future), (63.0, future)]);
    let rollups = Rollup::of(&sheet, ClockTolerance::default());
    let good = Some(Summary { n: 2, min: 60.0, max: 61.0, sum: 121.0 });
    assert_eq!(rollups, [Rollup { metric: MetricId(3), n_doubtful: 2, good }]);
    let mut present = sheet;
    ClockTolerance::default().mark(&mut present);
    present.leave_out(Quality::FUTURE);
    assert_eq!(marked(present), [(60.0, 0), (61.0, 0)]);
}

#[test]
fn rollups_made_under_another_rule_are_made_again() {
    let (two, ten) = (ClockTolerance::default(), ClockTolerance::new(std::time::Duration::from_secs(600)));
    let bytes = Rollup::encode(&[], two);
    assert_eq!(Rollup::decode(&bytes, two), Ok(Some(Vec::new())));
    assert_eq!(Rollup::decode(&bytes, ten), Ok(None));
    assert_eq!(Rollup::decode(&[1, 0], two), Ok(None), "as they were before there was a rule");
    assert!(Rollup::decode(&[3, 0], two).is_err());
}

#[test]
fn of_two_values_of_one_instant_the_one_received_later_comes_last_and_is_the_correction() {
    let correction = Quality::CORRECTION.0;
    // by identity the correction comes first: its stream is the smaller
    let rows = [row(9, 1, 10, "", &[(5, 80.0), (6, 81.0)]), row(1, 1, 20, "", &[(5, 90.0), (6, 81.0)])];
    let expected = [(80.0, 0), (90.0, correction), (81.0, 0), (81.0, 0)];
    assert_eq!(marked(sheet(&rows)), expected, "the same value again corrects nothing");
    let read = Sheet::decode(HOUR, &sheet(&rows).encode().unwrap(), &[]).unwrap();
    assert_eq!(marked(read), expected);
    // in another unit: 45 times two is 90, 40 times two is 80
    let rows =
        [row(9, 1, 10, "", &[(5, 80.0)]), row(1, 1, 20, "half", &[(5, 45.0)]), row(2, 1, 15, "half", &[(5, 40.0)])];
    let mut found = marked(sheet(&rows));
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(found, [(40.0, 0), (45.0, correction), (80.0, 0)]);
    // two values in one batch: neither was received later
    assert_eq!(marked(sheet(&[row(1, 1, 10, "", &[(5, 80.0), (5, 90.0)])])), [(80.0, 0), (90.0, 0)]);
}

#[test]
fn a_clock_that_was_never_set_counts_by_receipt_and_no_age_is_negative() {
    let (measured, received) = (Nanos(5), Nanos(9 * SECOND));
    let at = |quality, clock| counts_from(quality, clock, measured, received);
    assert_eq!(at(Quality::IMPLAUSIBLE, ClockQuality::Unknown), Some(measured));
    assert_eq!(at(Quality::FUTURE, ClockQuality::Synchronized), None);
    assert_eq!(at(Quality::ANCIENT.with(Quality::QUESTIONABLE), ClockQuality::Free), None);
    for quality in [Quality::GOOD, Quality::FUTURE, Quality::ANCIENT] {
        assert_eq!(at(quality, ClockQuality::Unset), Some(received));
    }
    assert_eq!([age(Nanos(7), Nanos(10)), age(Nanos(10), Nanos(7)), age(Nanos::MIN, Nanos::MAX)], [3, 0, i64::MAX]);
}

#[test]
fn two_devices_do_not_correct_each_other() {
    let mut other = row(1, 1, 20, "", &[(5, 90.0)]);
    other.0.identity.device = DeviceId::from_bytes([2; 16]);
    let mut found = marked(sheet(&[row(9, 1, 10, "", &[(5, 80.0)]), other]));
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(found, [(80.0, 0), (90.0, 0)]);
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
    assert_eq!(marked(read), [(80.0, 0), (90.0, Quality::CORRECTION.0)]);
}
