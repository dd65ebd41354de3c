//! The queue's contract: what is stored is there, in order, under its number; what is not as it was written is named.

use super::*;
use proto::telemetry::v1::reading::Value;
use std::fs;
use tempfile::TempDir;

const DEVICE: Uuid = Uuid::from_bytes([7; 16]);
const REFUSE: Options = Options { max_bytes: MAX_BYTES_LEAST, when_full: WhenFull::Refuse };
const DROP: Options = Options { max_bytes: MAX_BYTES_LEAST, when_full: WhenFull::DropOldest };

fn readings(n: usize) -> Vec<Reading> {
    vec![Reading { metric: "8867-4".into(), value: Some(Value::Number(60.5)), ..Default::default() }; n]
}

fn open(dir: &Path, options: Options) -> Queue {
    Queue::open(dir, DEVICE, options).unwrap()
}

fn append(queue: &Queue, n_batches: u64) {
    for _ in 0..n_batches {
        queue.append(readings(2)).unwrap();
    }
}

/// Stores batches of some hundred bytes.
fn fill(queue: &Queue, n_batches: u64) {
    for _ in 0..n_batches {
        queue.append(readings(20)).unwrap();
    }
}

/// The sequences that wait, as they are read in turn.
fn waiting(queue: &Queue) -> Vec<u64> {
    let (mut found, mut after) = (Vec::new(), queue.released());
    loop {
        let batches = queue.read(after).unwrap();
        let Some(last) = batches.last() else { return found };
        after = last.sequence;
        found.extend(batches.iter().map(|batch| batch.sequence));
    }
}

/// A queue of three batches that is closed, and its one file.
fn three() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    append(&open(dir.path(), REFUSE), 3);
    let file = files(dir.path()).remove(0);
    (dir, file)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    segment::list(dir).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn damage(dir: &Path) -> (PathBuf, u64) {
    match Queue::open(dir, DEVICE, REFUSE).err() {
        Some(Error::Damaged { path, byte, .. }) => (path, byte),
        other => panic!("damage was not found: {other:?}"),
    }
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), REFUSE);
    append(&queue, 5);
    queue.acknowledge(2).unwrap();
    queue.settle().unwrap();
    let (stream, depth) = (queue.stream(), queue.depth());
    assert_eq!((depth.next_sequence, depth.acknowledged, depth.batches), (6, 2, 3));
    drop(queue);
    let queue = open(dir.path(), REFUSE);
    assert_eq!((queue.stream(), queue.depth(), queue.cut()), (stream, depth, None));
    assert_eq!(waiting(&queue), [3, 4, 5]);
    assert_eq!(queue.append(readings(1)).unwrap(), Stored { sequence: 6, dropped_batches: 0 });
    let batch = queue.read(5).unwrap().remove(0);
    assert_eq!((batch.bytes, batch.n_readings), (wire::batch(6, readings(1)), 1), "as it goes out");
}

#[test]
fn what_is_acknowledged_leaves_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), REFUSE);
    fill(&queue, 60);
    let n_files = files(dir.path()).len();
    assert!(n_files > 2, "{n_files}");
    queue.acknowledge(30).unwrap();
    assert!(files(dir.path()).len() < n_files);
    assert_eq!(waiting(&queue), (31..=60).collect::<Vec<_>>());
    queue.acknowledge(60).unwrap();
    queue.settle().unwrap();
    assert_eq!((files(dir.path()).len(), queue.depth().bytes), (1, segment::HEADER));
    drop(queue);
    let queue = open(dir.path(), REFUSE);
    assert_eq!(queue.append(readings(1)).unwrap().sequence, 61);
}

#[test]
fn a_torn_end_is_cut_at_every_byte() {
    let (dir, file) = three();
    let whole = fs::read(&file).unwrap();
    let record = (whole.len() - segment::HEADER as usize) / 3;
    for length in whole.len() - record + 1..whole.len() {
        for zeros in [0, whole.len() - length] {
            if (1..8).contains(&zeros) {
                continue;
            }
            let mut torn = whole[..length].to_vec();
            torn.resize(length + zeros, 0);
            fs::write(&file, &torn).unwrap();
            let queue = open(dir.path(), REFUSE);
            let byte = (whole.len() - record) as u64;
            let bytes = torn.len() as u64 - byte;
            assert_eq!(queue.cut(), Some(&Cut { path: file.clone(), byte, bytes }));
            assert_eq!((waiting(&queue), fs::metadata(&file).unwrap().len()), (vec![1, 2], byte));
            if length % 16 == 0 {
                assert_eq!(queue.append(readings(2)).unwrap().sequence, 3);
                assert_eq!(fs::read(&file).unwrap(), whole);
            }
        }
    }
}

#[test]
fn any_other_byte_that_changed_is_named() {
    let (dir, file) = three();
    let whole = fs::read(&file).unwrap();
    let record = (whole.len() - segment::HEADER as usize) / 3;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&file, &changed).unwrap();
        let (path, byte) = damage(dir.path());
        assert_eq!(path, file);
        let batch = at.checked_sub(segment::HEADER as usize).map(|at| at / record * record);
        let begins = batch.map_or(0, |batch| batch as u64 + segment::HEADER);
        let header = [0, 8].contains(&byte) && batch.is_none();
        assert!(header || byte == begins, "byte {at} changed, {byte} named");
        assert_eq!(fs::read(&file).unwrap(), changed, "nothing is touched");
    }
    // a part that is missing in the middle
    for at in (segment::HEADER as usize..whole.len() - record).step_by(7) {
        let mut changed = whole.clone();
        changed.drain(at..at + 5);
        fs::write(&file, &changed).unwrap();
        assert_eq!(damage(dir.path()).0, file, "5 bytes from {at}");
    }
}

#[test]
fn a_mark_has_two_places() {
    let (dir, _) = three();
    let mark = dir.path().join("mark");
    let whole = fs::read(&mark).unwrap();
    let [first, second] = [0, 4_096];
    for place in [first, second] {
        let mut changed = whole.clone();
        changed[place + 50] ^= 1;
        fs::write(&mark, &changed).unwrap();
        assert_eq!(waiting(&open(dir.path(), REFUSE)), [1, 2, 3]);
    }
    let mut changed = whole.clone();
    (changed[first + 50], changed[second + 50]) = (1, 1);
    fs::write(&mark, changed).unwrap();
    assert_eq!(damage(dir.path()), (mark.clone(), 0));
    fs::remove_file(&mark).unwrap();
    assert_eq!(damage(dir.path()).0, mark, "batches without a mark");
}

#[test]
fn a_file_that_is_missing_is_noticed() {
    for missing in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(dir.path(), REFUSE);
        fill(&queue, 60);
        queue.acknowledge(60).unwrap();
        fill(&queue, 60);
        drop(queue);
        let files = files(dir.path());
        let missing = [0, 1, files.len() - 1][missing];
        fs::remove_file(&files[missing]).unwrap();
        match (missing, Queue::open(dir.path(), DEVICE, REFUSE)) {
            // what came after the mark in the last file cannot be known
            (last, Ok(queue)) if last + 1 == files.len() => assert!(queue.depth().next_sequence >= 61),
            (_, Err(Error::Damaged { path, .. })) => assert!(files.contains(&path)),
            (missing, other) => panic!("{missing} of {}: {:?}", files.len(), other.err()),
        }
    }
}

#[test]
fn what_was_begun_and_not_finished_is_taken_up() {
    // the folder alone, a mark without a record, a first file
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mark"), b"WLQ").unwrap();
    fs::write(dir.path().join("00000000000000000001.batches"), b"WLQ").unwrap();
    append(&open(dir.path(), REFUSE), 2);
    // a further file
    fs::write(dir.path().join("00000000000000000003.batches"), b"WLQUEUE").unwrap();
    let queue = open(dir.path(), REFUSE);
    assert_eq!(queue.append(readings(1)).unwrap().sequence, 3);
    assert_eq!((waiting(&queue), files(dir.path()).len()), (vec![1, 2, 3], 1));
}

#[test]
fn a_full_queue_refuses_and_has_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), REFUSE);
    let mut n = 0;
    let full = loop {
        match queue.append(readings(20)) {
            Ok(stored) => n = stored.sequence,
            Err(error) => break error,
        }
        assert!(queue.depth().bytes <= MAX_BYTES_LEAST);
    };
    assert!(matches!(full, Error::Full { max_bytes: MAX_BYTES_LEAST, .. }), "{full}");
    assert!(queue.append(readings(20)).is_err());
    let on_disk: u64 = files(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(queue.depth().bytes, on_disk);
    assert!(on_disk > MAX_BYTES_LEAST - 600, "it stopped at {on_disk}");
    queue.acknowledge(n / 2).unwrap();
    assert_eq!(queue.append(readings(20)).unwrap(), Stored { sequence: n + 1, dropped_batches: 0 });
    let large = queue.append(readings(10_000)).unwrap_err();
    assert!(matches!(large, Error::TooLarge { .. }), "{large}");
    assert_eq!(queue.append(readings(20)).unwrap().sequence, n + 2, "a refused batch uses no number");
}

#[test]
fn a_full_queue_drops_the_oldest_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), DROP);
    let (mut told, mut dropping) = (0, 0);
    for sequence in 1..=400 {
        let stored = queue.append(readings(20)).unwrap();
        assert_eq!(stored.sequence, sequence);
        told += stored.dropped_batches;
        dropping += u64::from(stored.dropped_batches > 0);
        assert!(queue.depth().bytes <= MAX_BYTES_LEAST);
    }
    let depth = queue.depth();
    assert!(dropping > 3);
    assert_eq!((depth.dropped_batches, depth.dropped_readings), (told, 20 * told));
    assert_eq!(depth.batches + told, 400);
    assert_eq!(waiting(&queue), (told + 1..=400).collect::<Vec<_>>());
    drop(queue);
    let queue = open(dir.path(), DROP);
    assert_eq!(queue.depth(), depth, "also over a restart");
    // one that takes nearly all of it
    let stored = queue.append(readings(2_900)).unwrap();
    assert!(stored.dropped_batches > 0 && queue.depth().bytes <= MAX_BYTES_LEAST);
    let wave = queue.append(readings(2_900)).unwrap();
    assert_eq!(waiting(&queue), [wave.sequence]);
}

#[test]
fn a_folder_is_one_queue_of_one_device() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), REFUSE);
    assert!(matches!(Queue::open(dir.path(), DEVICE, REFUSE), Err(Error::InUse { .. })));
    drop(queue);
    let other = Queue::open(dir.path(), Uuid::from_bytes([8; 16]), REFUSE);
    assert!(matches!(other, Err(Error::OtherDevice { device: DEVICE, .. })));
    let small = Options { max_bytes: MAX_BYTES_LEAST - 1, ..REFUSE };
    assert!(matches!(Queue::open(dir.path(), DEVICE, small), Err(Error::Bound { .. })));
    #[cfg(unix)]
    for file in files(dir.path()) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o77, 0);
    }
}
