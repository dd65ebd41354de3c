//! The contract of the store: the cases of `contract/cases.rs`, named once here, run on every back end.
//!
//! The CQL half is run with `--ignored cql` and needs a server at `WARDLINE_CQL` (127.0.0.1:19042); without one it fails.

#[path = "contract/audit.rs"]
mod audit;
#[path = "contract/cases.rs"]
mod cases;
#[path = "contract/cql_audit.rs"]
mod cql_audit;
#[path = "contract/cql_only.rs"]
mod cql_only;
#[path = "contract/cql_seals.rs"]
mod cql_seals;
#[path = "contract/durability.rs"]
mod durability;
#[path = "contract/fixture.rs"]
mod fixture;
#[path = "contract/histories.rs"]
mod histories;
#[path = "contract/identities.rs"]
mod identities;
#[path = "contract/registry.rs"]
mod registry;
#[path = "contract/sealing.rs"]
mod sealing;
#[path = "contract/space.rs"]
mod space;

/// Every case of the contract, for the macro to call by name.
mod all {
    pub use crate::{audit::*, cases::*, histories::*, identities::*, registry::*, sealing::*};
}

/// One test for each case. The first factory gives a store, and what must live as long; the second one that nobody else
/// seals at the same time.
macro_rules! store_contract {
    ($name:ident, $factory:path, $alone:path $(, #[$attribute:meta])?) => {
        mod $name {
            store_contract!(@cases [$(#[$attribute])?] $factory,
                replay_changes_nothing,
                range_ends_are_half_open,
                two_batches_at_one_time_both_survive,
                same_sequence_with_another_digest_survives,
                late_data_lands_in_its_hour,
                a_correction_stands_whatever_comes_last,
                of_equal_times_the_larger_bytes_stand,
                versions_in_one_call_settle_too,
                versions_written_at_once_settle_too,
                any_order_of_writes_gives_the_same_rows,
                pages_join_without_gap_or_repeat,
                empty_hours_do_not_end_a_read,
                rows_come_in_the_order_promised,
                hours_go_both_ways_with_limit_and_all_metrics,
                an_hour_without_metrics_is_named,
                another_patients_rows_never_show,
                times_before_1970_and_far_ahead_are_kept,
                one_call_may_span_days_and_patients,
                an_empty_call_does_nothing,
                positions_never_go_back,
                a_device_was_seen_at_its_latest_time,
                a_batch_is_found_by_its_identity,
                two_contents_of_one_sequence_are_both_told,
                the_highest_sequence_is_of_all_hours_of_its_stretch,
                a_position_noted_counts_as_a_sequence_known,
                rows_of_a_known_hour_need_no_index,
                quarantine_holds_a_record_once,
                only_what_was_put_aside_is_marked,
                audit_entries_come_back_over_pages,
                audit_entries_appended_twice_land_on_themselves,
                audit_search_is_half_open_newest_first_and_limited,
                audit_search_reaches_over_years,
                audit_search_never_shows_another_patients,
                audit_entries_of_one_time_have_an_order,
                audit_writers_are_listed,
                audit_writers_at_once_do_not_mix,
                changes_come_back_in_order_over_pages,
                a_place_is_given_once,
                of_many_at_once_one_gets_the_place,
                profiles_are_kept_by_person_and_revision,
                steps_come_back_in_order_and_each_number_is_given_once,
                of_many_at_once_one_gets_the_number,
                things_are_listed_with_the_highest_step_announced,
                a_thing_that_is_forgotten_is_gone,
            );
            store_contract!(@cases [$(#[$attribute])?] $alone,
                sealed_hours_read_the_same,
                late_data_unseals,
                replay_of_sealed_rows_changes_nothing,
                a_correction_after_sealing_stands,
                rollups_follow_the_rows,
                an_hour_that_is_not_over_is_not_sealed,
                unreadable_blocks_are_left_as_rows,
                appends_and_seals_at_once,
            );
        }
    };
    (@cases $attributes:tt $factory:path, $($case:ident,)+) => {
        $(store_contract!(@case $case, $factory, $attributes);)+
    };
    (@case $case:ident, $factory:path, [$(#[$attribute:meta])?]) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])?
        async fn $case() {
            let (store, _alive) = $factory().await;
            crate::all::$case(&store).await;
        }
    };
}

store_contract!(embedded, crate::fixture::embedded, crate::fixture::embedded);
store_contract!(cql, crate::fixture::cql, crate::fixture::cql_alone, #[ignore = "needs a CQL server"]);
// Pages of three rows: every read of the suite takes many.
store_contract!(
    cql_small_pages,
    crate::fixture::cql_small_pages,
    crate::fixture::cql_small_pages_alone,
    #[ignore = "needs a CQL server"]
);
