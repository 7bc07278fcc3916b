//! One suite for every adapter: the rules of the ports, each as a test.
//!
//! An adapter's tests say `storage::conformance_suite!(MySubject::new().await);` inside a module, and get one
//! `#[tokio::test]` for each rule. The crate that does so needs tokio with `macros` and `rt`.

pub mod logs;
pub mod random;
pub mod registries;
pub mod tables;
pub mod unknowns;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{GroupId, LogId, OwnerNonce, Store};

/// An adapter under test, with an empty store of its own.
#[async_trait]
pub trait Subject: Send {
    /// The ports.
    fn store(&self) -> Store;

    /// Lets go of the store and takes hold of it again as a new process would: what was acknowledged must be there.
    async fn restart(&mut self);
}

/// Makes one test of each rule, for the subject that the expression makes.
#[macro_export]
macro_rules! conformance_suite {
    ($subject:expr) => {
        $crate::conformance_suite!(@tests $subject; logs:
            a_new_log_is_empty,
            appends_are_found_by_the_next_opener,
            a_second_opener_fences_the_first,
            a_deposed_owner_cannot_trim_or_move_the_watermark,
            an_append_must_be_the_next,
            logs_are_apart,
            trimming_forgets_what_is_below,
            the_watermark_never_moves_back,
            reopening_keeps_the_log_ours,
            a_repeated_reopen_finds_the_first,
            reopening_after_another_opener_is_fenced,
            large_groups_survive,
            a_restart_keeps_everything,
        );
        $crate::conformance_suite!(@tests $subject; tables:
            what_was_put_can_be_got,
            large_writes_survive,
            the_highest_version_wins_in_any_order,
            a_late_put_stays_deleted,
            at_the_same_version_a_put_wins,
            the_same_write_may_be_repeated,
            a_put_above_a_tombstone_lives,
            a_tombstone_holds_back_rows_never_seen,
            scans_page_in_both_directions,
            scans_respect_their_range,
            scans_skip_tombstones,
            partitions_are_apart,
            one_write_spans_partitions,
            a_walk_names_every_partition,
            dropping_a_partition_forgets_its_tombstones,
            odd_keys_and_values_survive,
            rows_survive_a_restart,
        );
        $crate::conformance_suite!(@tests $subject; registries:
            a_value_is_set_on_its_version,
            an_entry_can_be_removed,
            a_list_goes_by_prefix_in_order,
            a_watcher_hears_of_changes,
            one_of_many_wins,
            entries_survive_a_restart,
        );
        $crate::conformance_suite!(@tests $subject; unknowns:
            an_append_that_landed_is_found_by_its_id,
            an_append_that_did_not_land_can_be_made_again,
            an_unknown_reopen_can_be_repeated,
            an_unknown_write_can_be_repeated,
            an_unknown_compare_and_set_is_settled_by_reading,
        );
        $crate::conformance_suite!(@tests $subject; random: any_calls_end_as_in_memory,);
    };
    (@tests $subject:expr; $group:ident: $($rule:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $rule() {
                $crate::conformance::$group::$rule(&mut $subject).await;
            }
        )*
    };
}

fn log_id(name: &str) -> LogId {
    LogId(name.to_owned())
}

const FIRST: OwnerNonce = OwnerNonce(0x1111_2222_3333_4444_5555_6666_7777_8888);
const SECOND: OwnerNonce = OwnerNonce(u128::MAX);

fn group_id(number: u64) -> GroupId {
    GroupId((u128::from(number) << 64) | 7)
}

fn text(content: &str) -> Bytes {
    Bytes::copy_from_slice(content.as_bytes())
}

/// Bytes that compress badly and differ from place to place, so that a mixed-up page shows.
fn noise(length: usize, seed: u64) -> Bytes {
    let mut dice = crate::dice::Dice::from_seed(seed);
    (0..length).map(|_| dice.roll().to_le_bytes()[0]).collect()
}
