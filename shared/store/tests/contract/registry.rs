//! The cases of the store's contract about the registry. All share one list of changes: each takes places far from the
//! others', as the list need not start anywhere.

use bytes::Bytes;
use futures::future::join_all;
use model::UserId;
use store::Registry;

/// A registry that can be used from several places.
pub trait List: Registry + Clone + 'static {}
impl<T: Registry + Clone + 'static> List for T {}

/// A number after which nobody else puts anything, just before the end of whatever the store keeps together.
fn quiet_place() -> u64 {
    rand::random_range(1..1_u64 << 40) * 10_000 + 9_990
}

fn changes(first: u64, n: u64) -> Vec<(u64, Bytes)> {
    (first..first + n).map(|sequence| (sequence, format!("change {sequence}").into())).collect()
}

pub async fn changes_come_back_in_order_over_pages(list: &impl List) {
    let first = quiet_place();
    let all = changes(first, 25);
    for (sequence, change) in &all {
        assert!(list.put_change(*sequence, change).await.unwrap());
    }
    for limit in [1, 7, 25, 1_000] {
        let mut read = Vec::new();
        loop {
            let page = list.changes(first + read.len() as u64, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, all, "{limit} at a time");
    }
    assert_eq!(list.changes(first + 8, 4).await.unwrap(), all[8..12]);
    assert_eq!(list.changes(first + 25, 4).await.unwrap(), []);
    assert_eq!(list.changes(u64::MAX, 4).await.unwrap(), []);
    assert_eq!(list.changes(first, 0).await.unwrap(), []);
}

pub async fn a_place_is_given_once(list: &impl List) {
    let place = quiet_place();
    assert!(list.put_change(place, b"mine").await.unwrap());
    assert!(list.put_change(place, b"mine").await.unwrap(), "the same lands on itself");
    assert!(!list.put_change(place, b"yours").await.unwrap());
    assert!(!list.put_change(place, b"min").await.unwrap());
    assert!(!list.put_change(place, b"").await.unwrap());
    assert_eq!(list.changes(place, 9).await.unwrap(), [(place, Bytes::from("mine"))]);
}

pub async fn of_many_at_once_one_gets_the_place(list: &impl List) {
    let first = quiet_place();
    let one = |worker: u64| {
        let list = list.clone();
        async move {
            let mut won = Vec::new();
            for sequence in first..first + 12 {
                if list.put_change(sequence, &worker.to_be_bytes()).await.unwrap() {
                    won.push(sequence);
                }
            }
            won
        }
    };
    let won = join_all((0..4).map(|worker| tokio::spawn(one(worker)))).await;
    let mut expected: Vec<(u64, Bytes)> = Vec::new();
    for (worker, won) in (0u64..).zip(won) {
        expected.extend(won.unwrap().into_iter().map(|place| (place, Bytes::copy_from_slice(&worker.to_be_bytes()))));
    }
    expected.sort_unstable();
    assert_eq!(expected.len(), 12, "each place has one that got it");
    assert_eq!(list.changes(first, 99).await.unwrap(), expected);
}

pub async fn profiles_are_kept_by_person_and_revision(list: &impl List) {
    let [ada, bob] = [UserId::from_bytes(rand::random()), UserId::from_bytes(rand::random())];
    let (first, second) = (rand::random(), rand::random());
    list.put_profile(ada, first, b"ada").await.unwrap();
    list.put_profile(ada, second, b"ada, later").await.unwrap();
    list.put_profile(bob, first, b"").await.unwrap();
    assert_eq!(list.profile(ada, first).await.unwrap().as_deref(), Some(&b"ada"[..]));
    assert_eq!(list.profile(ada, second).await.unwrap().as_deref(), Some(&b"ada, later"[..]));
    assert_eq!(list.profile(bob, first).await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(list.profile(bob, second).await.unwrap(), None);
}
