//! Reuse of a vector whose items borrow.

/// An empty vector with the memory of `used`, for items that borrow for another time than before.
///
/// The standard library collects in place where the items have the same layout, so this neither
/// allocates nor copies; `tests/allocation.rs` would notice if it ceased to.
pub(crate) fn recycle<A, B>(mut used: Vec<A>) -> Vec<B> {
    const { assert!(size_of::<A>() == size_of::<B>() && align_of::<A>() == align_of::<B>()) };
    used.clear();
    used.into_iter().map(|_| -> B { unreachable!("the vector is empty") }).collect()
}
