//! Damaged requests against a whole node: no panic, never INTERNAL, and what was acknowledged is there.
//!
//! `WARDLINE_MUTATIONS=100000` runs the full count over the wire; decoding and judging always runs it.

use async_trait::async_trait;
use bus::{Outgoing, Publish, Receipt};
use model::{
    Block, Malformed, Nanos, Record,
    access::{Permission, Principal, Subject},
};
use prost::Message as _;
use proto::{
    in_place::ingest_service_server::IngestService,
    salvage::ReceivedWrite,
    telemetry::v1::{
        Batch, Reading, SampleWidth, Waveform, WriteReadingsRequest, WriteReadingsResponse, reading::Value,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tests::{
    Bed, Sandbox,
    builders::{batch, everything, open, pulse, reading, write},
    raw::{call, frame},
    wait::until,
};
use tonic::{Code, Request};

const SEED: u64 = 0x57a2_d11e;
const OVER_THE_WIRE: usize = 20_000;
const DECODED: usize = 100_000;
/// Requests at once, each over a connection of its own.
const CALLERS: usize = 8;
const UNARY: &str = "/wardline.telemetry.v1.IngestService/WriteReadings";
const STREAM: &str = "/wardline.telemetry.v1.IngestService/StreamReadings";
const AT: Nanos = Nanos(1_700_000_000 * Nanos::SECOND);

/// Those of a round, each at a time of its own: what a device says again in another stream is shown once.
fn readings(round: u64) -> Vec<Reading> {
    // a damaged message may say another time, and must not say the same as another one: each has values of its own, too
    let (step, own) = ((round % 100_000) as i64, (round % 100_000) as f64 / 1e4);
    let at = AT.plus(step * Nanos::SECOND);
    let samples = (0..40).map(|i| i * i - 300).collect();
    let wave = Waveform {
        origin: 0.1 + own,
        period_ns: 4_000_000,
        scale: 0.005,
        width: SampleWidth::Int16 as i32,
        samples,
        missing: vec![],
    };
    let valued = |metric: &str, unit: &str, value| Reading { value: Some(value), ..reading(metric, unit, 0.0, at) };
    vec![
        pulse(72.0 + own, at),
        reading("8310-5", "[degF]", 98.6 + own, at.plus(1)),
        reading("8480-6", "mmHg", 121.0 + own, at.plus(2)),
        Reading { value: Some(Value::Code("A".into())), ..reading("67775-7", "", 0.0, at.plus(step * 1_000)) },
        valued("11524-6", "mV", Value::Waveform(wave)),
        Reading { questionable: true, ..pulse(own, at.plus(3)) },
    ]
}

/// Damages bytes in one to four places: flipped bits, cuts, repeated pieces, odd lengths, inserted and replaced bytes.
fn damage(dice: &mut StdRng, good: &[u8]) -> Vec<u8> {
    const ODD: [u8; 8] = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x22];
    let mut bytes = good.to_vec();
    for _ in 0..dice.random_range(1..=4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.random_range(0..bytes.len());
        match dice.random_range(0..7) {
            0 | 1 => bytes[at] ^= 1 << dice.random_range(0..8),
            2 => bytes.truncate(at),
            3 => bytes[at] = ODD[dice.random_range(0..ODD.len())],
            4 => bytes.insert(at, dice.random()),
            5 => {
                let end = (at + dice.random_range(1..40)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + dice.random_range(1..200)).min(bytes.len());
                let (piece, place) = (bytes[at..end].to_vec(), dice.random_range(0..=bytes.len()));
                bytes.splice(place..place, piece);
            }
        }
    }
    bytes
}

/// What is known after some damaged requests of one device.
#[derive(Default)]
struct Tally {
    codes: BTreeMap<i32, usize>,
    /// Readings accepted for good, by stream and sequence: what is to be found afterwards.
    accepted: BTreeMap<(String, u64), u64>,
}

async fn bombard(sandbox: &Sandbox, bed: Bed, seed: u64, n: usize) -> anyhow::Result<Tally> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut channel = sandbox.channel().await?;
    let authorization = format!("Bearer {}", sandbox.device_token(bed.device)?);
    let headers = [("authorization", authorization.as_str())];
    let mut tally = Tally::default();
    for round in 0..n as u64 {
        // each its own sequence, so that a damaged batch does not meet an earlier one
        let whole = write(&bed, round + 1, readings(round));
        let (path, body, sent) = match round % 3 {
            0 => {
                let single = damage(&mut dice, &whole.encode_to_vec());
                let sent = WriteReadingsRequest::decode(&single[..]).ok();
                (UNARY, frame(0, &single), sent)
            }
            1 => (UNARY, damage(&mut dice, &frame(0, &whole.encode_to_vec())), None),
            _ => {
                let stream = Bed { stream: Bed::numbered(round as u32 + 1_000).stream, ..bed };
                let opening = frame(0, &open(&stream, 0).encode_to_vec());
                let batch = frame(0, &damage(&mut dice, &batch(1, readings(round)).encode_to_vec()));
                (STREAM, [opening, batch].concat(), None)
            }
        };
        let answer = call(&mut channel, path, &headers, body).await?;
        let code = answer.status.code();
        anyhow::ensure!(
            !matches!(code, Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable),
            "round {round} of seed {seed}: {:?}",
            answer.status
        );
        *tally.codes.entry(code as i32).or_default() += 1;
        if let (Code::Ok, Some(sent)) = (code, sent) {
            let answer = WriteReadingsResponse::decode(&answer.bytes[5..])?;
            if answer.duplicate_readings == 0 {
                tally.accepted.insert((sent.stream_id.to_lowercase(), sent.sequence), answer.accepted_readings);
            }
        }
    }
    Ok(tally)
}

/// How many readings of each batch can be read.
async fn stored(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<BTreeMap<(String, u64), u64>> {
    let mut found: BTreeMap<(String, u64), u64> = BTreeMap::new();
    let (mut client, mut request) = (sandbox.timeline().await?, everything(bed));
    loop {
        let page = client.read_timeline(sandbox.as_person("doctor", request.clone())?).await?.into_inner();
        for stored in page.readings {
            *found.entry((stored.stream_id, stored.sequence)).or_default() += 1;
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(found);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_requests_never_break_the_server_nor_lose_what_it_acknowledged() -> anyhow::Result<()> {
    let total = env::var("WARDLINE_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(OVER_THE_WIRE);
    let sandbox = Sandbox::start(CALLERS as u32).await?;
    let calls = (0..CALLERS as u32).map(|n| bombard(&sandbox, Bed::numbered(n), SEED + u64::from(n), total / CALLERS));
    let tallies = futures::future::try_join_all(calls).await?;
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for (code, n) in tallies.iter().flat_map(|tally| &tally.codes) {
        *codes.entry(*code).or_default() += n;
    }
    for code in [Code::Ok, Code::InvalidArgument, Code::PermissionDenied] {
        assert!(codes.get(&(code as i32)).is_some_and(|n| *n > total / 1_000), "too tame: {codes:?}");
    }
    for (n, tally) in tallies.iter().enumerate() {
        let bed = Bed::numbered(n as u32);
        let last = 1 << 40;
        // the last batch of the patient's partition: all before it are written when it is read
        assert_eq!(sandbox.write(&bed, last, readings(last)).await?.accepted_readings, 6);
        let all = async || stored(&sandbox, &bed).await;
        let found = until("the last batch", all, |found| found.iter().any(|(key, n)| key.1 == last && *n == 6)).await?;
        for (key, accepted) in tally.accepted.iter().filter(|(_, accepted)| **accepted > 0) {
            let key = (uuid::Uuid::parse_str(&key.0)?.to_string(), key.1);
            assert_eq!(found.get(&key), Some(accepted), "batch {key:?} of bed {n}");
        }
        assert!(tally.accepted.len() > total / CALLERS / 60, "too few were accepted: {}", tally.accepted.len());
    }
    Ok(())
}

/// A log that takes everything which can be read back, and forgets it.
struct Proof(AtomicUsize);

#[async_trait]
impl Publish for Proof {
    async fn publish(&self, record: Outgoing) -> Result<Receipt, bus::Error> {
        let rows = Record::decode(&record.payload).and_then(|record| {
            let rows = record.rows()?;
            rows.iter().map(|row| Ok(Block::decode(row.hour, &row.block)?.len())).sum::<Result<usize, Malformed>>()
        });
        let n_readings = rows.map_err(|malformed| bus::Error::Fatal(malformed.to_string()))?;
        self.0.fetch_add(n_readings, Ordering::SeqCst);
        Ok(Box::pin(async { Ok(()) }))
    }

    fn has_room(&self) -> bool {
        true
    }

    async fn flush(&self, _: Duration) -> Result<(), bus::Error> {
        Ok(())
    }

    fn fatal(&self) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn what_can_be_decoded_is_judged_and_what_is_accepted_can_be_read_back() -> anyhow::Result<()> {
    let (dir, bed) = (tempfile::tempdir()?, Bed::numbered(0));
    std::fs::write(dir.path().join("beds.toml"), tests::directory_of(&[bed]))?;
    let log = Arc::new(Proof(AtomicUsize::new(0)));
    let ingest = tests::fakes::ingest(log.clone(), dir.path(), Default::default(), Default::default())?;
    let principal = Principal::everywhere(Subject::Device(bed.device), &[Permission::WriteReadings], Nanos::MAX);
    let mut dice = StdRng::seed_from_u64(SEED);
    let good = Batch { sequence: 1, readings: readings(0) }.encode_to_vec();
    let (mut decoded, mut accepted, mut refused) = (0, 0, 0);
    for round in 0..DECODED as u64 {
        let Ok(batch) = Batch::decode(&damage(&mut dice, &good)[..]) else { continue };
        let again = batch.encode_to_vec();
        assert!(Batch::decode(&again[..]).is_ok_and(|batch| batch.encode_to_vec() == again), "round {round}");
        decoded += 1;
        let n_readings = batch.readings.len() as u64;
        let mut request = Request::new(ReceivedWrite::from(write(&bed, round + 1, batch.readings)));
        request.extensions_mut().insert(principal.clone());
        match ingest.write_readings(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                assert_eq!(answer.accepted_readings + answer.refused.len() as u64, n_readings, "round {round}");
                accepted += answer.accepted_readings;
                refused += answer.refused.len();
            }
            Err(status) => assert_eq!(status.code(), Code::InvalidArgument, "round {round}: {status:?}"),
        }
    }
    assert_eq!(log.0.load(Ordering::SeqCst) as u64, accepted, "what was accepted is what was published");
    assert!(decoded > DECODED / 20 && decoded < DECODED, "{decoded} of {DECODED} could be decoded");
    assert!(
        accepted > DECODED as u64 / 4 && refused > DECODED / 50,
        "too tame: {accepted} accepted, {refused} refused"
    );
    Ok(())
}
