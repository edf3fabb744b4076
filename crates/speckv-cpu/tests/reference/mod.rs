//! A transformer written down straight from its definition: f64, no cache, no kernels, no packing.
//! Shares nothing with the crate's own but the file reader and the decoders, which have tests of
//! their own.

use std::collections::HashMap;

use speckv_formats::gguf::Gguf;

/// All tensors as floats and the few numbers that the definition needs.
pub(crate) struct Reference {
    tensors: HashMap<String, Vec<f64>>,
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    epsilon: f64,
    base: f64,
    neighbours: bool,
    gemma: bool,
    window: usize,
}

impl Reference {
    pub(crate) fn new(file: &Gguf) -> Self {
        let tensors = file.tensors().iter().map(|info| {
            let values = file.tensor(&info.name).unwrap().to_f32().unwrap();
            (info.name.clone(), values.into_iter().map(f64::from).collect())
        });
        let metadata = file.metadata();
        let architecture = metadata.string("general.architecture").unwrap();
        let int = |key: &str| metadata.u32(&format!("{architecture}.{key}")).unwrap() as usize;
        let float = |key: &str| f64::from(metadata.f32(&format!("{architecture}.{key}")).unwrap());
        let opt = |key: &str, default: usize| {
            metadata
                .opt_u32(&format!("{architecture}.{key}"))
                .unwrap()
                .map_or(default, |value| value as usize)
        };
        Reference {
            head_dim: opt(
                "attention.key_length",
                int("embedding_length") / int("attention.head_count"),
            ),
            window: opt("attention.sliding_window", usize::MAX),
            gemma: architecture == "gemma3",
            tensors: tensors.collect(),
            layers: int("block_count"),
            hidden: int("embedding_length"),
            heads: int("attention.head_count"),
            kv_heads: int("attention.head_count_kv"),
            epsilon: float("attention.layer_norm_rms_epsilon"),
            base: float("rope.freq_base"),
            neighbours: architecture == "llama",
        }
    }

    fn norm(&self, x: &[f64], weight: &str) -> Vec<f64> {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean + self.epsilon).sqrt();
        x.iter().zip(&self.tensors[weight]).map(|(x, w)| x * scale * w).collect()
    }

    fn linear(&self, x: &[f64], name: &str) -> Vec<f64> {
        let rows = self.tensors[&format!("{name}.weight")].chunks_exact(x.len());
        let mut y: Vec<f64> = rows.map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
        if let Some(bias) = self.tensors.get(&format!("{name}.bias")) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
        y
    }

    /// A layer's norm of every head, where it has one.
    fn norm_heads(&self, x: Vec<f64>, weight: &str) -> Vec<f64> {
        if !self.tensors.contains_key(weight) {
            return x;
        }
        x.chunks_exact(self.head_dim).flat_map(|head| self.norm(head, weight)).collect()
    }

    /// The norm of what is added to the residual stream, where there is one.
    fn norm_delta(&self, delta: Vec<f64>, weight: &str) -> Vec<f64> {
        if self.tensors.contains_key(weight) { self.norm(&delta, weight) } else { delta }
    }

    fn turn(&self, head: &mut [f64], position: usize) {
        let half = head.len() / 2;
        for i in 0..half {
            let factor = self.tensors.get("rope_freqs.weight").map_or(1.0, |factors| factors[i]);
            let angle =
                position as f64 * self.base.powf(-2.0 * i as f64 / head.len() as f64) / factor;
            let (a, b) = if self.neighbours { (2 * i, 2 * i + 1) } else { (i, i + half) };
            (head[a], head[b]) = (
                head[a] * angle.cos() - head[b] * angle.sin(),
                head[a] * angle.sin() + head[b] * angle.cos(),
            );
        }
    }

    /// Logits of every position, [tokens, vocab].
    pub(crate) fn logits(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let head_dim = self.head_dim;
        let size = if self.gemma { (self.hidden as f64).sqrt() } else { 1.0 };
        let embedding = &self.tensors["token_embd.weight"];
        let mut x: Vec<Vec<f64>> = tokens
            .iter()
            .map(|&t| {
                embedding[t as usize * self.hidden..][..self.hidden]
                    .iter()
                    .map(|x| x * size)
                    .collect()
            })
            .collect();
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let global = !self.gemma || layer % 6 == 5;
            let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for (position, x) in x.iter().enumerate() {
                let normed = self.norm(x, &name("attn_norm.weight"));
                let mut query = self
                    .norm_heads(self.linear(&normed, &name("attn_q")), &name("attn_q_norm.weight"));
                let mut key = self
                    .norm_heads(self.linear(&normed, &name("attn_k")), &name("attn_k_norm.weight"));
                query.chunks_exact_mut(head_dim).for_each(|head| self.turn(head, position));
                key.chunks_exact_mut(head_dim).for_each(|head| self.turn(head, position));
                queries.push(query);
                keys.push(key);
                values.push(self.linear(&normed, &name("attn_v")));
            }
            for position in 0..x.len() {
                let mut attended = vec![0.0; self.heads * head_dim];
                let first = if global { 0 } else { (position + 1).saturating_sub(self.window) };
                for head in 0..self.heads {
                    let kv = head / (self.heads / self.kv_heads) * head_dim;
                    let query = &queries[position][head * head_dim..][..head_dim];
                    let dot = |key: &[f64]| {
                        query.iter().zip(&key[kv..kv + head_dim]).map(|(q, k)| q * k).sum::<f64>()
                    };
                    let weights: Vec<f64> = keys[first..=position]
                        .iter()
                        .map(|key| (dot(key) / (head_dim as f64).sqrt()).exp())
                        .collect();
                    let sum: f64 = weights.iter().sum();
                    for (weight, value) in weights.iter().zip(&values[first..]) {
                        for i in 0..head_dim {
                            attended[head * head_dim + i] += weight / sum * value[kv + i];
                        }
                    }
                }
                let delta = self.linear(&attended, &name("attn_output"));
                let delta = self.norm_delta(delta, &name("post_attention_norm.weight"));
                x[position].iter_mut().zip(delta).for_each(|(x, d)| *x += d);
                let normed = self.norm(&x[position], &name("ffn_norm.weight"));
                let (gate, up) = (
                    self.linear(&normed, &name("ffn_gate")),
                    self.linear(&normed, &name("ffn_up")),
                );
                let root = (2.0 / std::f64::consts::PI).sqrt();
                let activate = |x: f64| match self.gemma {
                    true => x / 2.0 * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh()),
                    false => x / (1.0 + (-x).exp()),
                };
                let inner: Vec<f64> = gate.iter().zip(up).map(|(&g, u)| activate(g) * u).collect();
                let delta = self.norm_delta(
                    self.linear(&inner, &name("ffn_down")),
                    &name("post_ffw_norm.weight"),
                );
                x[position].iter_mut().zip(delta).for_each(|(x, d)| *x += d);
            }
        }
        let output =
            if self.tensors.contains_key("output.weight") { "output" } else { "token_embd" };
        x.iter().map(|x| self.linear(&self.norm(x, "output_norm.weight"), output)).collect()
    }
}
