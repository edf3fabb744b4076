//! One layer, bound to the buffers of a pass.

use std::sync::Arc;

use speckv_formats::{
    config::{Activation, Config, QueryKeyNorm},
    quant::WeightType,
};

use super::{
    buffers::{Buffers, Sizes},
    cache::LayerCache,
    kernels::Kernels,
    weights::{GateUp, Layer},
};
use crate::{
    device::{Bindings, Buffer, Device, Kernel, Recorder},
    error::GpuError,
    format::BLOCK,
    matrix::{Input, Matrix, Multiply, Output},
    shader::{Epilogue, Shader},
};

/// A layer as a pass records it.
#[derive(Debug)]
pub(super) struct LayerPass {
    attention_norm: (Arc<Kernel>, Bindings),
    qkv: Vec<Multiply>,
    /// Norms of whole queries and keys, and how many parts of a row have a workgroup.
    whole_norm: Option<(Arc<Kernel>, Bindings, usize)>,
    output: Multiply,
    attention_post_norm: Option<Bindings>,
    feed_forward_norm: (Arc<Kernel>, Bindings),
    gate_up: Vec<Multiply>,
    glu: Option<(Arc<Kernel>, Bindings)>,
    down: Multiply,
    feed_forward_post_norm: Option<Bindings>,
    /// Prepares queries, keys and values.
    pub rotate: Arc<Kernel>,
    pub qkv_bias: Option<Buffer>,
    pub head_norms: Option<Buffer>,
    /// Whether it sees only the latest positions.
    pub slides: bool,
    /// Whether queries and keys turn by their positions.
    pub turns: bool,
}

/// What binding a layer needs.
pub(super) struct Binder<'a> {
    pub device: &'a Device,
    pub config: &'a Config,
    pub sizes: &'a Sizes,
    pub buffers: &'a Buffers,
    pub kernels: &'a Kernels,
}

impl Binder<'_> {
    /// A norm of the residual stream, or, without one, the stream itself, into `to`.
    fn norm(
        &self,
        weight: Option<&Buffer>,
        to: &Input,
    ) -> Result<(Arc<Kernel>, Bindings), GpuError> {
        let Buffers { entries, x, .. } = self.buffers;
        let kernel = match weight {
            Some(_) => Arc::clone(&self.kernels.norm),
            None => self.device.kernel(&Shader::quantized())?,
        };
        let mut buffers = vec![entries, &self.kernels.norm_shape, x];
        buffers.extend(weight);
        buffers.extend([&to.exact, &to.q, &to.factors]);
        let bindings = kernel.bind_whole(self.device, &buffers)?;
        Ok((kernel, bindings))
    }

    /// Norms of whole queries and keys, biases first.
    fn whole_norm(
        &self,
        weights: &Buffer,
        bias: Option<&Buffer>,
    ) -> Result<(Arc<Kernel>, Bindings, usize), GpuError> {
        let Config { heads, kv_heads, head_dim, epsilon, .. } = self.config;
        let kernel = self.device.kernel(&Shader::whole_norm(bias.is_some()))?;
        let shape = [
            (heads * head_dim) as u32,
            (kv_heads * head_dim) as u32,
            self.sizes.qkv as u32,
            epsilon.to_bits(),
        ];
        let shape = self.device.uniform("shape", &shape)?;
        let mut buffers = vec![&self.buffers.entries, &shape, &self.buffers.qkv, weights];
        buffers.extend(bias);
        let bindings = kernel.bind_whole(self.device, &buffers)?;
        Ok((kernel, bindings, if bias.is_some() { 3 } else { 2 }))
    }

    /// The norm of picked rows before the head.
    pub(super) fn picked_norm(&self, weight: &Buffer) -> Result<Bindings, GpuError> {
        let Buffers { entries, x, picked, head, .. } = self.buffers;
        let shape = &self.kernels.norm_shape;
        let buffers = [entries, shape, x, weight, &head.exact, &head.q, &head.factors, picked];
        self.kernels.norm_picked.bind_whole(self.device, &buffers)
    }

    fn add_norm(&self, weight: Option<&Buffer>) -> Result<Option<Bindings>, GpuError> {
        let Buffers { entries, x, delta, .. } = self.buffers;
        let shape = &self.kernels.norm_shape;
        weight
            .map(|weight| {
                let buffers = [entries, shape, x, weight, delta];
                self.kernels.add_norm.bind_whole(self.device, &buffers)
            })
            .transpose()
    }

    fn multiply(
        &self,
        matrix: &Matrix,
        input: &Input,
        output: Output<'_>,
    ) -> Result<Multiply, GpuError> {
        Multiply::new(self.device, &self.buffers.entries, matrix, input, output)
    }

    /// Adds a product to the residual stream, or writes it where a norm comes between.
    fn to_stream(
        &self,
        matrix: &Matrix,
        input: &Input,
        bias: Option<&Buffer>,
        post_norm: bool,
    ) -> Result<Multiply, GpuError> {
        let (to, epilogue) = if post_norm {
            (&self.buffers.delta, Epilogue::Store)
        } else {
            (&self.buffers.x, Epilogue::Add)
        };
        let stride = self.sizes.hidden_blocks * BLOCK;
        self.multiply(
            matrix,
            input,
            Output {
                to,
                factors: None,
                first: 0,
                stride,
                epilogue,
                cap: 0.0,
                factor: if post_norm { 1.0 } else { self.config.residual_scale },
                bias,
            },
        )
    }

    /// Binds a layer.
    pub(super) fn layer(&self, layer: &Layer, number: usize) -> Result<LayerPass, GpuError> {
        let (buffers, kernels) = (self.buffers, self.kernels);
        let plain = |to, first, stride| Output {
            to,
            factors: None,
            first,
            stride,
            epilogue: Epilogue::Store,
            cap: 0.0,
            factor: 1.0,
            bias: None,
        };
        let qkv = layer.qkv.iter().map(|(matrix, first)| {
            self.multiply(matrix, &buffers.wide, plain(&buffers.qkv, *first, self.sizes.qkv))
        });
        let silu = self.config.activation == Activation::Silu;
        let width = self.sizes.inner_blocks * BLOCK;
        let (gate_up, glu) = match &layer.gate_up {
            GateUp::Joined(matrix) => {
                let quantized = is_integer(layer.down.weight_type());
                let Input { q, factors, exact } = &buffers.inner;
                let output = if quantized {
                    let epilogue = Epilogue::GluQuantized(silu);
                    Output { factors: Some(factors), epilogue, ..plain(q, 0, width) }
                } else {
                    Output { epilogue: Epilogue::GluFloat(silu), ..plain(exact, 0, width) }
                };
                (vec![self.multiply(matrix, &buffers.wide, output)?], None)
            }
            GateUp::Apart([(gate, gate_bias), (up, up_bias)]) => {
                let out = &buffers.gate_up;
                let output = |first, bias| Output { bias, ..plain(out, first, 2 * width) };
                let gate = self.multiply(gate, &buffers.wide, output(0, gate_bias.as_ref()))?;
                let up = self.multiply(up, &buffers.wide, output(width, up_bias.as_ref()))?;
                let kernel = self.device.kernel(&Shader::glu(silu))?;
                let shape = self.device.uniform("shape", &[self.sizes.inner_blocks as u32])?;
                let Input { q, factors, exact } = &buffers.inner;
                let bindings = kernel
                    .bind_whole(self.device, &[&buffers.entries, &shape, out, exact, q, factors])?;
                (vec![gate, up], Some((kernel, bindings)))
            }
        };
        let whole = layer
            .head_norms
            .as_ref()
            .filter(|_| self.config.query_key_norm == Some(QueryKeyNorm::Whole));
        let bias = layer.qkv_bias.as_ref();
        let whole_norm = whole.map(|weights| self.whole_norm(weights, bias)).transpose()?;
        // What has gone through a norm as a whole has its biases.
        let own = |buffer: &Option<Buffer>| buffer.clone().filter(|_| whole.is_none());
        let (qkv_bias, head_norms) = (own(&layer.qkv_bias), own(&layer.head_norms));
        let rotate = kernels.attention.rotate(
            self.config.rope.interleaved,
            head_norms.is_some(),
            qkv_bias.is_some(),
            self.config.query_growth.is_some(),
        );
        let post_norms =
            (layer.attention_post_norm.is_some(), layer.feed_forward_post_norm.is_some());
        Ok(LayerPass {
            attention_norm: self.norm(layer.attention_norm.as_ref(), &buffers.wide)?,
            whole_norm,
            qkv: qkv.collect::<Result<_, _>>()?,
            output: self.to_stream(
                &layer.output,
                &buffers.attended,
                layer.output_bias.as_ref(),
                post_norms.0,
            )?,
            attention_post_norm: self.add_norm(layer.attention_post_norm.as_ref())?,
            feed_forward_norm: self.norm(layer.feed_forward_norm.as_ref(), &buffers.wide)?,
            gate_up,
            glu,
            down: self.to_stream(
                &layer.down,
                &buffers.inner,
                layer.down_bias.as_ref(),
                post_norms.1,
            )?,
            feed_forward_post_norm: self.add_norm(layer.feed_forward_post_norm.as_ref())?,
            rotate: self.device.kernel(&rotate)?,
            qkv_bias,
            head_norms,
            slides: self.config.slides(number),
            turns: self.config.rotates(number),
        })
    }
}

fn is_integer(weight_type: WeightType) -> bool {
    crate::format::Format::of(weight_type).is_integer()
}

/// Positions that go through the layers together.
pub(super) struct Slice<'a> {
    /// Entry at binding 0 that names the rows.
    pub entry: u32,
    /// Number of rows.
    pub rows: usize,
    /// The rows of each sequence.
    pub feeds: Vec<FeedPart<'a>>,
}

/// Rows of a slice that belong to one sequence.
pub(super) struct FeedPart<'a> {
    /// Entry at binding 0 that names the rows.
    pub entry: u32,
    /// Number of rows.
    pub rows: usize,
    /// Chunks of positions that its longest row reads.
    pub chunks: usize,
    /// The sequence's keys and values.
    pub caches: &'a [LayerCache],
}

impl LayerPass {
    /// Records the layer for the rows of a slice.
    pub(super) fn record(
        &self,
        number: usize,
        recorder: &mut Recorder<'_>,
        kernels: &Kernels,
        sizes: &Sizes,
        slice: &Slice<'_>,
    ) -> Result<(), GpuError> {
        let &Slice { entry, rows: n, ref feeds } = slice;
        let (norm, bindings) = &self.attention_norm;
        recorder.dispatch(norm, bindings, entry, [n, 1, 1]);
        for multiply in &self.qkv {
            multiply.record(recorder, entry, n)?;
        }
        if let Some((norm, bindings, parts)) = &self.whole_norm {
            recorder.dispatch(norm, bindings, entry, [n, *parts, 1]);
        }
        for feed in feeds {
            let cache = &feed.caches[number];
            let heads = kernels.heads + 2 * kernels.kv_heads;
            recorder.dispatch(&self.rotate, &cache.rotate, feed.entry, [feed.rows, heads, 1]);
        }
        for feed in feeds {
            let cache = &feed.caches[number];
            let lines = kernels.kv_heads * kernels.attention.parts();
            let grid = [feed.rows, lines, feed.chunks];
            recorder.dispatch(&kernels.attend, &cache.attend, feed.entry, grid);
        }
        let merge = &kernels.merge_bindings[usize::from(self.slides)];
        recorder.dispatch(&kernels.merge, merge, entry, [n, sizes.query_blocks, 1]);
        self.output.record(recorder, entry, n)?;
        if let Some(norm) = &self.attention_post_norm {
            recorder.dispatch(&kernels.add_norm, norm, entry, [n, 1, 1]);
        }
        let (norm, bindings) = &self.feed_forward_norm;
        recorder.dispatch(norm, bindings, entry, [n, 1, 1]);
        for multiply in &self.gate_up {
            multiply.record(recorder, entry, n)?;
        }
        if let Some((kernel, bindings)) = &self.glu {
            recorder.dispatch(kernel, bindings, entry, [n, sizes.inner_blocks, 1]);
        }
        self.down.record(recorder, entry, n)?;
        if let Some(norm) = &self.feed_forward_post_norm {
            recorder.dispatch(&kernels.add_norm, norm, entry, [n, 1, 1]);
        }
        Ok(())
    }
}
