//! A slice whose parts several tasks write at the same time.

use std::{marker::PhantomData, ops::Range};

/// A mutable slice, shared by tasks of which each writes other elements.
///
/// Ranges are checked against the length on every access. That no element is written by one task
/// while another uses it is what the unsafe methods ask of their caller.
pub(crate) struct DisjointMut<'a, T> {
    start: *mut T,
    len: usize,
    values: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for `&mut [T]`, which is Send and Sync as `T` is; concurrent use of an element
// is excluded by the contract of the methods that give access.
unsafe impl<T: Send> Send for DisjointMut<'_, T> {}
// SAFETY: as above; elements are moved between threads only through `&mut`, so `Send` suffices.
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}

impl<T> Clone for DisjointMut<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for DisjointMut<'_, T> {}

impl<T> std::fmt::Debug for DisjointMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DisjointMut").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<'a, T> DisjointMut<'a, T> {
    /// The whole slice, which stays borrowed.
    pub(crate) fn new(values: &'a mut [T]) -> Self {
        DisjointMut { start: values.as_mut_ptr(), len: values.len(), values: PhantomData }
    }

    /// A pointer to the first element of `range`, valid for the whole range during `'a`.
    ///
    /// # Panics
    /// If `range` is not inside the slice.
    #[inline]
    pub(crate) fn pointer(&self, range: Range<usize>) -> *mut T {
        let Range { start, end } = range;
        assert!(start <= end && end <= self.len, "{start}..{end} is not inside 0..{}", self.len);
        // SAFETY: `start` is at most the length of the slice, as just asserted.
        unsafe { self.start.add(start) }
    }

    /// The elements of `range`, for writing.
    ///
    /// # Panics
    /// As [`pointer`](Self::pointer).
    ///
    /// # Safety
    /// No other task uses an element of `range` while the result is alive.
    #[inline]
    pub(crate) unsafe fn get_mut(&self, range: Range<usize>) -> &'a mut [T] {
        let len = range.len();
        let start = self.pointer(range);
        // SAFETY: the range is inside a slice that is mutably borrowed for `'a`, and the caller
        // excludes other uses of its elements.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// Row `row` of the matrix [rows, width] that the slice holds, for writing.
    ///
    /// # Panics
    /// If the row is not inside the slice.
    ///
    /// # Safety
    /// As [`get_mut`](Self::get_mut).
    #[inline]
    pub(crate) unsafe fn row(&self, row: usize, width: usize) -> &'a mut [T] {
        let start = row.checked_mul(width).expect("a row inside the slice");
        // SAFETY: the contract of this method is the same.
        unsafe { self.get_mut(start..start + width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_write_rows_of_their_own() {
        let mut values = vec![0usize; 12];
        let rows = DisjointMut::new(&mut values);
        std::thread::scope(|scope| {
            for row in 0..4 {
                // SAFETY: each thread has another row.
                scope.spawn(move || unsafe { rows.row(row, 3).fill(row) });
            }
        });
        assert_eq!(values, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    #[should_panic(expected = "10..13 is not inside 0..12")]
    fn a_range_beyond_the_end_is_refused() {
        DisjointMut::new(&mut [0u8; 12]).pointer(10..13);
    }

    #[test]
    #[should_panic(expected = "a row inside the slice")]
    fn a_row_whose_start_overflows_is_refused() {
        // SAFETY: the slice has no such row, so that nothing is given out.
        unsafe { DisjointMut::new(&mut [0u8; 12]).row(usize::MAX, 3) };
    }
}
