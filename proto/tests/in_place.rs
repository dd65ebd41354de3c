//! Read in place or by prost: the same is taken, with the same content, and the same is refused.

use bytes::Bytes;
use prost::Message as _;
use proto::{
    in_place::{Message, ReadingView, Received, ValueView},
    prost_types::Timestamp,
    telemetry::v1::{
        Batch, Bound, Open, Reading, StreamReadingsRequest, Waveform, reading::Value,
        stream_readings_request::Message as In,
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
    let value = match random.below(8) {
        0 => None,
        1 => Some(Value::Code(text(random))),
        2 => Some(Value::Waveform(Waveform {
            origin: 1.5,
            period_ns: random.next() as i64,
            scale: -0.25,
            width: random.below(3) as i32,
            samples: (0..random.below(5)).map(|_| random.next() as i32).collect(),
            missing: (0..random.below(3)).map(|_| random.next() as u32).collect(),
        })),
        3 => Some(Value::Bound(Bound {
            comparator: random.next() as i32,
            number: (random.below(4) > 0).then(|| f64::from_bits(random.next())),
        })),
        4 => Some(Value::AbsentReason(random.next() as i32 >> random.below(32))),
        _ => Some(Value::Number(f64::from_bits(random.next()))),
    };
    let stamp = Timestamp { seconds: random.next() as i64 >> random.below(60), nanos: random.next() as i32 };
    Reading {
        metric: text(random),
        measured_at: (random.below(5) > 0).then_some(stamp),
        unit: text(random),
        value,
        questionable: random.below(4) == 0,
        entered_in_error: random.below(4) == 0,
        measured_until: (random.below(5) == 0).then_some(stamp),
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
        Some(ValueView::Bound(bound)) => format!("{:x?}", bound.encode_to_vec()),
        Some(ValueView::Absent(reason)) => format!("absent {reason}"),
    };
    let until = view.measured_until.map(|until| (until.seconds, until.nanos));
    let marks = (view.questionable, view.entered_in_error);
    format!("{} {at:?} {until:?} {} {value} {marks:?}", view.metric, view.unit)
}

/// Whether it was read in place; fails when prost takes it for anything else.
fn compare(bytes: &[u8]) -> bool {
    let received = Received::new(Bytes::copy_from_slice(bytes));
    let by_prost = StreamReadingsRequest::decode(bytes);
    match (received.read(), by_prost) {
        (Err(_), Err(_)) => false,
        (Ok(Message::Damaged { readings, .. }), Err(_)) => {
            assert!(readings.iter().any(Result::is_err), "{bytes:x?}: all of it can be read, and prost does not");
            false
        }
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

/// A reading of these fields, each with its number, its wire type and its bytes.
fn piece(number: u8, wire_type: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128, "its length takes one byte");
    let length = if wire_type == 2 { vec![content.len() as u8] } else { Vec::new() };
    [&[number << 3 | wire_type][..], &length, content].concat()
}

/// A message of this batch.
fn message(batch: &[u8]) -> Bytes {
    let mut message = vec![0x12];
    prost::encoding::encode_varint(batch.len() as u64, &mut message);
    message.extend_from_slice(batch);
    message.into()
}

#[test]
fn one_reading_that_cannot_be_read_is_told_by_itself_and_the_others_are_read() {
    let number = Reading { metric: "8867-4".to_owned(), value: Some(Value::Number(60.0)), ..Default::default() };
    let code = Reading { metric: "67775-7".to_owned(), value: Some(Value::Code("A".to_owned())), ..Default::default() };
    let good = [number, code].map(|reading| reading.encode_to_vec());
    let bad = [
        ("unit", piece(3, 2, b"mg\xb5")),
        ("metric", piece(1, 2, &[0xff])),
        ("code", [piece(1, 2, b"67775-7"), piece(5, 2, &[0xc3])].concat()),
        ("measured_at", piece(2, 2, &[0x08])),
        ("measured_at", piece(2, 0, &[1])),
        ("waveform", piece(6, 2, &[0x0a, 9, 1])),
        ("number", piece(4, 2, b"72")),
        ("questionable", piece(7, 2, b"yes")),
        ("entered_in_error", piece(11, 2, b"yes")),
        ("", vec![0x0b]),
        ("", vec![0x1a, 200, 1]),
        ("", vec![0]),
    ];
    for (field, bytes) in bad {
        let batch = [
            piece(2, 2, &good[0]),
            piece(1, 0, &[9]),
            piece(2, 2, &bytes),
            piece(2, 2, &good[1]),
            // a field of a later version
            piece(9, 2, b"later"),
        ]
        .concat();
        let received = Received::new(message(&batch));
        let Ok(Message::Damaged { sequence, readings }) = received.read() else { panic!("{field}: {bytes:x?}") };
        assert_eq!((sequence, readings.len()), (9, 3), "{field}");
        for (place, good) in [(0, &good[0]), (2, &good[1])] {
            assert_eq!(readings[place].as_ref().ok().unwrap().encode_to_vec(), *good, "{field}");
        }
        let unreadable = readings[1].as_ref().err().unwrap();
        assert_eq!((unreadable.field, &unreadable.bytes[..]), (field, &bytes[..]));
    }
}

#[test]
fn a_message_whose_lengths_do_not_hold_is_no_batch() {
    for bytes in [&[0x12, 5, 0x12, 9, 0x1a, 1, 0xff][..], &[0x12, 3, 0x12, 1], &[0x0a, 3, 0x0a, 1, 0xff], &[0x13]] {
        assert!(Received::new(Bytes::copy_from_slice(bytes)).read().is_err(), "{bytes:x?}");
    }
    // of more readings than any batch has nothing is kept
    let many = [piece(2, 2, &[0x1a, 1, 0xff]), [0x12, 0].repeat(70_000)].concat();
    assert!(Received::new(message(&many)).read().is_err());
}
