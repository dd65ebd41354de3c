//! The simulator against a server that counts, and how fast one stream can be.

use super::fake::{Do, Fake, GONE, wire};
use client::{Sender, Stream};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;
use wardline::{
    replay::Target,
    simulate::{Options, Patient, Rate, Report, Scenario, SimulatedDevice, send},
};

async fn simulate(fake: &Fake, rate: Rate, scenario: Scenario) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("http://{}", fake.serve().await).into();
    let target = Target::new(endpoint, folder.path().join("demo"), folder.path().to_owned());
    send(options(rate, scenario), target).await.unwrap()
}

fn options(rate: Rate, scenario: Scenario) -> Options {
    Options {
        devices: 1.try_into().unwrap(),
        rate,
        batch: 4.try_into().unwrap(),
        scenario,
        seed: 9,
        seconds: 1.try_into().unwrap(),
        metrics: Vec::new(),
        json: false,
    }
}

#[tokio::test]
async fn it_ends_when_its_server_does() {
    let fake = Fake::new(|_, _| Do::Ack);
    let (address, cut) = wire(fake.serve().await).await;
    let folder = tempfile::tempdir().unwrap();
    let target = Target::new(format!("http://{address}").into(), folder.path().join("demo"), folder.path().to_owned());
    let target = Target { patience: Duration::from_millis(100), ..target };
    // it sends for longer than anybody waits for this test
    let options = Options { seconds: 600.try_into().unwrap(), ..options(Rate::Max, Scenario::Calm) };
    let sending = tokio::spawn(send(options, target));
    fake.wait_arrived(10).await;
    cut.send_replace(GONE);
    let error = sending.await.unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("no server answered within"), "{error:#}");
}

#[tokio::test]
async fn sends_on_schedule() {
    let fake = Fake::new(|_, _| Do::Ack);
    let report = simulate(&fake, Rate::Hertz(200.0), Scenario::Calm).await;
    assert_eq!((report.sent, report.acknowledged, report.duplicate), (200 - 4, 200 - 4, 0));
    assert!(report.ack_p99_ms > 0.0 && report.refused.is_empty());
    assert!(report.to_string().contains("acknowledged  196"), "{report}");
}

#[tokio::test]
async fn repetitions_are_duplicates() {
    let fake = Fake::new(|_, _| Do::Ack);
    let report = simulate(&fake, Rate::Hertz(200.0), Scenario::Duplicates).await;
    // batches 5, 10 ... 45 of 49
    assert_eq!((report.sent, report.acknowledged, report.duplicate), (196, 196, 9 * 4));
    // and a fifth of them by a device that lost its state: from the beginning, in a new stream
    assert!(report.again == 9 * 4 && report.to_string().contains("once more     36 in a new stream"), "{report}");
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.opens, [0, 0]);
    assert_eq!(seen.arrived[seen.arrived.len() - 9..], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_storm_loses_nothing() {
    let fake = Fake::new(|_, _| Do::Ack);
    let report = simulate(&fake, Rate::Max, Scenario::ReconnectStorm).await;
    assert_eq!((report.sent, report.reconnects), (report.acknowledged, 2));
    let kept: Vec<u64> = fake.seen.lock().unwrap().kept.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(kept, (1..=report.sent / 4).collect::<Vec<_>>());
}

/// `cargo test --release -p node --test client_simulate -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn batches_a_second() {
    const N_BATCHES: u64 = 64 * 6_400;
    for n_streams in [1_u64, 4] {
        let mut senders = Vec::new();
        for number in 0..n_streams {
            let fake = Fake { max_in_flight: 1_024, ..Fake::new(|_, n| if n % 64 == 0 { Do::Ack } else { Do::Keep }) };
            let channel = client::channel(format!("http://{}", fake.serve().await)).unwrap();
            let SimulatedDevice { device, .. } = SimulatedDevice::new(1, number as u32);
            let stream = Stream {
                device: device.uuid(),
                stream: Uuid::from_bytes([1; 16]),
                resume_after: 0,
                clock: proto::telemetry::v1::ClockQuality::Synchronized,
            };
            senders.push(Sender::open(channel, Arc::new(|| Ok("t".into())), stream).await.unwrap());
        }
        let patient = Patient::new(1, 0, Scenario::Calm);
        let begun = std::time::Instant::now();
        let tasks: Vec<_> = senders
            .into_iter()
            .map(|sender| {
                let patient = patient.clone();
                tokio::spawn(async move {
                    for sequence in 1..=N_BATCHES / n_streams {
                        sender.send(sequence, patient.batch(sequence, 10)).await.unwrap();
                    }
                    sender.close(Duration::from_secs(10)).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let rate = N_BATCHES as f64 / begun.elapsed().as_secs_f64();
        eprintln!("{n_streams} streams: {rate:.0} batches/s of ten readings, value generation and server included");
    }
    let patient = Patient::new(1, 0, Scenario::Calm);
    let begun = std::time::Instant::now();
    let n_readings: usize = (1..=N_BATCHES / 4).map(|sequence| patient.batch(sequence, 10).len()).sum();
    eprintln!("value generation alone: {:.0} readings/s", n_readings as f64 / begun.elapsed().as_secs_f64());
}
