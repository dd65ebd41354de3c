//! Each record once, whatever happens when.

use super::{
    super::{
        archiver::{Archiver, Settings},
        folder::Folder,
        generations::Archive,
        merge,
    },
    disk::{SimulatedDisk, Stop, chance},
    made::{delivery, expected, found, record},
};
use bus::{Delivery, Handle, Partition};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{path::Path, sync::Arc, time::Duration};

const PARTITIONS: i32 = 2;
const RECORDS: usize = 24;

/// A log, and how far a group has come.
struct Log {
    payloads: Vec<Vec<Bytes>>,
    committed: Vec<i64>,
}

impl Log {
    /// Some batches come again, one cannot be read.
    fn made(rng: &mut StdRng) -> Self {
        let mut payloads = Vec::new();
        for partition in 0..PARTITIONS {
            let mut records: Vec<Bytes> = Vec::new();
            for number in 0..RECORDS {
                let again = !records.is_empty() && chance(rng, 6) == 0;
                let next = match (again, number) {
                    (true, _) => records[chance(rng, records.len() as u32) as usize].clone(),
                    (false, 7) => Bytes::from_static(b"no record"),
                    _ => {
                        let stream = u128::from(chance(rng, 3)) + 10 * partition as u128;
                        record(stream / 2, stream, number as u64 + 1, 1 + chance(rng, 3)).encode()
                    }
                };
                records.push(next);
            }
            payloads.push(records);
        }
        Self { payloads, committed: vec![0; PARTITIONS as usize] }
    }

    /// Some records after these offsets.
    fn poll(&self, read: &mut [i64], rng: &mut StdRng) -> Vec<Delivery> {
        let partition = chance(rng, PARTITIONS as u32) as usize;
        let end = (read[partition] + 1 + i64::from(chance(rng, 5))).min(RECORDS as i64);
        let offsets = read[partition]..end;
        read[partition] = end;
        offsets.map(|at| delivery(partition as i32, at, self.payloads[partition][at as usize].clone())).collect()
    }

    fn commit(&mut self, archiver: &mut Archiver, deliveries: &[Delivery]) {
        for (Partition(partition), next) in archiver.settled(deliveries).iter() {
            let committed = &mut self.committed[partition as usize];
            *committed = next.get().max(*committed);
        }
    }

    fn is_done(&self) -> bool {
        self.committed.iter().all(|next| *next == RECORDS as i64)
    }
}

/// One archiver that is being run, and how far it has read.
struct Running {
    archiver: Archiver,
    read: Vec<i64>,
}

impl Running {
    fn start(archive: &Archive, log: &Log, rng: &mut StdRng) -> Self {
        // now and then enough at once, now and then only by age
        let range_bytes = if rng.random() { 400 } else { 1 << 20 };
        let settings = Settings { range_bytes, flush_every: Duration::ZERO, ..Settings::default() };
        Self { archiver: Archiver::new(archive.clone(), settings), read: log.committed.clone() }
    }
}

/// Archives a log to its end while the disk stops at chosen steps, and compares.
async fn run(seed: u64, archivers: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let disk = Arc::new(SimulatedDisk::new(seed));
    let folder = || Folder::open(Path::new("/archive"), Arc::clone(&disk) as _);
    let files = Arc::new(folder().unwrap());
    let archive = Archive::new(files.clone());
    let mut log = Log::made(&mut rng);
    let mut running: Vec<_> = (0..archivers).map(|_| Running::start(&archive, &log, &mut rng)).collect();
    let (mut stops, mut at, mut n_steps) = (0, 0, 0);
    disk.stop_after(1 + chance(&mut rng, 150));
    while !log.is_done() {
        n_steps += 1;
        assert!(n_steps < 5_000, "seed {seed} stands still at {:?}", log.committed);
        // each in turn, so that one goes on with what another one has done meanwhile
        at = (at + chance(&mut rng, 2) as usize) % archivers;
        let one = &mut running[at];
        let deliveries = log.poll(&mut one.read, &mut rng);
        let mut outcome = one.archiver.step(&deliveries).await.map(drop);
        if outcome.is_ok() {
            log.commit(&mut one.archiver, &deliveries);
            if chance(&mut rng, 4) == 0 {
                outcome = merge::merge(&archive, 3).await.map(drop);
            }
            if one.read == vec![RECORDS as i64; PARTITIONS as usize] {
                // nothing more comes: whoever has not come to an end reads on from what is committed
                *one = Running::start(&archive, &log, &mut rng);
            }
        }
        if outcome.is_err() {
            stops += 1;
            disk.start(if rng.random() { Stop::Killed } else { Stop::PowerCut });
            let _made_anew = folder().unwrap();
            running = (0..archivers).map(|_| Running::start(&archive, &log, &mut rng)).collect();
            // the first ones early, so that it comes to an end
            if stops < 12 {
                disk.stop_after(1 + chance(&mut rng, 150));
            }
        }
    }
    disk.start(Stop::PowerCut);
    let mut all: Vec<_> = log.payloads.iter().flat_map(|payloads| expected(payloads)).collect();
    all.sort();
    for merged in [false, true] {
        if merged {
            merge::merge(&archive, 2).await.unwrap();
        }
        let found = found(&*files, &archive).await;
        let (n_found, n_all) = (found.len(), all.len());
        assert!(found == all, "seed {seed}, after {stops} stops, merged {merged}: {n_found} readings of {n_all}");
    }
}

#[tokio::test]
async fn each_record_is_there_once_wherever_it_is_stopped() {
    for seed in 0..40 {
        run(seed, 1).await;
    }
}

#[tokio::test]
async fn two_archivers_of_the_same_partitions_archive_each_record_once() {
    for seed in 1_000..1_040 {
        run(seed, 2).await;
    }
}
