//! What every log promises: the cases are named once and run on each implementation. The embedded log needs nothing;
//! Kafka's half is run with `--ignored kafka` and fails when no broker answers.

mod cases;
mod embedded;
mod kafka;
mod kafka_secure;

use async_trait::async_trait;
use bus::{Delivery, Outgoing, Progress, Publish, Subscribe};
use bytes::Bytes;
use futures::future::try_join_all;
use model::PatientId;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Longer than anything here takes: a wait that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of every log here.
const PARTITIONS: u16 = 4;
/// Room in flight, unless the case says otherwise.
const ROOM_BYTES: usize = 4 << 20;

/// A log to be tested; each one is new and empty.
#[async_trait]
trait Bench: Send + Sync + Sized {
    async fn start(max_in_flight_bytes: usize) -> Self;
    fn publisher(&self) -> Arc<dyn Publish>;
    async fn subscribe(&self, group: &str) -> Box<dyn Reader>;
    fn progress_of(&self, group: &str) -> Box<dyn Progress>;
    /// Closes it and opens it again, as a restart does. No publisher or reader may be left.
    async fn reopen(self) -> Self;
}

/// A subscriber that can start over.
trait Reader: Subscribe {
    fn rewind(&mut self);
}

macro_rules! log_contract {
    ($name:ident, $bench:ty $(, #[$attribute:meta])?) => {
        log_contract!(
            $name,
            $bench,
            [$(#[$attribute])?],
            [
                a_receipt_means_that_the_record_can_be_read,
                one_key_is_one_partition_in_order,
                what_is_committed_does_not_come_again_and_the_rest_does,
                two_groups_do_not_disturb_each_other,
                a_commit_never_goes_backwards,
                a_poll_keeps_its_limits_and_makes_progress,
                concurrent_publishers_lose_nothing_and_keep_their_order,
                a_record_too_large_is_refused_by_itself,
                a_backlog_is_read_in_bounded_pieces,
                rewinding_reads_everything_again_and_forgets_no_commit,
                a_late_group_sees_what_is_old,
                publishing_waits_for_room,
                flushing_waits_for_every_receipt,
                a_dropped_receipt_does_not_unpublish,
                lag_counts_what_is_not_committed,
                nothing_new_is_an_empty_poll,
                an_empty_record_is_a_record,
                how_far_a_group_has_come_is_known_to_others,
            ]
        );
    };
    ($name:ident, $bench:ty, $attributes:tt, [$($case:ident),* $(,)?]) => {
        mod $name {
            $(log_contract!(@case $case, $bench, $attributes);)*
        }
    };
    (@case $case:ident, $bench:ty, [$(#[$attribute:meta])?]) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])?
        async fn $case() {
            crate::cases::$case::<$bench>().await;
        }
    };
}

log_contract!(embedded_log, crate::embedded::Embedded);
log_contract!(kafka_log, crate::kafka::Live, #[ignore = "needs Kafka"]);

fn record(key: u128, payload: impl Into<Bytes>) -> Outgoing {
    Outgoing { key: PatientId::new(Uuid::from_u128(key)), payload: payload.into() }
}

/// The text of a record made from one.
fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.payload.to_vec()).unwrap()
}

/// Publishes in order and waits for every receipt.
async fn publish_all(publisher: &dyn Publish, records: impl IntoIterator<Item = Outgoing>) {
    let mut receipts = Vec::new();
    for record in records {
        receipts.push(publisher.publish(record).await.unwrap());
    }
    tokio::time::timeout(PATIENCE, try_join_all(receipts)).await.expect("receipts in time").unwrap();
}

/// Polls until `n` records have come.
async fn read(reader: &mut dyn Reader, n: usize) -> Vec<Delivery> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut found = Vec::new();
    while found.len() < n {
        assert!(tokio::time::Instant::now() < until, "{} of {n} records came", found.len());
        found.extend(reader.poll(n - found.len(), 8 << 20, Duration::from_secs(1)).await.unwrap());
    }
    found
}
