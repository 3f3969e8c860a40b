//! What the targets share.

pub mod held;
pub mod model;
pub mod operation;
pub mod packets;
pub mod pair;
pub mod setup;
pub mod side;

/// Does the work, and holds it to so many bytes of memory at a time.
pub fn allocated_at_most<T>(limit: u64, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(work()));
    assert!(info.bytes_max <= limit, "{info:?}, and the limit is {limit}");
    result.expect("the work was done")
}
