//! Arguments of `doctor`.

use super::{common::ModelOptions, values::whole};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Which models.
    #[command(flatten)]
    pub models: ModelOptions,
    /// Seconds that the check may take once the files are there, loading included; more give a
    /// narrower interval
    #[arg(long, value_name = "N", default_value = "45",
        value_parser = whole(2..=3600_u64, "45 is a good start; large models need more"))]
    pub seconds: u64,
    /// Print one JSON object in place of text
    #[arg(long)]
    pub json: bool,
}
