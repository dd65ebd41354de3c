//! The audit log: what is written is read, and whatever is done to it afterwards is found.

use model::{
    DeviceId, Nanos, PatientId, UserId, WriterId,
    access::{Purpose, Subject},
    audit::{Chain, Checkpoint, Detail, Entry, Event, Fault, Name, Outcome, Verifier, Who},
};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng},
};
use sha2::{Digest, Sha256};

const N_EDITS: usize = 100_000;
const N_ENTRIES: u64 = 300;

fn event(n: u64) -> Event {
    let id = |kind: u8| {
        let mut id = [kind; 16];
        id[8..].copy_from_slice(&(n % 7).to_be_bytes());
        id
    };
    Event {
        at: Nanos(1_700_000_000 * Nanos::SECOND + n as i64 * 1_000_003),
        subject: Some(Who::Proven(Subject::User(UserId::from_bytes(id(1))))),
        patient: (!n.is_multiple_of(5)).then(|| PatientId::from_bytes(id(2))),
        action: "readings.timeline".into(),
        purpose: Purpose::ALL[n as usize % Purpose::ALL.len()],
        outcome: if n.is_multiple_of(3) { Outcome::Denied("NO_RELATION".into()) } else { Outcome::Allowed },
        detail: format!("hours {n}").as_str().into(),
        request: id(3),
    }
}

/// A keyed hash in place of a signature: whoever does not know the key cannot make one.
fn sign(bytes: &[u8]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&Sha256::new().chain_update(b"key").chain_update(bytes).finalize());
    signature
}

fn is_signed(checkpoint: &Checkpoint) -> bool {
    sign(&checkpoint.signed_bytes()) == checkpoint.signature
}

fn checkpoint(chain: &Chain) -> Checkpoint {
    let mut checkpoint = Checkpoint {
        writer: chain.writer(),
        sequence: chain.sequence(),
        hash: chain.last(),
        at: Nanos(5),
        key_id: [6; 8],
        signature: [0; 64],
    };
    checkpoint.signature = sign(&checkpoint.signed_bytes());
    checkpoint
}

/// Entries under their numbers.
type Log = Vec<(u64, Vec<u8>)>;

/// A log, and its checkpoint at the end.
fn written(writer: u8) -> (Log, Checkpoint) {
    let mut chain = Chain::new(WriterId::from_bytes([writer; 16]));
    let log = (1..=N_ENTRIES).map(|n| (n, chain.append(event(n)).encode())).collect();
    (log, checkpoint(&chain))
}

fn verify(log: &Log, checkpoints: &[Checkpoint]) -> Vec<(u64, Fault)> {
    let mut verifier = Verifier::new(WriterId::from_bytes([1; 16]), checkpoints.to_vec(), is_signed);
    log.iter().for_each(|(sequence, bytes)| verifier.take(*sequence, bytes));
    verifier.close().into_iter().map(|finding| (finding.sequence, finding.fault)).collect()
}

fn subject() -> impl Strategy<Value = Option<Who>> {
    let subject = prop_oneof![
        any::<[u8; 16]>().prop_map(|id| Subject::User(UserId::from_bytes(id))),
        any::<[u8; 16]>().prop_map(|id| Subject::Device(DeviceId::from_bytes(id))),
    ];
    let who = prop_oneof![Just(Who::Proven as fn(_) -> _), Just(Who::Claimed as fn(_) -> _)];
    proptest::option::of((who, subject).prop_map(|(who, subject)| who(subject)))
}

prop_compose! {
    fn entries()(
        ids in (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<[u8; 16]>(), any::<Option<[u8; 16]>>()),
        numbers in (any::<u64>(), any::<i64>()),
        subject in subject(),
        purpose in 0..Purpose::ALL.len(),
        texts in (".{0,40}", ".{0,300}"),
        reason in proptest::option::of(".{0,40}"),
    ) -> Entry {
        Entry {
            writer: WriterId::from_bytes(ids.0),
            sequence: numbers.0,
            previous: ids.1,
            event: Event {
                at: Nanos(numbers.1),
                subject,
                patient: ids.3.map(PatientId::from_bytes),
                action: texts.0.into(),
                purpose: Purpose::ALL[purpose],
                outcome: reason.map_or(Outcome::Allowed, |reason| Outcome::Denied(reason.into())),
                detail: texts.1.into(),
                request: ids.2,
            },
        }
    }
}

proptest! {
    #[test]
    fn entries_come_back_and_damage_is_another_entry_or_none(entry in entries(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let bytes = entry.encode();
        prop_assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
        prop_assert!(Entry::decode(&bytes[..at.index(bytes.len())]).is_err());
        let mut damaged = bytes;
        let at = at.index(damaged.len());
        damaged[at] ^= 1u8 << bit;
        if let Ok(other) = Entry::decode(&damaged) {
            prop_assert_eq!(other.encode(), damaged);
            prop_assert!(other != entry && other.hash() != entry.hash());
        }
    }

    #[test]
    fn checkpoints_come_back(hash in any::<[u8; 32]>(), sequence in any::<u64>(), at in any::<i64>(), signature in any::<[u8; 32]>()) {
        let writer = WriterId::from_bytes([3; 16]);
        let signature: [u8; 64] = [signature, signature].concat().try_into().unwrap();
        let checkpoint = Checkpoint { writer, sequence, hash, at: Nanos(at), key_id: [4; 8], signature };
        prop_assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint.clone()));
        prop_assert!(Checkpoint::decode(&checkpoint.encode()[1..]).is_err());
    }

    #[test]
    fn any_bytes_can_be_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let versioned = [&[1], &bytes[..]].concat();
        for bytes in [&bytes, &versioned] {
            if let Ok(entry) = Entry::decode(bytes) {
                prop_assert_eq!(&entry.encode(), bytes);
            }
            if let Ok(checkpoint) = Checkpoint::decode(bytes) {
                prop_assert_eq!(&checkpoint.encode(), bytes);
            }
        }
    }
}

#[test]
fn long_texts_are_cut_between_characters() {
    assert_eq!(Name::from("é".repeat(40)).len(), 64);
    assert_eq!(Name::from(format!("x{}", "é".repeat(40))).len(), 63);
    assert_eq!(&*Detail::from("short"), "short");
    assert_eq!(Detail::from("d".repeat(600)).len(), 512);
}

/// Bytes that lie on disks for years.
#[test]
fn the_layout_stays() {
    let mut chain = Chain::new(WriterId::from_bytes([1; 16]));
    let (first, second) = (chain.append(event(1)), chain.append(event(3)));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&first.previous), hex(&Sha256::digest([1; 16])));
    assert_eq!(second.previous, first.hash());
    assert_eq!(hex(&second.previous), hex(&Sha256::digest([&[0], &first.encode()[..]].concat())));
    assert_eq!(chain.last(), second.hash());
    let codes = ["TREAT", "ETREAT", "PATRQT", "HPAYMT", "HOPERAT", "HRESCH"];
    assert_eq!(Purpose::ALL.map(Purpose::code)[..6], codes, "an entry holds a purpose's place");
    assert_eq!(
        hex(&second.encode()[50..]),
        "929bbee5c6bfce972f0101010101010101010000000000000003010202020202020202000000000000000311726561646\
         96e67732e74696d656c696e6503010b4e4f5f52454c4154494f4e07686f757273203303030303030303030000000000000003"
    );
    let signed = checkpoint(&chain).signed_bytes();
    assert!(signed.starts_with(b"wardline audit checkpoint\0\x01\x01\x01"));
    assert_eq!(signed.len(), 26 + 1 + 16 + 1 + 32 + 1 + 8);
}

#[test]
fn who_only_says_who_it_is_is_not_written_as_who_proved_it() {
    let device = Subject::Device(DeviceId::from_bytes([9; 16]));
    let entry = |who| {
        let mut chain = Chain::new(WriterId::from_bytes([1; 16]));
        chain.append(Event { subject: Some(who), ..event(1) }).encode()
    };
    let (proven, claimed) = (entry(Who::Proven(device)), entry(Who::Claimed(device)));
    let differ: Vec<_> = (0..proven.len()).filter(|&at| proven[at] != claimed[at]).collect();
    let [at] = differ[..] else { panic!("{differ:?}") };
    assert_eq!((proven[at], claimed[at]), (2, 4), "entries from before stay what they were");
    let read = Entry::decode(&claimed).unwrap().event.subject.unwrap();
    assert_eq!((read, read.proven()), (Who::Claimed(device), None));
}

#[test]
fn a_number_has_one_form() {
    let entry = Chain::new(WriterId::from_bytes([1; 16])).append(event(1)).encode();
    assert_eq!(entry[17], 1, "the sequence");
    let longer = [&entry[..17], &[0x81, 0], &entry[18..]].concat();
    assert!(Entry::decode(&longer).is_err());
}

#[test]
fn each_fault_is_named() {
    let (log, last) = written(1);
    let (others, _) = written(2);
    let verify_with = |edit: &dyn Fn(&mut Log)| {
        let mut log = log.clone();
        edit(&mut log);
        verify(&log, std::slice::from_ref(&last))
    };
    let other = WriterId::from_bytes([2; 16]);
    assert_eq!(verify_with(&|_| ()), []);
    assert_eq!(verify_with(&|log| drop(log.remove(9))), [(10, Fault::Gap { next: 11 })]);
    assert_eq!(verify_with(&|log| log.truncate(7)), [(N_ENTRIES, Fault::CheckpointMissed)]);
    assert_eq!(verify_with(&|log| log.clear()), [(N_ENTRIES, Fault::CheckpointMissed)]);
    assert_eq!(verify_with(&|log| log.insert(9, log[8].clone())), [(9, Fault::OutOfOrder { last: 9 })]);
    assert_eq!(
        verify_with(&|log| log[9].1 = log[4].1.clone()),
        [(10, Fault::Moved { written: 5 }), (10, Fault::Broken), (11, Fault::Broken)]
    );
    assert_eq!(
        verify_with(&|log| log[9].1 = others[9].1.clone()),
        [(10, Fault::OfAnother(other)), (10, Fault::Broken), (11, Fault::Broken)]
    );
    let unreadable = verify_with(&|log| log[9].1[0] = 9);
    assert!(matches!(unreadable[..], [(10, Fault::Unreadable(_)), (11, Fault::Broken)]), "{unreadable:?}");
    assert_eq!(verify_with(&|log| log[299].1[60] ^= 1), [(N_ENTRIES, Fault::CheckpointDiffers)]);
    // a whole log of another writer in the place of this one
    assert_eq!(verify(&others, std::slice::from_ref(&last)).len() as u64, N_ENTRIES + 2);

    let wrong = Checkpoint { at: Nanos(6), ..last.clone() };
    assert_eq!(verify(&log, &[wrong]), [(N_ENTRIES, Fault::CheckpointUnsigned)]);
    let strange = Checkpoint { writer: other, ..last };
    assert_eq!(verify(&log, &[strange]), [(N_ENTRIES, Fault::CheckpointOfAnother(other))]);
}

#[test]
fn what_no_checkpoint_covers_is_said() {
    let mut chain = Chain::new(WriterId::from_bytes([1; 16]));
    let mut verifier = Verifier::new(chain.writer(), [], is_signed);
    let log: Vec<_> = (0..10).map(|n| chain.append(event(n)).encode()).collect();
    (1..).zip(&log).for_each(|(sequence, bytes)| verifier.take(sequence, bytes));
    assert_eq!((verifier.covered(), verifier.findings()), (0, &[][..]));

    let mut early = Chain::new(chain.writer());
    (0..4).for_each(|n| drop(early.append(event(n))));
    let mut verifier = Verifier::new(chain.writer(), [checkpoint(&early)], is_signed);
    (1..).zip(&log).for_each(|(sequence, bytes)| verifier.take(sequence, bytes));
    assert_eq!(verifier.covered(), 4);
    assert_eq!(verifier.close(), []);
}

/// One edit of a log or of its checkpoint, and the first place at which anything differs.
fn edit(random: &mut TestRng, log: &mut Log, others: &Log, last: &mut Checkpoint) -> (&'static str, usize) {
    let n = log.len();
    let mut below = |n: usize| random.random_range(0..n);
    let at = below(n);
    match below(10) {
        0 | 1 => {
            let bit = below(log[at].1.len() * 8);
            log[at].1[bit / 8] ^= 1 << (bit % 8);
            ("a bit flipped", at)
        }
        2 => {
            log.remove(at);
            ("one deleted", at)
        }
        3 => {
            let other = (at + 1 + below(n - 1)) % n;
            let bytes = log[at].1.clone();
            log[at].1 = std::mem::replace(&mut log[other].1, bytes);
            ("two swapped", at.min(other))
        }
        4 => {
            log.truncate(at);
            ("truncated", at)
        }
        5 => {
            log[at].1 = others[below(n)].1.clone();
            ("one of another writer", at)
        }
        6 => {
            let at = at.max(1);
            log[at].1 = log[below(at)].1.clone();
            ("one from an earlier place", at)
        }
        7 => {
            log.insert(at, log[at].clone());
            ("one repeated", at)
        }
        8 => {
            // all later ones make room, or close up
            if below(2) == 0 {
                log.insert(at, log[at].clone());
            } else {
                log.remove(at);
            }
            (1..).zip(log.iter_mut()).for_each(|(sequence, entry)| entry.0 = sequence);
            ("numbered anew", at)
        }
        _ => {
            let mut bytes = last.encode();
            let bit = below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // one that cannot be read is noticed by whoever reads it
            match Checkpoint::decode(&bytes) {
                Ok(edited) => *last = edited,
                Err(_) => last.signature[0] ^= 1,
            }
            ("the checkpoint", 0)
        }
    }
}

/// Changes an entry and makes the chain right from there on, as somebody would who knows how it works.
fn forge(log: &mut Log, at: usize) {
    let entry = |bytes: &[u8]| Entry::decode(bytes).unwrap();
    let mut forged = entry(&log[at].1);
    forged.event.outcome = Outcome::Denied("FORGED".into());
    log[at].1 = forged.encode();
    for next in at + 1..log.len() {
        let previous = entry(&log[next - 1].1).hash();
        log[next].1 = Entry { previous, ..entry(&log[next].1) }.encode();
    }
}

#[test]
fn every_edit_is_found() {
    let (log, last) = written(1);
    let (others, _) = written(2);
    assert_eq!(verify(&log, std::slice::from_ref(&last)), []);
    // what was not edited need not be read again
    let mut verifier = Verifier::new(last.writer, [last.clone()], is_signed);
    let mut before = vec![verifier.clone()];
    for (sequence, bytes) in &log {
        verifier.take(*sequence, bytes);
        before.push(verifier.clone());
    }
    assert_eq!(verifier.close(), []);

    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[20; 32]);
    let mut kinds = std::collections::BTreeMap::new();
    for n in 0..N_EDITS {
        let (mut edited, mut checkpoint) = (log.clone(), last.clone());
        let (what, from) = edit(&mut random, &mut edited, &others, &mut checkpoint);
        let mut verifier =
            if checkpoint == last { before[from].clone() } else { Verifier::new(last.writer, [checkpoint], is_signed) };
        for (sequence, bytes) in &edited[from..] {
            if !verifier.findings().is_empty() {
                break;
            }
            verifier.take(*sequence, bytes);
        }
        assert!(!verifier.close().is_empty(), "edit {n} at {from}: {what}");
        *kinds.entry(what).or_insert(0) += 1;
    }
    assert!(kinds.len() == 9 && kinds.values().all(|n| *n > N_EDITS / 20), "{kinds:?}");

    for at in 0..log.len() {
        let mut forged = log.clone();
        forge(&mut forged, at);
        assert_eq!(verify(&forged, std::slice::from_ref(&last)), [(N_ENTRIES, Fault::CheckpointDiffers)]);
    }
}
