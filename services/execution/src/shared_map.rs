//! An ordered map whose versions share what they have in common: a copy costs nothing, a change copies the branches on
//! its way, and the difference of two versions is found without looking at the branches that they share.
//!
//! A weight-balanced binary tree. Each branch knows the sum of what is in it, so the sum of all is at hand.
//!
//! Start at [`SharedMap`] and [`Entry`].

mod difference;
mod iter;
mod node;
#[cfg(test)]
mod shared_map_test;

use std::fmt::{Debug, Formatter};
use std::ops::Index;

pub(crate) use difference::Change;
pub use difference::Differences;
pub use iter::Iter;
use node::{Branch, Node, Side};

/// What a [`SharedMap`] holds: a value that is cheap to copy and knows its key.
pub trait Entry: Clone {
    /// By which values are ordered; two in one map never have the same.
    type Key: Ord + ?Sized;
    /// What is summed up per branch.
    type Sum: Sum;

    /// The value's key, which never changes.
    fn key(&self) -> &Self::Key;

    /// What the value adds to the sum.
    fn sum(&self) -> Self::Sum;

    /// Whether two values of one key are known to be the same. May be false for equal ones.
    fn is_same(&self, other: &Self) -> bool;
}

/// Something that can be added up, in any order. The default is the sum of nothing.
pub trait Sum: Copy + Default {
    /// Both together.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

impl Sum for () {
    fn plus(self, (): Self) {}
}

impl Sum for usize {
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// Values by their keys, in order. Copying takes constant time; reading, inserting and removing take time in the logarithm
/// of the number of values.
pub struct SharedMap<V: Entry> {
    root: Branch<V>,
}

impl<V: Entry> SharedMap<V> {
    /// Bytes on the heap for each value, beside what the value itself holds there.
    pub const NODE_BYTES: usize = 2 * size_of::<usize>() + size_of::<Node<V>>();

    /// How many values there are.
    pub fn len(&self) -> usize {
        node::len(&self.root)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The sum of all values.
    pub fn sum(&self) -> V::Sum {
        node::sum(&self.root)
    }

    /// The value of a key.
    pub fn get(&self, key: &V::Key) -> Option<&V> {
        node::get(&self.root, key)
    }

    /// Whether there is a value of this key.
    pub fn contains_key(&self, key: &V::Key) -> bool {
        self.get(key).is_some()
    }

    /// The value of the least key.
    pub fn first(&self) -> Option<&V> {
        node::outermost(&self.root, Side::Left)
    }

    /// The value of the greatest key.
    pub fn last(&self) -> Option<&V> {
        node::outermost(&self.root, Side::Right)
    }

    /// The first value of which `is_before` is false; it must be true of none after one of which it is false.
    pub fn first_not(&self, is_before: impl Fn(&V) -> bool) -> Option<&V> {
        let (mut at, mut found) = (&self.root, None);
        while let Some(node) = at {
            at = if is_before(&node.value) {
                &node.right
            } else {
                found = Some(&node.value);
                &node.left
            };
        }
        found
    }

    /// Adds a value; the one that had its key, if there was one.
    pub fn insert(&mut self, value: V) -> Option<V> {
        node::insert(&mut self.root, value)
    }

    /// Takes a value out, if it is there.
    pub fn remove(&mut self, key: &V::Key) -> Option<V> {
        // A look first, since the way to it is copied.
        self.contains_key(key).then(|| node::remove(&mut self.root, key)).flatten()
    }

    /// Changes a value, if it is there. Its key must stay.
    pub fn update<T>(&mut self, key: &V::Key, change: impl FnOnce(&mut V) -> T) -> Option<T> {
        self.contains_key(key).then(|| node::update(&mut self.root, key, change)).flatten()
    }

    /// Keeps only some values. Looks at all of them.
    pub fn retain(&mut self, wanted: impl Fn(&V) -> bool) {
        if self.values().all(&wanted) {
            return;
        }
        *self = self.values().filter(|value| wanted(value)).cloned().collect();
    }

    /// Takes all values out.
    pub fn clear(&mut self) {
        self.root = None;
    }

    /// The values with their keys, in the order of these.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter::of(&self.root)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.iter().map(|(_, value)| value)
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &V::Key> + ExactSizeIterator {
        self.iter().map(|(key, _)| key)
    }

    /// The values for which `wanted` is true of the sum of each branch that they are in, in order. It must be true of a sum if it is true of a part of it.
    pub fn search<'a>(&'a self, wanted: &dyn Fn(V::Sum) -> bool) -> Vec<&'a V> {
        let mut found = Vec::new();
        node::search(&self.root, wanted, &mut found);
        found
    }

    /// The sum of the values that [`SharedMap::search`] does not find.
    pub fn sum_of_others(&self, found: &dyn Fn(V::Sum) -> bool) -> V::Sum {
        node::sum_of_others(&self.root, found)
    }

    /// What became of `former`, in the order of keys. Takes time in the number of changes, times the logarithm of the number
    /// of values, where one version was made from the other.
    pub fn differences<'a>(&'a self, former: &'a Self) -> Differences<'a, V> {
        Differences::between(&former.root, &self.root)
    }

    /// Panics unless the tree is ordered, balanced and rightly summed up.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        node::check(&self.root);
    }
}

impl<V: Entry> Clone for SharedMap<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<V: Entry> Default for SharedMap<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V: Entry + PartialEq> PartialEq for SharedMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.values().eq(other.values())
    }
}

impl<V: Entry + Debug> Debug for SharedMap<V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl<V: Entry> FromIterator<V> for SharedMap<V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        let mut map = Self::default();
        values.into_iter().for_each(|value| drop(map.insert(value)));
        map
    }
}

impl<'a, V: Entry> IntoIterator for &'a SharedMap<V> {
    type Item = (&'a V::Key, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<V: Entry> Index<&V::Key> for SharedMap<V> {
    type Output = V;

    /// # Panics
    /// When there is no value of this key.
    fn index(&self, key: &V::Key) -> &V {
        self.get(key).expect("a value of this key")
    }
}
