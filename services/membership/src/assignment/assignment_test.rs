//! Laws of the assignment, and the cases behind them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn candidates(of: &[(&str, u32)]) -> Vec<Candidate> {
    of.iter().map(|(id, weight)| Candidate { id: (*id).to_owned(), weight: *weight }).collect()
}

fn fresh(shards: usize, of: &[Candidate]) -> Vec<Option<String>> {
    after(&vec![None; shards], of)
}

fn after(owners: &[Option<String>], of: &[Candidate]) -> Vec<Option<String>> {
    let former = vec![None; owners.len()];
    assign(&Before { service: "history", owners, former: &former, pinned: &BTreeMap::new() }, of)
}

fn load(owners: &[Option<String>], id: &str) -> usize {
    owners.iter().flatten().filter(|owner| *owner == id).count()
}

fn moved(before: &[Option<String>], after: &[Option<String>]) -> BTreeSet<usize> {
    (0..before.len()).filter(|shard| before[*shard].is_some() && before[*shard] != after[*shard]).collect()
}

#[test]
fn bounds_follow_weights_and_allow_one_more_than_the_floor_when_shards_are_few() {
    type Row<'a> = (usize, &'a [u32], &'a [(usize, usize)]);
    let rows: &[Row<'_>] = &[
        (16, &[100], &[(16, 15)]),
        (16, &[100, 100, 100], &[(6, 5), (6, 5), (6, 5)]),
        (4, &[100, 100, 100, 100, 100], &[(1, 0); 5]),
        (100, &[100, 300], &[(27, 23), (82, 68)]),
        (300, &[100, 100, 100], &[(110, 90); 3]),
        (10, &[0, 100], &[(0, 0), (10, 9)]),
        (10, &[0, 0], &[(5, 5), (5, 5)]),
    ];
    for (shards, weights, expected) in rows {
        let of: Vec<Candidate> =
            weights.iter().map(|weight| Candidate { id: String::new(), weight: *weight }).collect();
        assert_eq!(bounds(*shards, &of), *expected, "{shards} shards for {weights:?}");
    }
}

#[test]
fn without_candidates_no_shard_has_an_owner() {
    assert_eq!(fresh(3, &[]), [None, None, None]);
}

#[test]
fn a_node_that_was_away_gets_back_what_it_had() {
    let all = candidates(&[("a", 100), ("b", 100), ("c", 100)]);
    for shards in [1, 4, 16, 300, 512] {
        let before = fresh(shards, &all);
        let without = after(&before, &all[1..]);
        let former: Vec<Option<String>> = before.iter().map(|owner| owner.clone().filter(|id| id == "a")).collect();
        let nothing = BTreeMap::new();
        let then = Before { service: "history", owners: &without, former: &former, pinned: &nothing };
        assert_eq!(assign(&then, &all), before, "{shards} shards");
    }
}

#[test]
fn a_pinned_shard_is_where_it_was_put_and_counts() {
    let of = candidates(&[("a", 100), ("b", 100)]);
    let before = fresh(8, &of);
    let pinned: BTreeMap<u32, String> = (0..8).map(|shard| (shard, "b".to_owned())).take(5).collect();
    let none = vec![None; 8];
    let placed = assign(&Before { service: "history", owners: &before, former: &none, pinned: &pinned }, &of);
    assert!(placed[..5].iter().all(|owner| owner.as_deref() == Some("b")), "{placed:?}");
    assert_eq!(load(&placed, "a") + load(&placed, "b"), 8);
    assert!(load(&placed, "a") >= 3, "b has more than its share already: {placed:?}");
}

fn cluster() -> impl Strategy<Value = (usize, Vec<Candidate>)> {
    (
        1usize..700,
        prop::collection::btree_map("[a-f][0-9]{1,2}", prop::sample::select(vec![50u32, 100, 100, 100, 200]), 1..12),
    )
        .prop_map(|(shards, of)| (shards, of.into_iter().map(|(id, weight)| Candidate { id, weight }).collect()))
}

fn within_bounds(owners: &[Option<String>], of: &[Candidate], fewest_too: bool) -> Result<(), TestCaseError> {
    prop_assert!(owners.iter().all(Option::is_some), "every shard has an owner");
    for (candidate, (most, fewest)) in of.iter().zip(bounds(owners.len(), of)) {
        let load = load(owners, &candidate.id);
        prop_assert!(load <= most, "{} has {load} of at most {most}", candidate.id);
        prop_assert!(!fewest_too || load >= fewest, "{} has {load} of at least {fewest}", candidate.id);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_shard_has_an_owner_within_bounds_and_the_answer_is_always_the_same((shards, of) in cluster()) {
        let owners = fresh(shards, &of);
        within_bounds(&owners, &of, true)?;
        prop_assert_eq!(&owners, &fresh(shards, &of));
        prop_assert_eq!(&owners, &after(&owners, &of), "what is well stays");
    }

    #[test]
    fn when_a_node_leaves_its_shards_move_and_others_only_to_who_would_have_too_few((shards, of) in cluster(), which in any::<prop::sample::Index>()) {
        prop_assume!(of.len() > 1);
        let before = fresh(shards, &of);
        let mut rest = of.clone();
        let gone = rest.remove(which.index(of.len()));
        let left = after(&before, &rest);
        within_bounds(&left, &rest, false)?;
        // Everyone's fair share grows, for some beyond what the one that left can give them.
        let bounds = bounds(shards, &rest);
        let lacking: usize = rest.iter().zip(&bounds).map(|(c, (_, fewest))| fewest.saturating_sub(load(&before, &c.id))).sum();
        let others = moved(&before, &left).into_iter().filter(|shard| before[*shard].as_ref() != Some(&gone.id)).count();
        prop_assert_eq!(others, lacking.saturating_sub(load(&before, &gone.id)));
    }

    #[test]
    fn when_a_node_joins_shards_move_to_it_alone_and_no_more_than_needed((shards, of) in cluster(), weight in 50u32..200) {
        let before = fresh(shards, &of);
        let newcomer = Candidate { id: "z".into(), weight };
        let all: Vec<Candidate> = of.iter().cloned().chain([newcomer]).collect();
        let joined = after(&before, &all);
        within_bounds(&joined, &all, true)?;
        let bounds = bounds(shards, &all);
        let excess: usize = all.iter().zip(&bounds).map(|(c, (most, _))| load(&before, &c.id).saturating_sub(*most)).sum();
        let lacking: usize = all.iter().zip(&bounds).map(|(c, (_, fewest))| fewest.saturating_sub(load(&before, &c.id))).sum();
        prop_assert_eq!(moved(&before, &joined).len(), excess.max(lacking));
    }
}
