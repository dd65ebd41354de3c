//! Shares, permits, who waits and who is refused.

use super::*;
use model::UserId;
use uuid::Uuid;

const NOT_AT_ALL: Duration = Duration::ZERO;

fn budget() -> Budget {
    Budget::new("answers", Shares { node: 100, address: 70, caller: 40 })
}

fn user(number: u128) -> Option<Subject> {
    Some(Subject::User(UserId::new(Uuid::from_u128(number))))
}

fn at(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, last]))
}

async fn full(account: &Account, bytes: u32) -> Whose {
    account.take(bytes, NOT_AT_ALL).await.err().unwrap().whose
}

#[tokio::test]
async fn each_has_a_share_and_all_together_have_the_nodes() {
    let budget = budget();
    let (one, two, three) =
        (budget.account(user(1), at(1)), budget.account(user(2), at(1)), budget.account(user(3), at(2)));
    let first = one.take(40, NOT_AT_ALL).await.unwrap();
    assert_eq!(full(&one, 1).await, Whose::Caller);
    // the same caller by another request and another address
    assert_eq!(full(&budget.account(user(1), at(3)), 1).await, Whose::Caller);
    let second = two.take(30, NOT_AT_ALL).await.unwrap();
    assert_eq!(full(&two, 1).await, Whose::Address);
    let third = three.take(30, NOT_AT_ALL).await.unwrap();
    assert_eq!(full(&three, 1).await, Whose::Node);
    assert_eq!(budget.out(), 100);
    drop(first);
    assert!(three.take(10, NOT_AT_ALL).await.is_ok());
    drop((second, third));
    assert_eq!(budget.out(), 0);
    drop((one, two, three));
    assert_eq!(budget.n_known(), 0, "who holds nothing is forgotten");
}

#[tokio::test]
async fn a_permit_outlives_its_account_and_is_still_counted() {
    let budget = budget();
    let permit = budget.account(user(1), None).take(40, NOT_AT_ALL).await.unwrap();
    assert_eq!(full(&budget.account(user(1), None), 1).await, Whose::Caller);
    drop(permit);
    assert!(budget.account(user(1), None).take(40, NOT_AT_ALL).await.is_ok());
}

#[tokio::test]
async fn more_than_a_share_is_all_of_it_and_comes_back_piece_by_piece() {
    let budget = budget();
    let account = budget.account(user(1), None);
    let mut permit = account.take(1_000, NOT_AT_ALL).await.unwrap();
    assert_eq!(budget.out(), 100);
    let pieces: Vec<_> = (0..10).map(|_| permit.split(100)).collect();
    drop(permit);
    for (n_left, piece) in (0..10).rev().zip(pieces) {
        drop(piece);
        assert_eq!(budget.out(), (n_left * 100).min(100), "{n_left}");
    }
    // what grows is alone when it is larger than the share, and what it does not get it does not hold
    let permit = account.take(30, NOT_AT_ALL).await.unwrap().grown(500, NOT_AT_ALL).await.unwrap();
    assert_eq!(budget.out(), 100);
    assert_eq!(budget.account(user(2), None).take(1, NOT_AT_ALL).await.err().unwrap().whose, Whose::Node);
    drop(permit);
    assert_eq!(budget.out(), 0);
    let mut permit = account.take(30, NOT_AT_ALL).await.unwrap();
    permit.shrink(10);
    assert_eq!(budget.out(), 10);
    permit.shrink(20);
    assert_eq!(budget.out(), 10);
}

#[tokio::test]
async fn who_waits_gets_it_when_it_comes_back_and_one_who_waits_holds_up_nobody_else() {
    let budget = budget();
    let account = budget.account(user(1), None);
    let held = account.take(40, NOT_AT_ALL).await.unwrap();
    let waiting = tokio::spawn({
        let account = account.clone();
        async move { account.take(40, Duration::from_secs(60)).await.is_ok() }
    });
    while account.0.shares[0].n_waiting.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(budget.account(user(2), None).take(40, NOT_AT_ALL).await.is_ok());
    drop(held);
    assert!(waiting.await.unwrap());
    assert_eq!(budget.out(), 0);
}

#[tokio::test]
async fn no_more_than_a_few_wait_and_who_gave_up_holds_nothing() {
    let budget = budget();
    let (other, account) = (budget.account(user(2), None), budget.account(user(1), None));
    let held: Vec<_> = [40, 40].iter().map(|&n| budget.account(user(n.into()), None).take_now(n)).collect();
    assert!(other.take_now(40).is_some() && held.len() == 2);
    account.0.shares[0].n_waiting.store(MAX_WAITING, Ordering::Relaxed);
    let all = account.take_now(40).unwrap();
    assert_eq!(account.take(1, Duration::from_secs(3_600)).await.err().unwrap().whose, Whose::Caller);
    drop(all);
    drop(held);
    assert_eq!((budget.out(), account.0.shares[0].n_waiting.load(Ordering::Relaxed)), (0, MAX_WAITING));
}

#[test]
fn who_is_refused_hears_which_limit_it_was() {
    let status = Full { what: "answers", whose: Whose::Caller }.status();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.message().contains("memory.answers_mib_per_caller"), "{}", status.message());
    use tonic_types::StatusExt;
    assert_eq!(status.get_details_error_info().unwrap().reason, "ANSWERS_OF_CALLER");
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
}
