//! What goes into a block comes out, and damage is noticed.

use super::*;
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
    let wave = Waveform { origin: 0.5, period_ns: 2_000_000, scale: 0.005, samples: vec![0, i32::MAX, i32::MIN] };
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
        raw.quality = items.iter().map(|i| Quality(i.2)).collect();
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
