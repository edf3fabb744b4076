//! How well a model predicts a text, and how far it is from a reference.
//!
//! [`windows`] is which tokens are scored with which context, [`row`] compares two distributions,
//! [`measure()`] runs the models over the windows, [`statistics`] says how sure the numbers are,
//! [`report`] shows them.

pub mod measure;
pub mod report;
pub mod row;
pub mod statistics;
pub mod windows;

pub use measure::{MeasureError, measure};
pub use report::{Report, Side};
pub use row::Row;
pub use windows::{Plan, Window};
