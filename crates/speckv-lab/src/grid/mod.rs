//! The paper's grid for any pair: tasks x prompts x gamma x compression, one record per step.
//!
//! [`step_row`] is a record · [`columns`] turns records into columns, from which both CSV and
//! Parquet are written, so that the two cannot differ · [`table_file`] writes and reads them,
//! [`parquet_rows`] reads the other kind · [`runner`] makes them with an engine · [`folder`] keeps
//! them, so that a recording that was killed goes on where it was.

pub mod columns;
pub mod folder;
pub mod parquet_rows;
pub mod runner;
pub mod step_row;
pub mod table_file;

pub use folder::{GridError, GridFolder, GridRun, GridSettings};
pub use runner::{Block, BlockTask, block_order, run_block};
pub use step_row::StepRow;
