//! The tree: each branch holds one value between those of lesser and those of greater keys. The sizes of the two sides differ
//! by a bounded factor (Hirai and Yamamoto, *Balancing weight-balanced trees*, 2011: the pair 3, 2).

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Entry, Sum};

/// How many times as large one side may be as the other.
const UNBALANCED: usize = 3;
/// From how many times the size of its outer part on the inner part of a side is parted by a second rotation.
const DOUBLE: usize = 2;

/// A part of the tree; `None` when there is nothing in it.
pub(super) type Branch<V> = Option<Arc<Node<V>>>;

#[derive(Clone)]
pub(super) struct Node<V: Entry> {
    pub(super) value: V,
    pub(super) left: Branch<V>,
    pub(super) right: Branch<V>,
    len: usize,
    /// What the value adds.
    own: V::Sum,
    /// The sum of the branch.
    total: V::Sum,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Left,
    Right,
}

impl<V: Entry> Node<V> {
    fn leaf(value: V) -> Self {
        let own = value.sum();
        Self { value, left: None, right: None, len: 1, own, total: own }
    }

    fn replace(&mut self, value: V) -> V {
        self.own = value.sum();
        std::mem::replace(&mut self.value, value)
    }

    fn count(&mut self) {
        self.len = len(&self.left) + 1 + len(&self.right);
        self.total = sum(&self.left).plus(self.own).plus(sum(&self.right));
    }

    fn side(&mut self, side: Side) -> &mut Branch<V> {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

pub(super) fn len<V: Entry>(branch: &Branch<V>) -> usize {
    branch.as_ref().map_or(0, |node| node.len)
}

pub(super) fn sum<V: Entry>(branch: &Branch<V>) -> V::Sum {
    branch.as_ref().map_or_else(Default::default, |node| node.total)
}

pub(super) fn get<'a, V: Entry>(mut branch: &'a Branch<V>, key: &V::Key) -> Option<&'a V> {
    while let Some(node) = branch {
        branch = match key.cmp(node.value.key()) {
            Ordering::Less => &node.left,
            Ordering::Greater => &node.right,
            Ordering::Equal => return Some(&node.value),
        };
    }
    None
}

pub(super) fn outermost<V: Entry>(branch: &Branch<V>, side: Side) -> Option<&V> {
    let mut node = branch.as_ref()?;
    loop {
        let outer = match side {
            Side::Left => &node.left,
            Side::Right => &node.right,
        };
        match outer {
            Some(outer) => node = outer,
            None => return Some(&node.value),
        }
    }
}

pub(super) fn insert<V: Entry>(branch: &mut Branch<V>, value: V) -> Option<V> {
    let Some(node) = branch else {
        *branch = Some(Arc::new(Node::leaf(value)));
        return None;
    };
    let node = Arc::make_mut(node);
    let former = match value.key().cmp(node.value.key()) {
        Ordering::Less => insert(&mut node.left, value),
        Ordering::Greater => insert(&mut node.right, value),
        Ordering::Equal => Some(node.replace(value)),
    };
    settle(branch);
    former
}

pub(super) fn update<V: Entry, T>(branch: &mut Branch<V>, key: &V::Key, change: impl FnOnce(&mut V) -> T) -> Option<T> {
    let node = Arc::make_mut(branch.as_mut()?);
    let changed = match key.cmp(node.value.key()) {
        Ordering::Less => update(&mut node.left, key, change),
        Ordering::Greater => update(&mut node.right, key, change),
        Ordering::Equal => {
            let changed = change(&mut node.value);
            node.own = node.value.sum();
            Some(changed)
        }
    };
    node.count();
    changed
}

pub(super) fn remove<V: Entry>(branch: &mut Branch<V>, key: &V::Key) -> Option<V> {
    let node = Arc::make_mut(branch.as_mut()?);
    let removed = match key.cmp(node.value.key()) {
        Ordering::Less => remove(&mut node.left, key),
        Ordering::Greater => remove(&mut node.right, key),
        Ordering::Equal => {
            // The nearest value of the larger side takes its place.
            let (left, right) = (len(&node.left), len(&node.right));
            let next = if left > right {
                remove_outermost(&mut node.left, Side::Right)
            } else {
                remove_outermost(&mut node.right, Side::Left)
            };
            match next {
                Some(next) => Some(node.replace(next)),
                None => {
                    let removed = node.value.clone();
                    *branch = None;
                    return Some(removed);
                }
            }
        }
    };
    settle(branch);
    removed
}

fn remove_outermost<V: Entry>(branch: &mut Branch<V>, side: Side) -> Option<V> {
    let node = Arc::make_mut(branch.as_mut()?);
    if let Some(removed) = remove_outermost(node.side(side), side) {
        settle(branch);
        return Some(removed);
    }
    let inner = node.side(side.other()).take();
    let removed = node.value.clone();
    *branch = inner;
    Some(removed)
}

/// Balances a branch of which one side has grown or shrunk by one, and sums it up.
fn settle<V: Entry>(branch: &mut Branch<V>) {
    let Some(node) = branch else { return };
    let (left, right) = (len(&node.left) + 1, len(&node.right) + 1);
    if left > UNBALANCED * right {
        lean(node, Side::Left);
    } else if right > UNBALANCED * left {
        lean(node, Side::Right);
    } else {
        Arc::make_mut(node).count();
    }
}

/// Moves values away from the heavy side.
fn lean<V: Entry>(node: &mut Arc<Node<V>>, heavy: Side) {
    let parent = Arc::make_mut(node);
    if let Some(child) = parent.side(heavy) {
        let child_node = Arc::make_mut(child);
        let outer = len(child_node.side(heavy)) + 1;
        let inner = len(child_node.side(heavy.other())) + 1;
        if inner >= DOUBLE * outer {
            rotate(child, heavy.other());
        }
    }
    rotate(node, heavy);
}

/// Raises the child on this side into its parent's place.
fn rotate<V: Entry>(node: &mut Arc<Node<V>>, side: Side) {
    let parent = Arc::make_mut(node);
    let Some(mut child) = parent.side(side).take() else { return };
    *parent.side(side) = Arc::make_mut(&mut child).side(side.other()).take();
    parent.count();
    std::mem::swap(node, &mut child);
    let raised = Arc::make_mut(node);
    *raised.side(side.other()) = Some(child);
    raised.count();
}

pub(super) fn search<'a, V: Entry>(branch: &'a Branch<V>, wanted: &dyn Fn(V::Sum) -> bool, found: &mut Vec<&'a V>) {
    let Some(node) = branch.as_ref().filter(|node| wanted(node.total)) else { return };
    search(&node.left, wanted, found);
    if wanted(node.own) {
        found.push(&node.value);
    }
    search(&node.right, wanted, found);
}

pub(super) fn sum_of_others<V: Entry>(branch: &Branch<V>, found: &dyn Fn(V::Sum) -> bool) -> V::Sum {
    let Some(node) = branch.as_ref().filter(|node| found(node.total)) else { return sum(branch) };
    let own = if found(node.own) { V::Sum::default() } else { node.own };
    sum_of_others(&node.left, found).plus(own).plus(sum_of_others(&node.right, found))
}

#[cfg(test)]
pub(super) fn check<V: Entry>(branch: &Branch<V>) {
    let Some(node) = branch else { return };
    let (left, right) = (len(&node.left) + 1, len(&node.right) + 1);
    assert!(left <= UNBALANCED * right && right <= UNBALANCED * left, "{left} beside {right}");
    assert_eq!(node.len, left + right - 1);
    let is_ordered = |below: &V, above: &V| below.key() < above.key();
    assert!(outermost(&node.left, Side::Right).is_none_or(|below| is_ordered(below, &node.value)));
    assert!(outermost(&node.right, Side::Left).is_none_or(|above| is_ordered(&node.value, above)));
    check(&node.left);
    check(&node.right);
}
