//! Options that limit what an answer may be.

use std::path::PathBuf;

/// What an answer may be. At most one of them.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = false)]
pub struct GrammarOptions {
    /// The answer is JSON that fits the schema in this file
    #[arg(long, value_name = "FILE", help_heading = "Answer")]
    pub json_schema: Option<PathBuf>,
    /// The answer fits the grammar in this file, written in GBNF or in Lark
    #[arg(long, value_name = "FILE", help_heading = "Answer")]
    pub grammar: Option<PathBuf>,
    /// The answer is one of these texts, separated by commas
    #[arg(long, value_name = "TEXTS", value_delimiter = ',', help_heading = "Answer")]
    pub choices: Option<Vec<String>>,
}
