//! Tiny models with random weights, as GGUF files or Hugging Face folders: what tests run on when
//! no real model is at hand.
//!
//! They are whole: blueprint, weights, a byte-level tokenizer with a few merges, a chat template.
//! What they say means nothing.

mod folder;

use crate::{
    gguf::{GgufError, Writer},
    quant::{TensorType, quantize},
};

/// Blueprint of a tiny model.
#[derive(Debug, Clone)]
pub struct Tiny {
    /// `llama`, `qwen2`, `qwen3` or `gemma3`.
    pub architecture: &'static str,
    /// Type of all matrices.
    pub tensor_type: TensorType,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Values per head; `None` divides `hidden` among the heads.
    pub head_dim: Option<usize>,
    /// Positions that local layers of gemma3 see.
    pub window: usize,
    /// Tokens, at least [`Tiny::WORDS`].
    pub vocab_size: usize,
    /// Longest context.
    pub context_length: usize,
    /// Biases of query, key and value, and where the family can have one, of the output.
    pub biases: bool,
    /// Biases of gate, up and down of the feed-forward part.
    pub feed_forward_biases: bool,
    /// Output head and embedding are one matrix.
    pub tied: bool,
    /// Factors of the rotary frequencies, as Llama 3 has.
    pub rope_factors: bool,
    /// Size of the weights: 1 keeps the residual stream in proportion; more makes the distribution
    /// sharper.
    pub sharpness: f32,
    /// Seed of the weights.
    pub seed: u64,
}

impl Default for Tiny {
    fn default() -> Self {
        Tiny {
            architecture: "llama",
            tensor_type: TensorType::Q8_0,
            hidden: 64,
            feed_forward: 96,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: None,
            window: 16,
            vocab_size: Tiny::WORDS,
            context_length: 256,
            biases: false,
            feed_forward_biases: false,
            tied: false,
            rope_factors: false,
            sharpness: 3.0,
            seed: 1,
        }
    }
}

/// Control tokens, after the 256 bytes.
const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Merges, after the control tokens: each makes one token.
const MERGES: [(&str, &str); 8] = [
    ("t", "h"),
    ("th", "e"),
    ("i", "n"),
    ("a", "n"),
    ("Ġ", "a"),
    ("o", "u"),
    ("e", "r"),
    ("Ġ", "the"),
];

impl Tiny {
    /// Tokens that mean something: bytes, control tokens, merges.
    pub const WORDS: usize = 256 + CONTROL.len() + MERGES.len();

    /// The file's bytes.
    ///
    /// # Errors
    /// Sizes that do not fit together, by the writer.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GgufError> {
        self.writer()?.to_bytes()
    }

    /// The writer of the file, for tests that change it.
    ///
    /// # Errors
    /// See [`Writer::tensor`].
    pub fn writer(&self) -> Result<Writer<'_>, GgufError> {
        let mut writer = Writer::new();
        self.metadata(&mut writer);
        self.tensors(&mut writer)?;
        Ok(writer)
    }

    /// Values per head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden / self.heads)
    }

    fn is_gemma(&self) -> bool {
        self.architecture == "gemma3"
    }

    fn query_key_norm(&self) -> bool {
        matches!(self.architecture, "qwen3" | "gemma3")
    }

    fn tokens(&self) -> (Vec<String>, Vec<i32>) {
        let mut tokens: Vec<String> =
            (0..=255u8).map(|byte| byte_character(byte).to_string()).collect();
        tokens.extend(CONTROL.map(str::to_owned));
        tokens.extend(MERGES.map(|(a, b)| format!("{a}{b}")));
        let mut types = vec![1i32; tokens.len()];
        types[256..256 + CONTROL.len()].fill(3);
        for pad in tokens.len()..self.vocab_size {
            tokens.push(format!("[PAD{pad}]"));
            types.push(5);
        }
        (tokens, types)
    }

    fn metadata(&self, writer: &mut Writer<'_>) {
        let key = |name: &str| format!("{}.{name}", self.architecture);
        let int = |x: usize| u32::try_from(x).unwrap_or(u32::MAX);
        writer
            .set("general.architecture", self.architecture)
            .set("general.name", "tiny")
            .set(key("block_count"), int(self.layers))
            .set(key("context_length"), int(self.context_length))
            .set(key("embedding_length"), int(self.hidden))
            .set(key("feed_forward_length"), int(self.feed_forward))
            .set(key("attention.head_count"), int(self.heads))
            .set(key("attention.head_count_kv"), int(self.kv_heads))
            .set(key("attention.layer_norm_rms_epsilon"), 1e-5f32)
            .set(key("rope.freq_base"), 10_000f32);
        if self.head_dim.is_some() {
            writer
                .set(key("attention.key_length"), int(self.head_dim()))
                .set(key("attention.value_length"), int(self.head_dim()));
        }
        if self.is_gemma() {
            writer.set(key("attention.sliding_window"), int(self.window));
        }
        let (tokens, types) = self.tokens();
        writer
            .set("tokenizer.ggml.model", "gpt2")
            .set("tokenizer.ggml.pre", "qwen2")
            .set("tokenizer.ggml.tokens", tokens)
            .set("tokenizer.ggml.token_type", types)
            .set("tokenizer.ggml.merges", MERGES.map(|(a, b)| format!("{a} {b}")).to_vec())
            .set("tokenizer.ggml.bos_token_id", 256u32)
            .set("tokenizer.ggml.eos_token_id", 258u32)
            .set("tokenizer.ggml.add_bos_token", false)
            .set("tokenizer.chat_template", TEMPLATE);
    }

    fn tensors(&self, writer: &mut Writer<'_>) -> Result<(), GgufError> {
        for (name, shape, values) in self.values() {
            match *shape.as_slice() {
                [_, _] => {
                    let blocks = values.len() / self.tensor_type.block_len();
                    let mut bytes = vec![0; blocks * self.tensor_type.block_bytes()];
                    quantize(self.tensor_type, &values, &mut bytes)
                        .expect("rows of whole blocks of small numbers");
                    writer.tensor(&name, &shape, self.tensor_type, bytes)?;
                }
                _ => {
                    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                    writer.tensor(&name, &shape, TensorType::F32, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// All tensors: GGUF name, shape [in, out], values.
    fn values(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut random = Random(self.seed);
        let mut tensors = Vec::new();
        let head_dim = self.head_dim();
        let (hidden, queries, keys) =
            (self.hidden, self.heads * head_dim, self.kv_heads * head_dim);
        // Numbers in +-`size / sqrt(columns)`.
        let matrix = |random: &mut Random, name: &str, rows: usize, columns: usize, size: f32| {
            let bound = size / (columns as f32).sqrt();
            let values: Vec<f32> = (0..rows * columns).map(|_| random.next() * bound).collect();
            (name.to_owned(), vec![columns, rows], values)
        };
        // Scaled embeddings are small in the file.
        let embedding = if self.is_gemma() { 1.0 } else { (hidden as f32).sqrt() };
        tensors.push(matrix(&mut random, "token_embd.weight", self.vocab_size, hidden, embedding));
        if !self.tied {
            tensors.push(matrix(
                &mut random,
                "output.weight",
                self.vocab_size,
                hidden,
                self.sharpness,
            ));
        }
        let vector = |random: &mut Random, name: &str, len: usize, mean: f32| {
            let values: Vec<f32> = (0..len).map(|_| mean + 0.2 * random.next()).collect();
            (name.to_owned(), vec![len], values)
        };
        tensors.push(vector(&mut random, "output_norm.weight", hidden, 1.0));
        if self.rope_factors {
            let factors = (0..head_dim / 2).map(|i| if i < head_dim / 4 { 1.0 } else { 8.0 });
            tensors.push(("rope_freqs.weight".to_owned(), vec![head_dim / 2], factors.collect()));
        }
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            tensors.push(vector(&mut random, &name("attn_norm.weight"), hidden, 1.0));
            tensors.push(vector(&mut random, &name("ffn_norm.weight"), hidden, 1.0));
            if self.query_key_norm() {
                tensors.push(vector(&mut random, &name("attn_q_norm.weight"), head_dim, 1.0));
                tensors.push(vector(&mut random, &name("attn_k_norm.weight"), head_dim, 1.0));
            }
            if self.is_gemma() {
                tensors.push(vector(&mut random, &name("post_attention_norm.weight"), hidden, 1.0));
                tensors.push(vector(&mut random, &name("post_ffw_norm.weight"), hidden, 1.0));
            }
            let shapes = [
                ("attn_q", queries, hidden),
                ("attn_k", keys, hidden),
                ("attn_v", keys, hidden),
                ("attn_output", hidden, queries),
                ("ffn_gate", self.feed_forward, hidden),
                ("ffn_up", self.feed_forward, hidden),
                ("ffn_down", hidden, self.feed_forward),
            ];
            for (part, rows, columns) in shapes {
                tensors.push(matrix(
                    &mut random,
                    &name(&format!("{part}.weight")),
                    rows,
                    columns,
                    self.sharpness,
                ));
            }
            if self.biases {
                let parts = [
                    ("attn_q", queries),
                    ("attn_k", keys),
                    ("attn_v", keys),
                    ("attn_output", hidden),
                ];
                for (part, rows) in
                    parts.into_iter().take(if self.architecture == "qwen2" { 3 } else { 4 })
                {
                    tensors.push(vector(&mut random, &name(&format!("{part}.bias")), rows, 0.0));
                }
            }
            if self.feed_forward_biases {
                let width = self.feed_forward;
                for (part, rows) in [("gate", width), ("up", width), ("down", hidden)] {
                    let name = name(&format!("ffn_{part}.bias"));
                    tensors.push(vector(&mut random, &name, rows, 0.0));
                }
            }
        }
        tensors
    }
}

/// The character that byte-level vocabularies write a byte as: printable ones as they are, the
/// others from U+0100 on, in order.
fn byte_character(byte: u8) -> char {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !printable(b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' \
    + message['content'] + '<|im_end|>\\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// SplitMix64, Steele, Lea and Flood 2014: numbers in [-1, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
