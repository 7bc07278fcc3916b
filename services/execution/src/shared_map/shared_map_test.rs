//! A map does what the standard library's does, shares what it can, and finds what differs without looking at the rest.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Change, Entry, SharedMap, Sum};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair(u16, u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    values: u64,
    greatest: u32,
}

impl Sum for Total {
    fn plus(self, other: Self) -> Self {
        Self { values: self.values + other.values, greatest: self.greatest.max(other.greatest) }
    }
}

impl Entry for Pair {
    type Key = u16;
    type Sum = Total;

    fn key(&self) -> &u16 {
        &self.0
    }

    fn sum(&self) -> Total {
        Total { values: u64::from(self.1), greatest: self.1 }
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

#[derive(Clone, Debug)]
enum Action {
    Insert(Pair),
    Remove(u16),
    Update(Pair),
    Retain(u16),
}

fn action() -> impl Strategy<Value = Action> {
    let pair = (0..200_u16, any::<u32>()).prop_map(|(key, value)| Pair(key, value));
    prop_oneof![
        6 => pair.clone().prop_map(Action::Insert),
        4 => (0..200_u16).prop_map(Action::Remove),
        2 => pair.prop_map(Action::Update),
        1 => (2..9_u16).prop_map(Action::Retain),
    ]
}

fn act(map: &mut SharedMap<Pair>, model: &mut BTreeMap<u16, u32>, action: &Action) {
    match *action {
        Action::Insert(pair) => {
            assert_eq!(map.insert(pair), model.insert(pair.0, pair.1).map(|former| Pair(pair.0, former)));
        }
        Action::Remove(key) => assert_eq!(map.remove(&key), model.remove(&key).map(|former| Pair(key, former))),
        Action::Update(Pair(key, value)) => {
            let former = map.update(&key, |pair| std::mem::replace(&mut pair.1, value));
            assert_eq!(former, model.get_mut(&key).map(|former| std::mem::replace(former, value)));
        }
        Action::Retain(divisor) => {
            map.retain(|pair| pair.0 % divisor != 0);
            model.retain(|key, _| key % divisor != 0);
        }
    }
}

fn agree(map: &SharedMap<Pair>, model: &BTreeMap<u16, u32>) {
    map.check();
    let pairs: Vec<Pair> = model.iter().map(|(key, value)| Pair(*key, *value)).collect();
    assert_eq!(map.values().copied().collect::<Vec<_>>(), pairs);
    assert!(map.values().rev().eq(pairs.iter().rev()));
    assert_eq!(map.len(), pairs.len());
    assert_eq!(map.first(), pairs.first());
    assert_eq!(map.last(), pairs.last());
    let total = pairs.iter().map(Entry::sum).fold(Total::default(), Total::plus);
    assert_eq!(map.sum(), total);
    for key in 0..200 {
        assert_eq!(map.get(&key).map(|pair| pair.1), model.get(&key).copied());
        let next = model.range(key..).next().map(|(key, value)| Pair(*key, *value));
        assert_eq!(map.first_not(|pair| pair.0 < key).copied(), next);
    }
}

/// A version with what a walk over its differences from another one makes of that.
fn patched(former: &SharedMap<Pair>, now: &SharedMap<Pair>) -> BTreeMap<u16, u32> {
    let mut patched: BTreeMap<u16, u32> = former.values().map(|pair| (pair.0, pair.1)).collect();
    for change in now.differences(former) {
        match change {
            Change::Added(pair) => assert_eq!(patched.insert(pair.0, pair.1), None),
            Change::Removed(pair) => assert_eq!(patched.remove(&pair.0), Some(pair.1)),
            Change::Changed { from, to } => {
                assert_ne!(from, to);
                assert_eq!(patched.insert(to.0, to.1), Some(from.1));
            }
        }
    }
    patched
}

proptest! {
    #[test]
    fn a_map_does_what_the_standard_librarys_does(actions in prop::collection::vec(action(), 0..300)) {
        let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
        for action in &actions {
            act(&mut map, &mut model, action);
        }
        agree(&map, &model);
    }

    #[test]
    fn a_copy_keeps_what_it_was_and_differs_by_what_was_done(
        before in prop::collection::vec(action(), 0..200),
        after in prop::collection::vec(action(), 0..60),
    ) {
        let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
        for action in &before {
            act(&mut map, &mut model, action);
        }
        let (copy, model_of_copy) = (map.clone(), model.clone());
        for action in &after {
            act(&mut map, &mut model, action);
        }
        agree(&copy, &model_of_copy);
        agree(&map, &model);
        prop_assert_eq!(patched(&copy, &map), model.clone());
        prop_assert_eq!(patched(&map, &copy), model_of_copy);
        // Another tree of the same content shares nothing and differs in nothing.
        let rebuilt: SharedMap<Pair> = model.iter().rev().map(|(key, value)| Pair(*key, *value)).collect();
        prop_assert_eq!(rebuilt.differences(&map).count(), 0);
        prop_assert_eq!(rebuilt, map);
    }

    #[test]
    fn a_search_finds_what_has_it(actions in prop::collection::vec(action(), 0..200), least in any::<u32>()) {
        let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
        for action in &actions {
            act(&mut map, &mut model, action);
        }
        let found: Vec<Pair> = map.search(&|sum| sum.greatest >= least).into_iter().copied().collect();
        let pairs = model.into_iter().map(|(key, value)| Pair(key, value));
        let (wanted, others): (Vec<Pair>, Vec<Pair>) = pairs.partition(|pair| pair.1 >= least);
        prop_assert_eq!(found, wanted);
        let others = others.iter().map(Entry::sum).fold(Total::default(), Total::plus);
        prop_assert_eq!(map.sum_of_others(&|sum| sum.greatest >= least), others);
    }
}

fn of_keys(keys: impl Iterator<Item = u16>) -> SharedMap<Pair> {
    keys.map(|key| Pair(key, 1)).collect()
}

#[test]
fn what_differs_is_found_without_looking_at_the_rest() {
    let map = of_keys(0..16_384);
    let visited = |change: &dyn Fn(&mut SharedMap<Pair>)| {
        let mut changed = map.clone();
        change(&mut changed);
        let mut differences = changed.differences(&map);
        assert_eq!(differences.by_ref().count(), 1);
        differences.visited()
    };
    // The way from the root down is a dozen and some; each branch on it is taken apart in both, and a few beside it.
    for key in [0, 1, 5_000, 8_191, 8_192, 16_383] {
        for count in [
            visited(&|map| assert!(map.update(&key, |pair| pair.1 = 2).is_some())),
            visited(&|map| assert!(map.remove(&key).is_some())),
            visited(&|map| assert!(map.insert(Pair(20_000 + key, 1)).is_none())),
        ] {
            assert!(count <= 120, "{count} branches were looked at for {key}");
        }
    }
    let mut same = map.differences(&map);
    assert_eq!((same.by_ref().count(), same.visited()), (0, 0));
}

#[test]
fn a_change_copies_the_way_to_it_only() {
    let map = of_keys(0..16_384);
    let mut changed = map.clone();
    changed.remove(&9_000);
    changed.remove(&30_000);
    let shared =
        |map: &SharedMap<Pair>| map.values().map(std::ptr::from_ref).collect::<std::collections::BTreeSet<_>>();
    let copied = shared(&changed).difference(&shared(&map)).count();
    assert!(copied <= 40, "{copied} values were copied");
}
