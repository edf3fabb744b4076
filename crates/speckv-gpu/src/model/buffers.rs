//! Room for one pass on the device.

use speckv_formats::config::Config;

use crate::{
    cache_type::CacheType,
    device::{Buffer, Device},
    error::GpuError,
    format::BLOCK,
    matrix::Input,
    shader::CHUNK,
};

/// Most positions that go through the layers together.
pub(super) const MAX_ROWS: usize = 256;

/// Rows of logits that are made at once.
pub(super) const PAGE_ROWS: usize = 32;

/// Most bytes of partial results of attention.
const PARTIAL_BYTES: u64 = 256 << 20;

/// Entries at binding 0: a slice, its feeds, and the rows of the head. Continuations, which have
/// fewer rows, have several of them.
const ENTRIES: usize = MAX_ROWS + 2;

/// The entry of the rows that want logits; the first ones are of a slice and its feeds.
pub(super) const HEAD_ROWS: u32 = ENTRIES as u32 - 1;

/// Sizes of a pass, in values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Blocks of 32 of the residual stream.
    pub hidden_blocks: usize,
    /// Blocks of 32 of the feed-forward part.
    pub inner_blocks: usize,
    /// Blocks of 32 of all query heads.
    pub query_blocks: usize,
    /// Values per row of query, key and value.
    pub qkv: usize,
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Most words of paths through trees.
    pub paths: usize,
    /// Values of partial results of attention: heads times head size, per row and chunk.
    pub partial_row: usize,
    /// Room for partial results, in rows times chunks.
    pub partial_slots: usize,
    /// Query heads.
    pub heads: usize,
    /// Pairs that turn, of the larger rotary embedding.
    pub pairs: usize,
    /// How keys and values are stored.
    pub cache_type: CacheType,
}

impl Sizes {
    /// Of a model with this vocabulary and context, on a device with this binding limit in bytes.
    pub(super) fn new(
        config: &Config,
        vocab: usize,
        context: usize,
        limit: u64,
        cache_type: CacheType,
    ) -> Self {
        let queries = config.heads * config.head_dim;
        let sliding = config.sliding.as_ref().map_or(0, |sliding| sliding.rope.dim);
        let chunks = context.div_ceil(CHUNK);
        let most = PARTIAL_BYTES.min(limit) as usize / (queries * 4);
        Sizes {
            hidden_blocks: config.hidden.div_ceil(BLOCK),
            inner_blocks: config.feed_forward.div_ceil(BLOCK),
            query_blocks: queries.div_ceil(BLOCK),
            qkv: queries + 2 * config.kv_heads * config.head_dim,
            vocab,
            paths: context.max(MAX_ROWS * 64),
            partial_row: queries,
            partial_slots: (MAX_ROWS * chunks).min(most).max(chunks),
            heads: config.heads,
            pairs: config.rope.dim.max(sliding) / 2,
            cache_type,
        }
    }

    /// Bytes of all buffers, about.
    pub(super) fn bytes(&self) -> u64 {
        let hidden = self.hidden_blocks * BLOCK;
        let input = |blocks: usize| blocks * (BLOCK * 5 + 16);
        let row = hidden * 8
            + self.qkv * 4
            + input(self.hidden_blocks)
            + input(self.query_blocks)
            + input(self.inner_blocks)
            + 2 * self.inner_blocks * BLOCK * 4;
        (MAX_ROWS * row + self.partial_slots * self.partial_row * 4 + PAGE_ROWS * self.vocab * 4)
            as u64
    }

    /// Most rows of a slice whose longest row reads so many chunks of positions.
    pub(super) fn slice_rows(&self, chunks: usize) -> usize {
        (self.partial_slots / chunks.max(1)).clamp(1, MAX_ROWS)
    }
}

/// The buffers of a pass.
#[derive(Debug)]
pub(super) struct Buffers {
    /// What each dispatch works on.
    pub entries: Buffer,
    /// Rows of the slice: position, slot, start, path.
    pub rows: Buffer,
    /// Slots of paths through trees.
    pub paths: Buffer,
    /// Cosines and sines of the rows, for each rotary embedding.
    pub angles: [Buffer; 2],
    /// Residual stream, [rows, hidden].
    pub x: Buffer,
    /// What a part adds to it, where a norm comes between.
    pub delta: Buffer,
    /// Normed residual stream.
    pub wide: Input,
    /// Query, key and value.
    pub qkv: Buffer,
    /// Results of attention.
    pub attended: Input,
    /// Gate and up, where they are two products.
    pub gate_up: Buffer,
    /// Input of the last product of a layer.
    pub inner: Input,
    /// Partial results of attention.
    pub partial: Buffer,
    /// Largest scores and sums of weights of the partial results.
    pub partial_sums: Buffer,
    /// Rows that want logits, by their places in a page.
    pub picked: Buffer,
    /// Their normed residual stream.
    pub head: Input,
}

impl Buffers {
    pub(super) fn new(device: &Device, sizes: &Sizes, apart: bool) -> Result<Self, GpuError> {
        let floats = |what: &str, count: usize| device.buffer(what, count as u64 * 4);
        let hidden = sizes.hidden_blocks * BLOCK;
        let gate_up = if apart { MAX_ROWS * 2 * sizes.inner_blocks * BLOCK } else { 4 };
        let angles = || floats("angles", MAX_ROWS * sizes.pairs * 2);
        Ok(Buffers {
            entries: device.uniforms("entries", ENTRIES)?,
            rows: floats("rows", MAX_ROWS * 4)?,
            paths: floats("paths", sizes.paths)?,
            angles: [angles()?, angles()?],
            x: floats("residual stream", MAX_ROWS * hidden)?,
            delta: floats("residual stream", MAX_ROWS * hidden)?,
            wide: Input::new(device, MAX_ROWS, sizes.hidden_blocks)?,
            qkv: floats("query, key and value", MAX_ROWS * sizes.qkv)?,
            attended: Input::new(device, MAX_ROWS, sizes.query_blocks)?,
            gate_up: floats("gate and up", gate_up)?,
            inner: Input::new(device, MAX_ROWS, sizes.inner_blocks)?,
            partial: floats("attention", sizes.partial_slots * sizes.partial_row)?,
            partial_sums: floats("attention", sizes.partial_slots * sizes.heads * 2)?,
            picked: floats("picked rows", PAGE_ROWS)?,
            head: Input::new(device, PAGE_ROWS, sizes.hidden_blocks)?,
        })
    }
}
