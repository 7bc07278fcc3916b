//! Values in order, from both ends.

use super::Entry;
use super::node::{Branch, Node, len};

/// Values with their keys, in the order of these.
pub struct Iter<'a, V: Entry> {
    /// Those whose value and greater side are still to come, the outermost first.
    front: Vec<&'a Node<V>>,
    /// Those whose value and lesser side are still to come; `None` before the first from that end, as hardly any walk begins there.
    back: Option<Vec<&'a Node<V>>>,
    root: &'a Branch<V>,
    left: usize,
}

impl<'a, V: Entry> Iter<'a, V> {
    pub(super) fn of(branch: &'a Branch<V>) -> Self {
        let mut iter = Self { front: Vec::new(), back: None, root: branch, left: len(branch) };
        iter.descend_left(branch);
        iter
    }

    fn descend_left(&mut self, mut branch: &'a Branch<V>) {
        while let Some(node) = branch {
            self.front.push(node);
            branch = &node.left;
        }
    }
}

fn descend_right<'a, V: Entry>(path: &mut Vec<&'a Node<V>>, mut branch: &'a Branch<V>) {
    while let Some(node) = branch {
        path.push(node);
        branch = &node.right;
    }
}

impl<'a, V: Entry> Iterator for Iter<'a, V> {
    type Item = (&'a V::Key, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let node = self.front.pop()?;
        self.descend_left(&node.right);
        Some((node.value.key(), &node.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<V: Entry> DoubleEndedIterator for Iter<'_, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let root = self.root;
        let back = self.back.get_or_insert_with(|| {
            let mut path = Vec::new();
            descend_right(&mut path, root);
            path
        });
        let node = back.pop()?;
        descend_right(back, &node.left);
        Some((node.value.key(), &node.value))
    }
}

impl<V: Entry> ExactSizeIterator for Iter<'_, V> {}
