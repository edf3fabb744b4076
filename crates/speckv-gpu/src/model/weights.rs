//! A model's weights on the device.

use std::ops::Range;

use speckv_formats::{
    checkpoint::{Checkpoint, Stored},
    compression::Compression,
    config::Config,
    quant::{self, QuantError, Rows, WeightType},
    weights::{self, FactorTensors, Layout, MatrixSlot, Projection, VectorSlot},
};

use super::load::{LoadError, Progress};
use crate::{
    device::{Buffer, Device},
    format::GROUP,
    matrix::{Matrix, matrix_bytes},
};

/// Where the tensors of a layer are.
type Slots = weights::Layer<MatrixSlot, VectorSlot>;

/// All weights of a model.
#[derive(Debug)]
pub(super) struct Weights {
    pub layers: Vec<Layer>,
    pub output_norm: Buffer, // [hidden]
    pub head: Matrix,        // [vocab, hidden]
    /// Factors that divide each pair's angle, where the file has them as tensors.
    pub rope_factors: FactorTensors<Vec<f32>>,
}

/// One layer. Vectors are filled up to whole blocks of 32 with zeros.
#[derive(Debug)]
pub(super) struct Layer {
    pub attention_norm: Option<Buffer>,
    /// Query, key and value, neighbours of one type as one matrix, each with its first column.
    pub qkv: Vec<(Matrix, usize)>,
    /// Biases of query, key and value, [heads + 2 kv_heads, head_dim].
    pub qkv_bias: Option<Buffer>,
    /// Norms of query and key, [2, head_dim], or of whole ones, [heads + kv_heads, head_dim].
    pub head_norms: Option<Buffer>,
    pub output: Matrix,
    pub output_bias: Option<Buffer>,
    pub attention_post_norm: Option<Buffer>,
    pub feed_forward_norm: Option<Buffer>,
    pub gate_up: GateUp,
    pub down: Matrix,
    pub down_bias: Option<Buffer>,
    pub feed_forward_post_norm: Option<Buffer>,
}

/// The two matrices whose results meet in the activation function.
#[derive(Debug)]
pub(super) enum GateUp {
    /// Of one type: groups of 32 rows of each in turn.
    Joined(Matrix),
    /// Of two types, or with biases.
    Apart([(Matrix, Option<Buffer>); 2]),
}

/// Appends row `row` of a tensor in the type `to`.
fn append(
    tensor: &Stored<'_>,
    row: usize,
    to: WeightType,
    out: &mut Vec<u8>,
) -> Result<(), QuantError> {
    match tensor.bytes(row) {
        Some(bytes) if tensor.weight_type() == to => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        _ => {
            let mut values = vec![0.0; tensor.shape()[0]];
            tensor.write(row, to, &quant::encode, &mut values, out)
        }
    }
}

/// Reads tensors and counts bytes.
struct Loader<'a> {
    device: &'a Device,
    file: &'a Checkpoint,
    compression: Compression,
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

impl<'a> Loader<'a> {
    fn stored(&self, name: &str) -> Stored<'a> {
        self.file.stored(name).expect("the layout has found the tensor in this file")
    }

    /// Counts the share of a tensor that a matrix or vector is.
    fn finish(&mut self, name: &str, share: f64) {
        let tensor = self.stored(name);
        let bytes = (tensor.byte_len() as f64 * share) as u64;
        self.done = self.total.min(self.done + bytes);
        self.file.release(&tensor);
        (self.progress)(Progress { done: self.done, total: self.total });
    }

    fn weight_type(&self, slot: &MatrixSlot) -> WeightType {
        self.compression.of(self.stored(&slot.name).weight_type(), slot.role)
    }

    /// The floats of a vector.
    fn values(&mut self, slot: &VectorSlot) -> Result<Vec<f32>, LoadError> {
        let values = slot
            .values(&self.stored(&slot.name))
            .map_err(|source| LoadError::Decode { name: self.file.spelled(&slot.name), source })?;
        self.finish(&slot.name, 1.0);
        Ok(values)
    }

    fn buffer(&self, name: &str, mut values: Vec<f32>) -> Result<Buffer, LoadError> {
        values.resize(values.len().next_multiple_of(GROUP), 0.0);
        Ok(self.device.filled(name, bytemuck::cast_slice(&values))?)
    }

    fn vector(&mut self, slot: &VectorSlot) -> Result<Buffer, LoadError> {
        let values = self.values(slot)?;
        self.buffer(&slot.name, values)
    }

    fn optional(&mut self, slot: Option<&VectorSlot>) -> Result<Option<Buffer>, LoadError> {
        slot.map(|slot| self.vector(slot)).transpose()
    }

    /// One matrix of the rows that `place` names: a slot and a row of its tensor, or nothing for
    /// zeros.
    fn joined(
        &mut self,
        slots: &[&MatrixSlot],
        rows: usize,
        cuts: &[usize],
        place: &(dyn Fn(usize) -> Option<(usize, usize)> + Sync),
    ) -> Result<Matrix, LoadError> {
        let to = self.weight_type(slots[0]);
        let tensors: Vec<Stored<'_>> = slots.iter().map(|slot| self.stored(&slot.name)).collect();
        let source = |row: usize, out: &mut Vec<u8>| match place(row) {
            Some((slot, row)) => append(&tensors[slot], slots[slot].first + row, to, out),
            None => Ok(()),
        };
        let shape = [rows, slots[0].columns];
        let matrix =
            Matrix::build_with_cuts(self.device, to, shape, cuts, &source).map_err(|source| {
                LoadError::Weight { name: self.file.spelled(&slots[0].name), source }
            })?;
        for slot in slots {
            let rows = self.stored(&slot.name).shape()[1].max(1);
            self.finish(&slot.name, slot.rows as f64 / rows as f64);
        }
        Ok(matrix)
    }

    fn matrix(&mut self, slot: &MatrixSlot) -> Result<Matrix, LoadError> {
        self.joined(&[slot], slot.rows, &[], &|row| Some((0, row)))
    }

    /// Neighbours of one type become one matrix.
    fn chain(&mut self, slots: &[&MatrixSlot]) -> Result<Vec<(Matrix, usize)>, LoadError> {
        let types: Vec<WeightType> = slots.iter().map(|slot| self.weight_type(slot)).collect();
        let (mut matrices, mut first, mut start) = (Vec::new(), 0, 0);
        while start < slots.len() {
            let same = types[start..].iter().take_while(|&&one| one == types[start]).count();
            let run = &slots[start..start + same];
            let ends: Vec<usize> = run
                .iter()
                .scan(0, |end, slot| {
                    *end += slot.rows;
                    Some(*end)
                })
                .collect();
            let rows = ends.last().copied().unwrap_or(0);
            let matrix = self.joined(run, rows, &[], &|row| {
                let slot = ends.iter().position(|&end| row < end)?;
                Some((slot, row - if slot == 0 { 0 } else { ends[slot - 1] }))
            })?;
            matrices.push((matrix, first));
            first += rows;
            start += same;
        }
        Ok(matrices)
    }

    fn biased(
        &mut self,
        slots: &Projection<MatrixSlot, VectorSlot>,
    ) -> Result<(Matrix, Option<Buffer>), LoadError> {
        Ok((self.matrix(&slots.matrix)?, self.optional(slots.bias.as_ref())?))
    }

    fn gate_up(
        &mut self,
        gate: &Projection<MatrixSlot, VectorSlot>,
        up: &Projection<MatrixSlot, VectorSlot>,
    ) -> Result<GateUp, LoadError> {
        let biased = gate.bias.is_some() || up.bias.is_some();
        if biased || self.weight_type(&gate.matrix) != self.weight_type(&up.matrix) {
            return Ok(GateUp::Apart([self.biased(gate)?, self.biased(up)?]));
        }
        let (gate, up) = (&gate.matrix, &up.matrix);
        let width = gate.rows;
        let matrix = self.joined(&[gate, up], joined_rows(width), &[], &|row| {
            let (group, lane) = (row / GROUP, row % GROUP);
            let row = group / 2 * GROUP + lane;
            (row < width).then_some((group % 2, row))
        })?;
        Ok(GateUp::Joined(matrix))
    }

    fn layer(&mut self, slots: &Slots) -> Result<Layer, LoadError> {
        let projections = [&slots.query, &slots.key, &slots.value];
        let qkv = self.chain(&projections.map(|projection| &projection.matrix))?;
        let mut bias = Vec::new();
        for projection in projections {
            match &projection.bias {
                Some(slot) => bias.extend(self.values(slot)?),
                None => bias.resize(bias.len() + projection.matrix.rows, 0.0),
            }
        }
        let has_bias = projections.iter().any(|projection| projection.bias.is_some());
        let head_norms = match (&slots.query_norm, &slots.key_norm) {
            (Some(query), Some(key)) => {
                let values = [self.values(query)?, self.values(key)?].concat();
                Some(self.buffer("norms of heads", values)?)
            }
            _ => None,
        };
        Ok(Layer {
            attention_norm: self.optional(slots.attention_norm.as_ref())?,
            qkv,
            qkv_bias: has_bias.then(|| self.buffer("biases", bias)).transpose()?,
            head_norms,
            output: self.matrix(&slots.output.matrix)?,
            output_bias: self.optional(slots.output.bias.as_ref())?,
            attention_post_norm: self.optional(slots.attention_post_norm.as_ref())?,
            feed_forward_norm: self.optional(slots.feed_forward_norm.as_ref())?,
            gate_up: self.gate_up(&slots.gate, &slots.up)?,
            down: self.matrix(&slots.down.matrix)?,
            down_bias: self.optional(slots.down.bias.as_ref())?,
            feed_forward_post_norm: self.optional(slots.feed_forward_post_norm.as_ref())?,
        })
    }
}

/// Rows of gate and up as one matrix: whole groups of each.
fn joined_rows(width: usize) -> usize {
    2 * width.next_multiple_of(GROUP)
}

impl Weights {
    /// Packs and uploads everything; the head has cuts around `gap`.
    pub fn load(
        device: &Device,
        file: &Checkpoint,
        layout: &Layout,
        compression: Compression,
        gap: Option<&Range<usize>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, LoadError> {
        let cuts = gap.map(|gap| [gap.start, gap.end]);
        let cuts = cuts.as_ref().map_or(&[][..], |cuts| cuts);
        let total = layout.bytes_read();
        let mut loader = Loader { device, file, compression, progress, done: 0, total };
        let FactorTensors { usual, long } = &layout.rope_factors;
        Ok(Weights {
            head: loader.joined(&[&layout.head], layout.head.rows, cuts, &|row| Some((0, row)))?,
            layers: layout
                .layers
                .iter()
                .map(|slots| loader.layer(slots))
                .collect::<Result<_, _>>()?,
            output_norm: loader.vector(&layout.output_norm)?,
            rope_factors: FactorTensors {
                usual: usual.as_ref().map(|slot| loader.values(slot)).transpose()?,
                long: long.as_ref().map(|slot| loader.values(slot)).transpose()?,
            },
        })
    }

    /// The layers' matrices and the head.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let layers = self.layers.iter().flat_map(|layer| {
            let gate_up = match &layer.gate_up {
                GateUp::Joined(matrix) => vec![matrix],
                GateUp::Apart([(gate, _), (up, _)]) => vec![gate, up],
            };
            let qkv = layer.qkv.iter().map(|(matrix, _)| matrix);
            qkv.chain([&layer.output]).chain(gate_up).chain([&layer.down])
        });
        layers.chain([&self.head])
    }
}

/// Bytes of device memory that a file's matrices take.
pub(super) fn weight_bytes(
    file: &Checkpoint,
    layout: &Layout,
    config: &Config,
    compression: Compression,
) -> u64 {
    let bytes = |slot: &MatrixSlot| {
        let tensor = file.stored(&slot.name).expect("the layout has found the tensor");
        matrix_bytes(compression.of(tensor.weight_type(), slot.role), slot.rows, slot.columns)
    };
    let vectors = (config.layers * 8 * config.hidden * 4) as u64;
    layout.matrices().map(bytes).sum::<u64>() + vectors
}
