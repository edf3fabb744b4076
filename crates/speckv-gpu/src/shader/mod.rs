//! The text of every kernel, from templates with the numbers of a model and a device filled in.
//!
//! Kernels are written in WGSL, one file per kernel or shared part. What a kernel is compiled for
//! (rows of a tile, weight format, head size) is part of a [`Shader`]; sizes that only change loop
//! bounds are in uniform buffers.

mod attention;
mod product;
mod template;

pub use attention::{AttentionShape, CHUNK};
pub use product::{Epilogue, MAX_TILE, Product, Slices, TILES, tile_for};
pub use template::{Values, expand};

use crate::format::Format;

/// Logits that one workgroup reads for the signals.
pub const SIGNAL_PART: usize = 4096;

/// Everything that decides a kernel's text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shader {
    template: &'static str,
    values: Values,
}

impl Shader {
    fn new(template: &'static str, values: Values) -> Self {
        Shader { template, values }
    }

    /// The kernel's name, for labels and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.template
    }

    /// The kernel's WGSL.
    #[must_use]
    pub fn text(&self) -> String {
        expand(file(self.template), &self.values, &file)
    }

    /// A row through a norm, exact and quantized; `picked` takes rows in the order of a list.
    #[must_use]
    pub fn norm(picked: bool) -> Self {
        let values = Values::default().when("PICKED", picked).when("ADD", false);
        Shader::new("norm", values.when("NORM", true))
    }

    /// A row as it is, exact and quantized.
    #[must_use]
    pub fn quantized() -> Self {
        let values = Values::default().when("PICKED", false).when("ADD", false);
        Shader::new("norm", values.when("NORM", false))
    }

    /// Norms of whole queries and keys; with biases that are added first.
    #[must_use]
    pub fn whole_norm(bias: bool) -> Self {
        Shader::new("whole_norm", Values::default().when("BIAS", bias))
    }

    /// Adds the norm of a row to the residual stream.
    #[must_use]
    pub fn add_norm() -> Self {
        let values = Values::default().when("PICKED", false).when("ADD", true);
        Shader::new("norm", values.when("NORM", true))
    }

    /// Gate times up where they are two products. `silu`, or GELU.
    #[must_use]
    pub fn glu(silu: bool) -> Self {
        Shader::new("glu", quantize("block_values", "0u", "q").when("SILU", silu))
    }

    /// Likeliest token and sums of parts of rows of logits.
    #[must_use]
    pub fn signals() -> Self {
        Shader::new("signals", Values::default().with("PART", SIGNAL_PART))
    }

    /// Embeddings of the likeliest tokens of rows of logits, from a matrix of this format.
    #[must_use]
    pub fn gather(format: &Format) -> Self {
        let values = product::format_values(format, Values::default());
        Shader::new("gather", values.with("PART", SIGNAL_PART))
    }

    /// Reads a buffer once.
    #[must_use]
    pub fn read() -> Self {
        Shader::new("read", Values::default())
    }
}

/// Names for the part that quantizes 32 values: `source` from index `base` on, to `{to}` and
/// `{to}_factors`, or `factors` where `to` is `q`.
fn quantize(source: &str, base: &str, to: &str) -> Values {
    let factors = if to == "q" { "factors".to_owned() } else { format!("{to}_factors") };
    Values::default()
        .with("SOURCE", source)
        .with("BASE", base)
        .with("Q", to)
        .with("FACTORS", factors)
}

/// The text of a template.
fn file(name: &str) -> &'static str {
    macro_rules! files {
        ($($name:literal)*) => {
            match name {
                $($name => include_str!(concat!("wgsl/", $name, ".wgsl")),)*
                _ => panic!("no shader template \"{name}\""),
            }
        };
    }
    files!("attend" "cache" "cache_bytes" "float_weights" "floats" "gated" "gather" "glu" "half"
        "integer_weights" "integers" "keep" "merge" "norm" "numbers" "part" "product" "quantize"
        "read" "rotate" "rows" "signals" "span" "store" "weigh" "whole_norm")
}
