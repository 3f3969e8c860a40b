//! A sorted map that is small while it has few entries.

use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::{mem, slice};

/// How many entries are kept in a list. A `BTreeMap` makes room for eleven with the first entry, and
/// most levels have one child, so a map for each would cost ten times what is in it.
const FEW: usize = 16;

#[derive(Clone)]
pub(super) enum SmallMap<K, V> {
    /// Sorted by key.
    Few(Vec<(K, V)>),
    /// Stays one until it is dropped: a level that was wide once is likely to become wide again.
    Many(BTreeMap<K, V>),
}

impl<K: Ord, V> SmallMap<K, V> {
    pub(super) const fn new() -> SmallMap<K, V> {
        SmallMap::Few(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            SmallMap::Few(list) => list.is_empty(),
            SmallMap::Many(map) => map.is_empty(),
        }
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            SmallMap::Few(list) => list.get(position(list, key).ok()?).map(|(_, value)| value),
            SmallMap::Many(map) => map.get(key),
        }
    }

    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            SmallMap::Few(list) => {
                let at = position(list, key).ok()?;
                list.get_mut(at).map(|(_, value)| value)
            }
            SmallMap::Many(map) => map.get_mut(key),
        }
    }

    /// Puts a value in, and returns the one that it replaced.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(mem::replace(old, value));
        }
        match self {
            SmallMap::Few(list) if list.len() < FEW => {
                if list.is_empty() {
                    list.reserve_exact(1);
                }
                let at = position(list, &key).unwrap_or_else(|at| at);
                list.insert(at, (key, value));
            }
            SmallMap::Few(list) => {
                let mut map: BTreeMap<K, V> = mem::take(list).into_iter().collect();
                map.insert(key, value);
                *self = SmallMap::Many(map);
            }
            SmallMap::Many(map) => {
                map.insert(key, value);
            }
        }
        None
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            SmallMap::Few(list) => {
                let at = position(list, key).ok()?;
                Some(list.remove(at).1)
            }
            SmallMap::Many(map) => map.remove(key),
        }
    }

    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        match self {
            SmallMap::Few(list) => Iter::Few(list.iter()),
            SmallMap::Many(map) => Iter::Many(map.iter()),
        }
    }

    /// Takes the entries out one by one; the map is of no use afterwards.
    pub(super) fn pop(&mut self) -> Option<(K, V)> {
        match self {
            SmallMap::Few(list) => list.pop(),
            SmallMap::Many(map) => map.pop_last(),
        }
    }
}

fn position<K: Borrow<Q>, V, Q: Ord + ?Sized>(list: &[(K, V)], key: &Q) -> Result<usize, usize> {
    list.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

pub(super) enum Iter<'a, K, V> {
    Few(slice::Iter<'a, (K, V)>),
    Many(btree_map::Iter<'a, K, V>),
}

impl<K, V> Default for Iter<'_, K, V> {
    fn default() -> Self {
        Iter::Few([].iter())
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        match self {
            Iter::Few(list) => list.next().map(|(key, value)| (key, value)),
            Iter::Many(map) => map.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_a_list_to_a_map_and_back_to_nothing() {
        let mut map = SmallMap::new();
        for key in [0, 2, 4, 1, 3].into_iter().chain(5..2 * FEW) {
            assert_eq!(map.insert(key, key), None);
            assert_eq!(map.insert(key, key + 1), Some(key), "replaces");
            assert_eq!(matches!(map, SmallMap::Few(_)), key < FEW);
        }
        let keys: Vec<usize> = map.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, (0..2 * FEW).collect::<Vec<_>>());
        for key in 0..2 * FEW {
            assert_eq!(map.get(&key), Some(&(key + 1)));
            assert_eq!(map.remove(&key), Some(key + 1));
            assert_eq!(map.remove(&key), None);
            assert_eq!(map.get(&key), None);
        }
        assert!(map.is_empty());
    }
}
