//! What one version has and another has not.
//!
//! Both are walked in order, side by side. Where both have come to the same branch they pass over it; otherwise the larger
//! branch is taken apart, until the same ones face each other again.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Entry;
use super::node::{Branch, Node, len};

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a, V> {
    /// It is new.
    Added(&'a V),
    /// It is gone.
    Removed(&'a V),
    /// It may be another now.
    Changed {
        /// As it was.
        from: &'a V,
        /// As it is.
        to: &'a V,
    },
}

/// The changes between two versions, in the order of keys.
pub struct Differences<'a, V: Entry> {
    former: Walk<'a, V>,
    now: Walk<'a, V>,
    visited: usize,
}

/// What is still to come, the next last.
type Walk<'a, V> = Vec<Step<'a, V>>;

enum Step<'a, V: Entry> {
    Branch(&'a Branch<V>),
    Value(&'a V),
}

impl<'a, V: Entry> Differences<'a, V> {
    pub(super) fn between(former: &'a Branch<V>, now: &'a Branch<V>) -> Self {
        if is_shared(former, now) {
            return Self { former: Walk::new(), now: Walk::new(), visited: 0 };
        }
        Self { former: begin(former), now: begin(now), visited: 0 }
    }

    /// How many branches have been taken apart.
    #[cfg(test)]
    pub(crate) fn visited(&self) -> usize {
        self.visited
    }
}

fn begin<V: Entry>(branch: &Branch<V>) -> Walk<'_, V> {
    branch.iter().map(|_| Step::Branch(branch)).collect()
}

/// Takes the next branch apart, which is one.
fn take_apart<V: Entry>(walk: &mut Walk<'_, V>) {
    let Some(Step::Branch(Some(node))) = walk.pop() else { return };
    let Node { value, left, right, .. } = &**node;
    walk.extend(right.iter().map(|_| Step::Branch(right)));
    walk.push(Step::Value(value));
    walk.extend(left.iter().map(|_| Step::Branch(left)));
}

fn is_shared<V: Entry>(one: &Branch<V>, other: &Branch<V>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

impl<'a, V: Entry> Iterator for Differences<'a, V> {
    type Item = Change<'a, V>;

    fn next(&mut self) -> Option<Change<'a, V>> {
        loop {
            match (self.former.last(), self.now.last()) {
                (Some(Step::Branch(former)), Some(Step::Branch(now))) if is_shared(former, now) => {
                    self.former.pop();
                    self.now.pop();
                    continue;
                }
                (Some(Step::Branch(former)), Some(Step::Branch(now))) if len(former) < len(now) => {
                    take_apart(&mut self.now);
                }
                (Some(Step::Branch(_)), _) => take_apart(&mut self.former),
                (_, Some(Step::Branch(_))) => take_apart(&mut self.now),
                (former, now) => {
                    let values = (former.and_then(Step::value), now.and_then(Step::value));
                    match self.compare(values) {
                        Some(Some(change)) => return Some(change),
                        Some(None) => continue,
                        None => return None,
                    }
                }
            }
            self.visited += 1;
        }
    }
}

impl<'a, V: Entry> Step<'a, V> {
    fn value(&self) -> Option<&'a V> {
        match self {
            Self::Value(value) => Some(value),
            Self::Branch(_) => None,
        }
    }
}

impl<'a, V: Entry> Differences<'a, V> {
    /// Passes over the lesser of two values, or both if they have one key; `None` at the end.
    fn compare(&mut self, values: (Option<&'a V>, Option<&'a V>)) -> Option<Option<Change<'a, V>>> {
        let order = match values {
            (Some(former), Some(now)) => former.key().cmp(now.key()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        if order.is_le() {
            self.former.pop();
        }
        if order.is_ge() {
            self.now.pop();
        }
        Some(match values {
            (Some(from), Some(to)) if order.is_eq() => (!from.is_same(to)).then_some(Change::Changed { from, to }),
            (Some(former), _) if order.is_lt() => Some(Change::Removed(former)),
            (_, now) => now.map(Change::Added),
        })
    }
}
