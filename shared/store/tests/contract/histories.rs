//! The cases of the store's contract about histories. Each works with things of its own, as the store may hold others.

use bytes::Bytes;
use futures::future::join_all;
use store::{Histories, Thing, ThingKind};
use uuid::Uuid;

/// Histories that can be used from several places.
pub trait Steps: Histories + Clone + 'static {}
impl<T: Histories + Clone + 'static> Steps for T {}

fn job() -> Thing {
    Thing { kind: ThingKind::Job, id: Uuid::now_v7() }
}

pub async fn steps_come_back_in_order_and_each_number_is_given_once(histories: &impl Steps) {
    let (job, other) = (job(), job());
    assert_eq!(histories.steps(job, 1, 9).await.unwrap(), Vec::<Bytes>::new());
    for number in 1..=7 {
        assert!(histories.put_step(job, number, &[number as u8; 300]).await.unwrap());
    }
    assert!(histories.put_step(job, 3, &[3; 300]).await.unwrap(), "the same lands on itself");
    assert!(!histories.put_step(job, 3, &[4; 300]).await.unwrap());
    assert!(!histories.put_step(job, 7, b"").await.unwrap());
    // one that is missing ends what is read
    assert!(histories.put_step(job, 9, b"nine").await.unwrap());
    assert!(histories.put_step(other, 8, b"another thing's").await.unwrap());
    assert!(histories.put_step(Thing { kind: ThingKind::Model, ..job }, 8, b"another kind's").await.unwrap());
    let all: Vec<_> = (1..=7_u8).map(|number| Bytes::from(vec![number; 300])).collect();
    assert_eq!(histories.steps(job, 1, 99).await.unwrap(), all);
    assert_eq!(histories.steps(job, 5, 2).await.unwrap(), all[4..6]);
    assert_eq!(histories.steps(job, 1, 0).await.unwrap(), Vec::<Bytes>::new());
    assert_eq!(histories.steps(job, 8, 9).await.unwrap(), Vec::<Bytes>::new());
    assert_eq!(histories.steps(job, 9, 9).await.unwrap(), ["nine"]);
    assert_eq!(histories.steps(job, u32::MAX, 9).await.unwrap(), Vec::<Bytes>::new());
}

pub async fn of_many_at_once_one_gets_the_number(histories: &impl Steps) {
    let job = job();
    let one = |worker: u64| {
        let histories = histories.clone();
        async move {
            let mut won = Vec::new();
            for number in 1..=12 {
                if histories.put_step(job, number, &worker.to_be_bytes()).await.unwrap() {
                    won.push(number);
                }
            }
            won
        }
    };
    let won = join_all((0..4).map(|worker| tokio::spawn(one(worker)))).await;
    let mut expected: Vec<(u32, Bytes)> = Vec::new();
    for (worker, won) in (0_u64..).zip(won) {
        expected.extend(won.unwrap().into_iter().map(|number| (number, Bytes::copy_from_slice(&worker.to_be_bytes()))));
    }
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(_, step)| step).collect();
    assert_eq!(expected.len(), 12, "each number has one that got it");
    assert_eq!(histories.steps(job, 1, 99).await.unwrap(), expected);
}

pub async fn things_are_listed_with_the_highest_step_announced(histories: &impl Steps) {
    let mut jobs = [job(), job(), job()];
    let model = Thing { kind: ThingKind::Model, ..job() };
    for (number, thing) in (1..).zip(jobs) {
        histories.announce(thing, number).await.unwrap();
    }
    histories.announce(model, 5).await.unwrap();
    // a higher one stands, whichever comes last
    histories.announce(jobs[0], 9).await.unwrap();
    histories.announce(jobs[0], 4).await.unwrap();
    let listed = histories.announced(ThingKind::Job).await.unwrap();
    assert!(listed.is_sorted_by_key(|(id, _)| *id));
    let mut expected = vec![(jobs[0].id, 9), (jobs[1].id, 2), (jobs[2].id, 3)];
    expected.sort_unstable();
    jobs.sort_unstable();
    let ours: Vec<_> = listed.iter().copied().filter(|(id, _)| jobs.iter().any(|job| job.id == *id)).collect();
    assert_eq!(ours, expected);
    assert!(listed.iter().all(|(id, _)| *id != model.id));
    assert!(histories.announced(ThingKind::Model).await.unwrap().contains(&(model.id, 5)));
}

pub async fn a_thing_that_is_forgotten_is_gone(histories: &impl Steps) {
    let (gone, stays) = (job(), job());
    for thing in [gone, stays] {
        histories.announce(thing, 1).await.unwrap();
        for number in 1..=3 {
            assert!(histories.put_step(thing, number, b"a step").await.unwrap());
        }
    }
    for _ in 0..2 {
        histories.forget(gone, 3).await.unwrap();
        assert_eq!(histories.steps(gone, 1, 9).await.unwrap(), Vec::<Bytes>::new());
        assert_eq!(histories.steps(gone, 3, 9).await.unwrap(), Vec::<Bytes>::new());
    }
    assert_eq!(histories.steps(stays, 1, 9).await.unwrap().len(), 3);
    let listed = histories.announced(ThingKind::Job).await.unwrap();
    assert!(listed.iter().any(|(id, _)| *id == stays.id) && listed.iter().all(|(id, _)| *id != gone.id));
    // keys of submissions are used anew
    let key = Thing { kind: ThingKind::SubmissionKey, ..gone };
    for step in [b"first", b"again"] {
        assert!(histories.put_step(key, 1, step).await.unwrap());
        histories.forget(key, 1).await.unwrap();
    }
}
