//! What goes into a block comes out, and damage is noticed.

use super::*;
use crate::reading::{Absence, Bound, Comparator, Waveform};
use proptest::prelude::*;

const HOUR: Hour = Hour(446_000);

fn column(times: Vec<i64>, values: Vec<f64>) -> Column {
    let n = times.len();
    Column {
        metric: MetricId(1),
        unit: "bpm".into(),
        factor: Factor::IDENTITY,
        index: (0..n as u32).collect(),
        measured_at: times.into_iter().map(|t| HOUR.start().plus(t)).collect(),
        quality: vec![Quality::GOOD; n],
        lasting: Vec::new(),
        values: Values::Number(values),
    }
}

fn check(block: &Block) -> Vec<u8> {
    let mut bytes = Vec::new();
    block.encode(HOUR, &mut bytes);
    // compared as text, in which NaN equals NaN
    assert_eq!(format!("{block:?}"), format!("{:?}", Block::decode(HOUR, &bytes).unwrap()));
    bytes
}

#[test]
fn five_metrics_for_ten_seconds_take_four_bytes_a_reading() {
    let seconds: Vec<i64> = (0..10).map(|s| s * Nanos::SECOND).collect();
    let columns = (0..5).map(|m| Column {
        unit: "".into(),
        metric: MetricId(m),
        ..column(seconds.clone(), (0..10).map(|i| 70.0 + f64::from(i % 3)).collect())
    });
    let bytes = check(&Block { columns: columns.collect() });
    assert!(bytes.len() <= 4 * 50, "{} bytes", bytes.len());
}

#[test]
fn odd_values_survive() {
    let odd = vec![36.7, -0.0, 1e300, f64::MIN_POSITIVE, 0.1 + 0.2, 11_647.0];
    check(&Block { columns: vec![column((0..6).collect(), odd)] });
    check(&Block::default());
    let wave = Waveform {
        origin: 0.5,
        period_ns: 2_000_000,
        scale: 0.005,
        samples: vec![0, i32::MAX, i32::MIN],
        missing: vec![],
    };
    let mut waves = column(vec![3], vec![]);
    waves.values = Values::Waveform(vec![wave]);
    let mut coded = column(vec![5, 4], vec![]);
    coded.values = Values::Coded(vec!["A".into(), "V".into()]);
    coded.factor = Factor { scale: 5.0 / 9.0, offset: -17.7 };
    coded.quality[1] = Quality::FUTURE;
    check(&Block { columns: vec![waves, coded] });
}

#[test]
fn a_claim_of_size_allocates_nothing() {
    // one column that claims 2^40 readings in a regular series
    let mut bytes = vec![VERSION, 1, 1, 0, 0];
    put_varint(&mut bytes, 1 << 40);
    bytes.extend_from_slice(&[0; 16]);
    assert_eq!(Block::decode(HOUR, &bytes).unwrap_err().what, "at most 1,048,576 readings");
}

proptest! {
    #[test]
    fn whatever_goes_in_comes_out(
        items in prop::collection::vec((any::<i32>(), any::<f64>(), any::<u8>()), 0..60),
        decimals in prop::collection::vec(-100_000i64..100_000, 0..60),
    ) {
        let times = items.iter().map(|i| i64::from(i.0)).collect();
        let mut raw = column(times, items.iter().map(|i| i.1).collect());
        raw.quality = items.iter().map(|i| Quality::from_bits(i.2)).collect();
        let tenths = column((0..decimals.len() as i64).collect(), decimals.iter().map(|&d| d as f64 / 10.0).collect());
        check(&Block { columns: vec![raw, tenths] });
    }

    #[test]
    fn damage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), whole in any::<bool>(), at in any::<usize>()) {
        if whole {
            let mut good = Vec::new();
            Block { columns: vec![column(vec![1, 5, 9], vec![1.0, 2.5, 3.0])] }.encode(HOUR, &mut good);
            let at = at % good.len();
            good[at] ^= bytes.first().copied().unwrap_or(1);
            bytes = good;
        }
        let _ = Block::decode(HOUR, &bytes);
    }
}

#[test]
fn what_is_plain_is_written_as_it_always_was() {
    let plain = check(&Block { columns: vec![column(vec![1, 2], vec![70.0, 71.0])] });
    assert_eq!(plain[0], PLAIN);
    // version 1, as it stands in logs and stores: metric 1 in bpm, two readings at 1 and 2 ns, values 70 and 71
    let kept = [1, 1, 1, 3, b'b', b'p', b'm', 0, 2, 0, 0, 0, 2, 0, 0, 2, 2, 0, 0, 0, 0, 0, 140, 1, 2];
    assert_eq!(plain, kept);
}

#[test]
fn what_lasts_bounds_reasons_and_gaps_survive() {
    let second = Nanos::SECOND;
    let lasting = Column { lasting: vec![600 * second, 0], ..column(vec![1, 2], vec![512.0, 3.0]) };
    let bound = |comparator, number| Bound { comparator, number };
    let all = [Comparator::Less, Comparator::LessOrEqual, Comparator::GreaterOrEqual, Comparator::Greater];
    let bounds = all.into_iter().zip([20.0, 39.0, 400.0, f64::MAX]).map(|(sign, number)| bound(sign, number)).collect();
    let bounded = Column { values: Values::Bounded(bounds), ..column(vec![5, 6, 7, 8], vec![]) };
    let reasons: Vec<_> = (1..=15).filter_map(Absence::from_code).collect();
    assert!(reasons.len() == 15 && reasons.iter().all(|reason| Absence::named(reason.name()) == Some(*reason)));
    let absent = Column { values: Values::Absent(reasons), ..column((0..15).collect(), vec![]) };
    let wave = |missing| Waveform { origin: 0.0, period_ns: 2_000_000, scale: 0.5, samples: vec![1, 2, 3, 4], missing };
    let waves = vec![wave(vec![]), wave(vec![0, 3])];
    assert_eq!(waves[1].measured().collect::<Vec<_>>(), [2, 3]);
    let gaps = Column { values: Values::Waveform(waves), ..column(vec![9, 10], vec![]) };
    for one in [&lasting, &bounded, &absent, &gaps] {
        assert_eq!(check(&Block { columns: vec![one.clone()] })[0], VERSION);
    }
    assert_eq!((lasting.end(0), lasting.end(1)), (HOUR.start().plus(1 + 600 * second), HOUR.start().plus(2)));
    let bytes = check(&Block { columns: vec![lasting, bounded, absent, gaps, column(vec![3], vec![1.0])] });
    // every damage is noticed or changes nothing but values: no reader panics
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let _ = Block::decode(HOUR, &damaged);
        let _ = Block::decode(HOUR, &bytes[..at]).expect_err("a part of a block");
    }
}

#[test]
fn how_far_an_hour_reaches_stands_among_its_metrics() {
    let reach = |lasting: i64| {
        let mut bytes = Vec::new();
        let one = Column { lasting: vec![lasting], ..column(vec![0], vec![5.0]) };
        Block { columns: vec![one] }.encode(HOUR, &mut bytes);
        let mut found = metrics(HOUR, &bytes, &mut Column::scratch()).unwrap();
        let reach = Reach::take(&mut found);
        (found, reach)
    };
    let hour = Nanos::DAY / 24;
    for (lasting, expected) in [
        (0, Reach::Within),
        (hour, Reach::Within),
        (hour + 1, Reach::NextHour),
        (2 * hour, Reach::NextHour),
        (2 * hour + 1, Reach::Longer),
        (Reach::LONGEST, Reach::Longer),
    ] {
        assert_eq!(reach(lasting), (vec![MetricId(1)], expected), "{lasting}");
    }
    assert!(Reach::NextHour.reaches(Hour(1), Hour(2)) && !Reach::NextHour.reaches(Hour(1), Hour(3)));
    assert!(Reach::Longer.reaches(Hour(1), Hour(160)) && Reach::before(Hour(200)).contains(Hour(32)));
    // the ECG of an hour that was stored before there were marks
    let mut old = vec![MetricId(1), MetricId(73)];
    assert_eq!((Reach::take(&mut old), old), (Reach::NextHour, vec![MetricId(1), MetricId(73)]));
}
