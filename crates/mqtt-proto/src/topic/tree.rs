//! Many filters against one topic.

use core::marker::PhantomData;

/// Placeholder.
#[derive(Debug)]
pub struct FilterTree<T>(PhantomData<T>);
