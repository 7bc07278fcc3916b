//! Values in order, from both ends.

use super::Entry;
use super::node::{Branch, Node, len};

/// Values with their keys, in the order of these.
pub struct Iter<'a, V: Entry> {
    /// Those whose value and greater side are still to come, the outermost first.
    front: Vec<&'a Node<V>>,
    /// Those whose value and lesser side are still to come.
    back: Vec<&'a Node<V>>,
    left: usize,
}

impl<'a, V: Entry> Iter<'a, V> {
    pub(super) fn of(branch: &'a Branch<V>) -> Self {
        let mut iter = Self { front: Vec::new(), back: Vec::new(), left: len(branch) };
        iter.descend_left(branch);
        iter.descend_right(branch);
        iter
    }

    fn descend_left(&mut self, mut branch: &'a Branch<V>) {
        while let Some(node) = branch {
            self.front.push(node);
            branch = &node.left;
        }
    }

    fn descend_right(&mut self, mut branch: &'a Branch<V>) {
        while let Some(node) = branch {
            self.back.push(node);
            branch = &node.right;
        }
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
        let node = self.back.pop()?;
        self.descend_right(&node.left);
        Some((node.value.key(), &node.value))
    }
}

impl<V: Entry> ExactSizeIterator for Iter<'_, V> {}
