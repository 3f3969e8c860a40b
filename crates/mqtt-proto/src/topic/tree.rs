//! Many filters against one topic.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroUsize;
use core::{fmt, mem};

use super::{TopicFilter, TopicName};

mod small_map;

use small_map::SmallMap;

/// Values that stand under Topic Filters, found by the Topic Names that these filters match.
///
/// A filter is its whole text: `$share/a/x`, `$share/b/x` and `x` are three entries, and the topic
/// `x` matches all of them. To tell the groups apart, put what you need to know into the value.
///
/// Finding the matches takes time for the levels of the topic and for the filters that match it, or
/// match it as far as they go with `+`; the number of the other filters counts only by its logarithm,
/// level by level. Nothing recurses, so a filter of 32,767 levels is only long. Each level that no
/// other filter shares costs some 200 bytes of memory though: whoever takes filters from strangers
/// should limit their length. Removing a filter frees what it alone needed.
///
/// ```
/// use mqtt_proto::{FilterTree, TopicFilter, TopicName};
///
/// let mut rooms = FilterTree::new();
/// rooms.insert(&TopicFilter::new("plant/+/temperature")?, "control room");
/// rooms.insert(&TopicFilter::new("plant/7/#")?, "hall 7");
///
/// let topic = TopicName::new("plant/7/temperature")?;
/// let mut found: Vec<_> = rooms.matches(&topic).copied().collect();
/// found.sort();
/// assert_eq!(found, ["control room", "hall 7"]);
/// # Ok::<(), mqtt_proto::TopicError>(())
/// ```
#[derive(Clone)]
pub struct FilterTree<T> {
    /// A level of a filter each, the root first; empty as long as nothing was put in.
    nodes: Vec<Node<T>>,
    /// Which nodes are not in use.
    free: Vec<usize>,
    /// How many filters there are.
    len: usize,
}

/// The node of no level at all. It is nobody's child, so a link to it stands for "none".
const ROOT: usize = 0;

/// Below this number of nodes, room for more is not worth giving back.
const SLACK: usize = 64;

#[derive(Clone)]
struct Node<T> {
    parent: usize,
    /// The children `+` and `#` stand apart: a topic asks for them at each level.
    plus: Option<NonZeroUsize>,
    hash: Option<NonZeroUsize>,
    children: SmallMap<Box<[u8]>, usize>,
    /// The filters that end here: at most one without `$share`, and one for each ShareName.
    filters: SmallMap<TopicFilter, T>,
}

impl<T> Node<T> {
    const fn new(parent: usize) -> Node<T> {
        Node { parent, plus: None, hash: None, children: SmallMap::new(), filters: SmallMap::new() }
    }

    fn child(&self, level: &[u8]) -> Option<usize> {
        match level {
            b"+" => self.plus.map(NonZeroUsize::get),
            b"#" => self.hash.map(NonZeroUsize::get),
            _ => self.children.get(level).copied(),
        }
    }

    /// Links a child to a level, or unlinks it with the root's index.
    fn set_child(&mut self, level: &[u8], child: usize) {
        match level {
            b"+" => self.plus = NonZeroUsize::new(child),
            b"#" => self.hash = NonZeroUsize::new(child),
            _ if child == ROOT => drop(self.children.remove(level)),
            _ => drop(self.children.insert(level.into(), child)),
        }
    }

    fn is_bare(&self) -> bool {
        self.plus.is_none()
            && self.hash.is_none()
            && self.children.is_empty()
            && self.filters.is_empty()
    }
}

impl<T> FilterTree<T> {
    /// Returns a tree without filters; it takes no memory yet.
    ///
    /// ```
    /// use mqtt_proto::FilterTree;
    ///
    /// static NOTHING: FilterTree<u32> = FilterTree::new();
    /// assert!(NOTHING.is_empty());
    /// ```
    pub const fn new() -> FilterTree<T> {
        FilterTree { nodes: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Puts a value under a filter, and returns the value that it replaced.
    ///
    /// The tree keeps a copy of the filter, so it does not hold on to the block that the filter was
    /// read from.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// let filter = TopicFilter::new("a/#")?;
    /// assert_eq!(tree.insert(&filter, 1), None);
    /// assert_eq!(tree.insert(&filter, 2), Some(1));
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn insert(&mut self, filter: &TopicFilter, value: T) -> Option<T> {
        match self.get_mut(filter) {
            Some(old) => Some(mem::replace(old, value)),
            None => {
                self.add(filter.clone().into_owned(), value);
                None
            }
        }
    }

    /// Returns the value under exactly this filter.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("a/+")?, 1);
    /// assert_eq!(tree.get(&TopicFilter::new("a/+")?), Some(&1));
    /// assert_eq!(tree.get(&TopicFilter::new("a/b")?), None);
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn get(&self, filter: &TopicFilter) -> Option<&T> {
        self.nodes.get(self.find(filter)?)?.filters.get(filter)
    }

    /// Returns the value under exactly this filter, to change it.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// let filter = TopicFilter::new("a/+")?;
    /// tree.insert(&filter, 1);
    /// if let Some(count) = tree.get_mut(&filter) {
    ///     *count += 1;
    /// }
    /// assert_eq!(tree.get(&filter), Some(&2));
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut T> {
        let at = self.find(filter)?;
        self.nodes.get_mut(at)?.filters.get_mut(filter)
    }

    /// Takes out the value under exactly this filter.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("$share/g/a")?, 1);
    /// assert_eq!(tree.remove(&TopicFilter::new("a")?), None);
    /// assert_eq!(tree.remove(&TopicFilter::new("$share/g/a")?), Some(1));
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn remove(&mut self, filter: &TopicFilter) -> Option<T> {
        let at = self.find(filter)?;
        let value = self.nodes.get_mut(at)?.filters.remove(filter)?;
        self.len -= 1;
        self.prune(at, filter);
        Some(value)
    }

    /// Returns the number of filters.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("a/b")?, ());
    /// tree.insert(&TopicFilter::new("$share/g/a/b")?, ());
    /// assert_eq!(tree.len(), 2);
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there are no filters.
    ///
    /// ```
    /// assert!(mqtt_proto::FilterTree::<()>::new().is_empty());
    /// ```
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out all filters, and gives the memory back.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("a")?, 1);
    /// tree.clear();
    /// assert!(tree.is_empty());
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn clear(&mut self) {
        *self = FilterTree::new();
    }

    /// Returns the values of the filters that match the topic, in no particular order.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter, TopicName};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("sport/#")?, 1);
    /// tree.insert(&TopicFilter::new("news")?, 2);
    /// assert!(tree.matches(&TopicName::new("sport")?).eq(&[1]));
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn matches<'a>(&'a self, topic: &TopicName) -> impl Iterator<Item = &'a T> {
        Matches::new(self, topic.as_bytes())
    }

    /// Calls a function with the value of each filter that matches the topic.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter, TopicName};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("+")?, 1);
    /// tree.insert(&TopicFilter::new("news")?, 2);
    /// let mut sum = 0;
    /// tree.for_each_match(&TopicName::new("news")?, |value| sum += value);
    /// assert_eq!(sum, 3);
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn for_each_match<'a>(&'a self, topic: &TopicName, call: impl FnMut(&'a T)) {
        self.for_each_match_bytes(topic.as_bytes(), call);
    }

    /// Does the same for a topic as it came from the wire, which is not checked again.
    ///
    /// Matches what [`matches()`](crate::matches()) matches, with any bytes.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("#")?, 1);
    /// let mut found = 0;
    /// tree.for_each_match_bytes(b"news", |value| found += value);
    /// tree.for_each_match_bytes(b"$SYS/uptime", |value| found += value);
    /// assert_eq!(found, 1);
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn for_each_match_bytes<'a>(&'a self, topic: &[u8], call: impl FnMut(&'a T)) {
        Matches::new(self, topic).for_each(call);
    }

    /// Returns all filters with their values, in no particular order.
    ///
    /// ```
    /// use mqtt_proto::{FilterTree, TopicFilter};
    ///
    /// let mut tree = FilterTree::new();
    /// tree.insert(&TopicFilter::new("$share/g/a")?, 1);
    /// for (filter, value) in tree.iter() {
    ///     assert_eq!((filter.as_str(), *value), ("$share/g/a", 1));
    /// }
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&TopicFilter, &T)> {
        self.nodes.iter().flat_map(|node| node.filters.iter())
    }

    /// Returns the node where a filter ends.
    fn find(&self, filter: &TopicFilter) -> Option<usize> {
        let mut at = ROOT;
        for level in filter.filter_bytes().split(is_slash) {
            at = self.nodes.get(at)?.child(level)?;
        }
        Some(at)
    }

    /// Puts in a filter that was not there.
    fn add(&mut self, filter: TopicFilter, value: T) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::new(ROOT));
        }
        let mut at = ROOT;
        for level in filter.filter_bytes().split(is_slash) {
            let child = self.nodes.get(at).and_then(|node| node.child(level));
            at = child.unwrap_or_else(|| self.add_child(at, level));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.filters.insert(filter, value);
            self.len += 1;
        }
    }

    fn add_child(&mut self, parent: usize, level: &[u8]) -> usize {
        let child = self.free.pop().unwrap_or(self.nodes.len());
        match self.nodes.get_mut(child) {
            Some(free) => *free = Node::new(parent),
            None => self.nodes.push(Node::new(parent)),
        }
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.set_child(level, child);
        }
        child
    }

    /// Frees the nodes, from the end of a filter upwards, that only this filter needed.
    fn prune(&mut self, end: usize, filter: &TopicFilter) {
        let mut at = end;
        for level in filter.filter_bytes().rsplit(is_slash) {
            let parent = match self.nodes.get_mut(at) {
                Some(node) if node.is_bare() => mem::replace(node, Node::new(ROOT)).parent,
                _ => break,
            };
            self.free.push(at);
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.set_child(level, ROOT);
            }
            at = parent;
        }
        if self.nodes.len() > SLACK && self.free.len() > self.nodes.len() / 4 * 3 {
            self.rebuild();
        }
    }

    /// Moves all filters to a tree without free nodes. What this costs was saved up by the removals
    /// that made three quarters of the nodes free.
    fn rebuild(&mut self) {
        for mut node in mem::take(self).nodes {
            while let Some((filter, value)) = node.filters.pop() {
                self.add(filter, value);
            }
        }
    }
}

fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

/// Walks down every way on which the topic matches.
struct Matches<'a, 'n, T> {
    nodes: &'a [Node<T>],
    /// Whether `+` and `#` at the first level are passed over.
    dollar: bool,
    /// Where to go on: a node, and what follows of the topic; `None` behind its last level.
    next: Option<(usize, Option<&'n [u8]>)>,
    /// The `+` beside the ways that were taken first: one a level at the most, and mostly none, so that
    /// most topics are matched without allocating.
    later: Vec<(usize, Option<&'n [u8]>)>,
    /// What matches at the present node: filters that end in `#` below it, filters that end in it.
    below: small_map::Iter<'a, TopicFilter, T>,
    here: small_map::Iter<'a, TopicFilter, T>,
}

impl<'a, 'n, T> Matches<'a, 'n, T> {
    fn new(tree: &'a FilterTree<T>, topic: &'n [u8]) -> Matches<'a, 'n, T> {
        Matches {
            nodes: &tree.nodes,
            dollar: topic.first() == Some(&b'$'),
            next: Some((ROOT, Some(topic))),
            later: Vec::new(),
            below: Default::default(),
            here: Default::default(),
        }
    }

    /// Visits one node: finds what matches there, and where to go on.
    fn step(&mut self) -> Option<()> {
        let (at, rest) = self.next.take().or_else(|| self.later.pop())?;
        let node = self.nodes.get(at)?;
        let wild = at != ROOT || !self.dollar;
        if let Some(hash) = node.hash.filter(|_| wild) {
            self.below = self.nodes.get(hash.get())?.filters.iter();
        }
        let Some(rest) = rest else {
            self.here = node.filters.iter();
            return Some(());
        };
        let mut parts = rest.splitn(2, is_slash);
        let level = parts.next()?;
        let rest = parts.next();
        let named = node.children.get(level).map(|child| (*child, rest));
        let plus = node.plus.filter(|_| wild).map(|child| (child.get(), rest));
        match (named, plus) {
            (Some(named), Some(plus)) => {
                self.next = Some(named);
                self.later.push(plus);
            }
            (named, plus) => self.next = named.or(plus),
        }
        Some(())
    }
}

impl<'a, T> Iterator for Matches<'a, '_, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some((_, value)) = self.below.next().or_else(|| self.here.next()) {
                return Some(value);
            }
            self.step()?;
        }
    }
}

impl<T> Default for FilterTree<T> {
    fn default() -> FilterTree<T> {
        FilterTree::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for FilterTree<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
