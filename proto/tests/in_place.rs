//! Read in place or by prost: the same is taken, with the same content, and the same is refused.

use bytes::Bytes;
use prost::Message as _;
use proto::{
    in_place::{Message, ReadingView, Received, ValueView},
    prost_types::Timestamp,
    telemetry::v1::{
        Batch, Open, Reading, StreamReadingsRequest, Waveform, reading::Value, stream_readings_request::Message as In,
    },
};

/// Marsaglia's xorshift: the same cases each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn reading(random: &mut Random) -> Reading {
    let texts = ["", "8867-4", "mm[Hg]", "µmol/l", "a text that is longer than a code"];
    let text = |random: &mut Random| texts[random.below(texts.len() as u64) as usize].to_owned();
    let value = match random.below(5) {
        0 => None,
        1 => Some(Value::Code(text(random))),
        2 => Some(Value::Waveform(Waveform {
            origin: 1.5,
            period_ns: random.next() as i64,
            scale: -0.25,
            width: random.below(3) as i32,
            samples: (0..random.below(5)).map(|_| random.next() as i32).collect(),
        })),
        _ => Some(Value::Number(f64::from_bits(random.next()))),
    };
    let stamp = Timestamp { seconds: random.next() as i64 >> random.below(60), nanos: random.next() as i32 };
    Reading {
        metric: text(random),
        measured_at: (random.below(5) > 0).then_some(stamp),
        unit: text(random),
        value,
        questionable: random.below(4) == 0,
    }
}

/// The content, so that NaN equals NaN.
fn shown(view: &ReadingView<'_>) -> String {
    let at = view.measured_at.map(|at| (at.seconds, at.nanos));
    let value = match &view.value {
        None => String::new(),
        Some(ValueView::Number(number)) => format!("{:x}", number.to_bits()),
        Some(ValueView::Code(code)) => format!("code {code}"),
        Some(ValueView::Waveform(wave)) => format!("{:x?}", wave.encode_to_vec()),
    };
    format!("{} {at:?} {} {value} {}", view.metric, view.unit, view.questionable)
}

/// Whether it was read in place; fails when prost takes it for anything else.
fn compare(bytes: &[u8]) -> bool {
    let received = Received::new(Bytes::copy_from_slice(bytes));
    let by_prost = StreamReadingsRequest::decode(bytes);
    match (received.read(), by_prost) {
        (Err(_), Err(_)) => false,
        (Ok(Message::Other(ours)), Ok(theirs)) => {
            assert_eq!(ours.encode_to_vec(), theirs.encode_to_vec());
            false
        }
        (Ok(Message::Batch { sequence, readings }), Ok(StreamReadingsRequest { message: Some(In::Batch(batch)) })) => {
            assert_eq!((sequence, readings.len()), (batch.sequence, batch.readings.len()));
            for (ours, theirs) in readings.iter().zip(&batch.readings) {
                assert_eq!(shown(ours), shown(&theirs.into()));
            }
            true
        }
        (ours, theirs) => panic!("{bytes:x?}: read {}, by prost {}", ours.is_ok(), theirs.is_ok()),
    }
}

fn batch(random: &mut Random) -> Vec<u8> {
    let readings = (0..random.below(5)).map(|_| reading(random)).collect();
    let sequence = random.next() >> random.below(64);
    StreamReadingsRequest { message: Some(In::Batch(Batch { sequence, readings })) }.encode_to_vec()
}

#[test]
fn every_batch_is_read_in_place() {
    let mut random = Random(0x5eed);
    for _ in 0..20_000 {
        assert!(compare(&batch(&mut random)));
    }
}

#[test]
fn whatever_comes_is_read_as_prost_reads_it() {
    let mut random = Random(0xbad);
    let mut n_in_place = 0;
    for _ in 0..200_000 {
        let mut bytes = batch(&mut random);
        for _ in 0..=random.below(3) {
            let place = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[place] = random.next() as u8,
                1 => bytes[place] ^= 1 << random.below(8),
                2 => bytes.insert(place, random.next() as u8),
                _ => bytes.truncate(place.max(1)),
            }
        }
        n_in_place += u32::from(compare(&bytes));
    }
    assert!((10_000..190_000).contains(&n_in_place), "{n_in_place}");
}

#[test]
fn what_is_unusual_goes_the_general_way() {
    let open = Open { device_id: "d".to_owned(), ..Default::default() };
    assert!(!compare(&StreamReadingsRequest { message: Some(In::Open(open)) }.encode_to_vec()));
    assert!(!compare(&[]));
    // a batch in two pieces, a reading with two times, an unknown field
    for bytes in [&[0x12, 2, 8, 1, 0x12, 2, 8, 2][..], &[0x12, 6, 0x12, 4, 0x12, 0, 0x12, 0], &[0x12, 2, 0x58, 1]] {
        assert!(StreamReadingsRequest::decode(bytes).is_ok());
        assert!(!compare(bytes));
    }
}
