//! Of a value and what corrects it the later one counts in trends; a timeline has both.

use super::*;

/// What the rows' good numbers come to: how many, and their sum.
fn counted(rows: &[(Batch, Vec<u8>)]) -> (u64, f64) {
    let good = Rollup::of(&sheet(rows), ClockTolerance::default())[0].good;
    good.map_or((0, 0.0), |good| (good.n, good.sum))
}

/// A batch of one stream with steps of one instant; its sequence says when it was received, too.
fn steps(stream: u8, sequence: u32, number: f64) -> (Batch, Vec<u8>) {
    row(stream, sequence.into(), sequence.into(), "", &[(5, number)])
}

/// The same batch with one other value, which lasts so many seconds.
fn with((batch, _): (Batch, Vec<u8>), values: Values, lasting_s: i64) -> (Batch, Vec<u8>) {
    let column = Column {
        metric: MetricId(3),
        unit: "".into(),
        factor: Factor::IDENTITY,
        index: vec![0],
        measured_at: vec![HOUR.start().plus(5 * SECOND)],
        quality: vec![GOOD],
        lasting: vec![lasting_s * SECOND],
        values,
    };
    let mut block = Vec::new();
    Block { columns: vec![column] }.encode(HOUR, &mut block);
    (batch, block)
}

#[test]
fn what_was_corrected_is_not_added_up_with_what_corrects_it() {
    assert_eq!(counted(&[steps(1, 1, 600.0), steps(1, 2, 650.0)]), (1, 650.0));
    assert_eq!(counted(&[steps(1, 1, 600.0), steps(1, 2, 650.0), steps(1, 3, 600.0)]), (1, 600.0), "back again");
    // in another stream, and in another unit: 325 times two
    assert_eq!(counted(&[steps(1, 1, 600.0), row(2, 2, 2, "half", &[(5, 325.0)])]), (1, 650.0));
    // to a later end, with another number or the same
    let [first, second] = [1, 2].map(|sequence| steps(1, sequence, 0.0));
    for number in [800.0, 600.0] {
        let first = with(first.clone(), Values::Number(vec![600.0]), 600);
        let longer = with(second.clone(), Values::Number(vec![number]), 900);
        assert_eq!(counted(&[first, longer]), (1, number));
    }
}

#[test]
fn what_is_sent_again_and_what_takes_back_supersede_nothing() {
    let (first, second) = (steps(1, 1, 600.0), steps(1, 2, 650.0));
    assert_eq!(counted(&[first.clone(), second.clone(), steps(2, 3, 600.0)]), (1, 650.0));
    // what comes after it counts, and nothing before
    let back = taken_back(1, 3, 3, &[(5, 650.0)]);
    assert_eq!(counted(&[first.clone(), second.clone(), back.clone()]), (0, 0.0));
    assert_eq!(counted(&[first, second, back, steps(1, 4, 700.0)]), (1, 700.0));
}

#[test]
fn events_of_one_batch_count_each_until_another_batch_corrects_them() {
    let two = row(1, 1, 1, "", &[(5, 600.0), (5, 650.0)]);
    assert_eq!(counted(std::slice::from_ref(&two)), (2, 1_250.0));
    assert_eq!(counted(&[two.clone(), row(1, 2, 2, "", &[(5, 700.0), (5, 710.0)])]), (2, 1_410.0));
    let mut other = steps(1, 2, 700.0);
    other.0.identity.device = DeviceId::from_bytes([2; 16]);
    assert_eq!(counted(&[two, other]), (3, 1_950.0), "of another device");
}

#[test]
fn an_event_that_its_batch_repeats_beside_a_new_one_is_not_lost() {
    let of = |stream: u8, sequence: u32, numbers: &[f64]| {
        let readings: Vec<_> = numbers.iter().map(|number| (5, *number)).collect();
        row(stream, sequence.into(), sequence.into(), "", &readings)
    };
    let two = of(1, 1, &[70.0, 80.0]);
    for stream in [1, 2] {
        assert_eq!(counted(&[two.clone(), of(stream, 2, &[70.0, 81.0])]), (2, 151.0), "in stream {stream}");
    }
    assert_eq!(counted(&[of(1, 1, &[70.0]), of(2, 2, &[70.0, 80.0])]), (2, 150.0));
    assert_eq!(counted(&[of(1, 1, &[70.0]), of(2, 2, &[80.0, 70.0])]), (2, 150.0));
    // until another batch corrects all of them
    assert_eq!(counted(&[two.clone(), of(2, 2, &[70.0, 81.0]), of(2, 3, &[82.0])]), (1, 82.0));
    // a repeat in a batch of its own keeps nothing that was corrected before
    assert_eq!(counted(&[two, of(1, 2, &[81.0]), of(2, 3, &[70.0])]), (1, 81.0));
}

#[test]
fn the_same_in_another_unit_counts_once() {
    let half =
        |stream: u8, sequence: u32, number: f64| row(stream, sequence.into(), sequence.into(), "half", &[(5, number)]);
    for stream in [1, 2] {
        assert_eq!(counted(&[steps(1, 1, 600.0), half(stream, 2, 300.0)]), (1, 600.0), "in stream {stream}");
        assert_eq!(counted(&[half(1, 1, 300.0), steps(stream, 2, 600.0)]), (1, 600.0), "in stream {stream}");
    }
    // and is no correction in a timeline
    assert_eq!(marked(sheet(&[steps(1, 1, 600.0), half(1, 2, 300.0)])), [(600.0, GOOD), (300.0, GOOD)]);
}

#[test]
fn a_doubtful_value_that_was_corrected_counts_nowhere() {
    let doubtful = row_of(Quality::IMPLAUSIBLE, (1, 1, 1), "", &[(5, 7_000.0)]);
    let rollup = |rows: &[(Batch, Vec<u8>)]| {
        let rollup = Rollup::of(&sheet(rows), ClockTolerance::default())[0];
        (rollup.n_doubtful, rollup.good.map(|good| good.sum))
    };
    assert_eq!(rollup(std::slice::from_ref(&doubtful)), (1, None));
    assert_eq!(rollup(&[doubtful.clone(), steps(1, 2, 70.0)]), (0, Some(70.0)));
    // what corrects may be the doubtful one
    assert_eq!(rollup(&[steps(1, 0, 70.0), doubtful]), (1, None));
}

#[test]
fn a_corrected_bound_counts_nowhere_and_a_timeline_has_all_as_it_came() {
    let bound = Values::Bounded(vec![Bound { comparator: Comparator::Less, number: 20.0 }]);
    let rows = [with(steps(1, 1, 0.0), bound, 0), steps(1, 2, 35.0)];
    let mut sheet = sheet(&rows);
    let rollup = Rollup::of(&sheet, ClockTolerance::default())[0];
    assert_eq!((rollup.n_bounded, rollup.n_doubtful, rollup.good.unwrap().sum), (0, 0, 35.0));
    ClockTolerance::default().mark(&mut sheet);
    let marks: Vec<_> = sheet.columns.iter().flat_map(|column| column.lines.quality.iter().copied()).collect();
    assert_eq!(marks, [GOOD, Quality::CORRECTION]);
}

#[test]
fn of_very_many_values_of_an_instant_the_last_one_counts() {
    let mut rows: Vec<_> = (1..=1_000).map(|n| steps(1, n, n.into())).collect();
    rows.push(steps(2, 1_001, 7.0));
    assert_eq!(counted(&rows), (1, 1_000.0));
}
