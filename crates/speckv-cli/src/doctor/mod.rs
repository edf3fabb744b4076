//! A check of under a minute: whether speculation helps on this machine with this model.
//!
//! [`selection`] picks prompts that fit the time, [`trial`] answers each with and without
//! speculation, [`report`] sums up, and [`advice`] says what to change.

pub mod advice;
pub mod report;
pub mod selection;
pub mod trial;
