//! A model's tensors in the order and with the values that GGUF files have.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{
    checkpoint::{Adapter, Checkpoint, Stored},
    config::{Config, Pairs},
    quant::{QuantError, Rows, TensorType, WeightType, encode},
};

/// Factors of the rotary frequencies, which folders have as a formula or a list.
const FACTORS: &str = "rope_freqs.weight";
/// The same of models that have others for long contexts, and those.
const LONG_FACTORS: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];

/// A model on its way into a GGUF file.
pub(crate) struct Export<'a> {
    source: &'a Checkpoint,
    /// Of a folder; a GGUF file has everything as it must be.
    config: Option<Config>,
    /// What is merged into the weights.
    adapter: Option<&'a Adapter>,
}

/// A tensor of the file to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    pub name: String,
    /// Innermost dimension first.
    pub shape: Vec<usize>,
    /// The type that it has, or that a folder's vector gets.
    pub from: WeightType,
    /// Bytes in the source.
    pub byte_len: u64,
}

impl<'a> Export<'a> {
    pub(crate) fn new(source: &'a Checkpoint, adapter: Option<&'a Adapter>) -> Self {
        let config = match source {
            Checkpoint::Gguf(_) => None,
            Checkpoint::Folder(folder) => Some(folder.config().clone()),
        };
        Export { source, config, adapter }
    }

    /// All tensors.
    pub(crate) fn planned(&self) -> Vec<Planned> {
        let from_folder = self.config.is_some();
        let planned = |tensor: Stored<'_>| {
            let from = match tensor.shape().len() {
                1 if from_folder => TensorType::F32.into(),
                _ => tensor.weight_type(),
            };
            let (name, shape) = (tensor.name().to_owned(), tensor.shape().to_vec());
            Planned { name, shape, from, byte_len: tensor.byte_len() as u64 }
        };
        let mut all: Vec<Planned> = self.source.contents().map(planned).collect();
        for (name, factors) in self.factors() {
            let (name, shape) = (name.to_owned(), vec![factors.len()]);
            all.push(Planned { name, shape, from: TensorType::F32.into(), byte_len: 0 });
        }
        all
    }

    /// Factors of the rotary frequencies by the names of their tensors.
    fn factors(&self) -> Vec<(&'static str, &[f32])> {
        let Some(rope) = self.config.as_ref().map(|config| &config.rope) else { return Vec::new() };
        let all = match &rope.long {
            Some(long) => {
                vec![(LONG_FACTORS[0], &rope.factors[..]), (LONG_FACTORS[1], &long.factors)]
            }
            None => vec![(FACTORS, &rope.factors[..])],
        };
        all.into_iter().filter(|(_, factors)| !factors.is_empty()).collect()
    }

    /// The bytes of a tensor in the type `to`, rows shared among threads; nothing for a name that
    /// is not [`planned`](Self::planned).
    pub(crate) fn bytes(
        &self,
        name: &str,
        to: TensorType,
        threads: usize,
    ) -> Result<Cow<'a, [u8]>, QuantError> {
        if let Some((_, factors)) = self.factors().into_iter().find(|(known, _)| *known == name) {
            return Ok(Cow::Owned(
                factors.iter().flat_map(|factor| factor.to_le_bytes()).collect(),
            ));
        }
        let Some(tensor) = self.source.stored(name) else { return Ok(Cow::Borrowed(&[])) };
        let turned = self.turned_heads(name);
        let adapter = self.adapter.filter(|adapter| adapter.changes(name));
        let unchanged = tensor.weight_type() == to.into() && turned.is_none() && adapter.is_none();
        let bytes = match (&self.config, tensor) {
            (None, Stored::Plain(plain)) if unchanged || tensor.shape().len() != 2 => {
                return Ok(Cow::Borrowed(plain.bytes));
            }
            (Some(_), Stored::Plain(plain)) if unchanged && tensor.shape().len() == 2 => {
                return Ok(Cow::Borrowed(plain.bytes));
            }
            (Some(config), _) if tensor.shape().len() == 1 => {
                vector(&tensor, config.norm_offset, turned)?
            }
            _ => {
                let turned_there = self.turned_in_files(name);
                let change = adapter.map(|adapter| {
                    let there = turned_there.filter(|_| adapter.is_of_hugging_face());
                    move |row: usize, values: &mut [f32]| {
                        adapter.change(name, source_row(row, there), values);
                    }
                });
                let change = change.as_ref().map(|change| -> Change<'_> { change });
                converted(&tensor, turned, change, to, threads)?
            }
        };
        self.source.release(&tensor);
        Ok(Cow::Owned(bytes))
    }

    /// Values per head, if the rows of a folder's tensor change their order.
    fn turned_heads(&self, name: &str) -> Option<usize> {
        self.config.as_ref()?;
        self.turned_in_files(name)
    }

    /// Values per head, if the rows of a tensor have another order in files than in folders.
    fn turned_in_files(&self, name: &str) -> Option<usize> {
        let config = match &self.config {
            Some(config) => config.clone(),
            None => self.source.config().ok()?,
        };
        let config = Some(config).filter(|config| config.family().pairs == Pairs::Permuted)?;
        let (_, part) = name.strip_prefix("blk.")?.split_once('.')?;
        matches!(part, "attn_q.weight" | "attn_q.bias" | "attn_k.weight" | "attn_k.bias")
            .then_some(config.head_dim)
    }
}

/// The row of a folder's matrix that is row `row` of GGUF's: there the two values of a rotary pair
/// are neighbours, here they are half a head apart.
fn source_row(row: usize, turned: Option<usize>) -> usize {
    let Some(head_dim) = turned else { return row };
    let (start, place) = (row / head_dim * head_dim, row % head_dim);
    start + place % 2 * (head_dim / 2) + place / 2
}

/// A folder's vector as float32.
fn vector(
    tensor: &Stored<'_>,
    norm_offset: f32,
    turned: Option<usize>,
) -> Result<Vec<u8>, QuantError> {
    let mut values = vec![0.0; tensor.elements()];
    tensor.read(0, &mut values)?;
    let offset = if tensor.name().ends_with("norm.weight") { norm_offset } else { 0.0 };
    Ok((0..values.len())
        .flat_map(|place| (values[source_row(place, turned)] + offset).to_le_bytes())
        .collect())
}

/// What is done to a row's values, by its number in GGUF.
type Change<'a> = &'a (dyn Fn(usize, &mut [f32]) + Sync);

/// The bytes of a matrix in another type or order, or with other values.
fn converted(
    tensor: &Stored<'_>,
    turned: Option<usize>,
    change: Option<Change<'_>>,
    to: TensorType,
    threads: usize,
) -> Result<Vec<u8>, QuantError> {
    let (columns, rows) = (tensor.shape()[0], tensor.shape()[1]);
    let row_bytes = to
        .byte_len(columns)
        .ok_or(QuantError::PartialBlock { tensor_type: to, elements: columns })?;
    let mut bytes = vec![0; rows * row_bytes];
    let failure = Mutex::new(None);
    let share = rows.div_ceil(threads.max(1));
    thread::scope(|scope| {
        for (number, part) in bytes.chunks_mut((share * row_bytes).max(1)).enumerate() {
            let failure = &failure;
            scope.spawn(move || {
                let (mut values, mut row) = (vec![0.0; columns], Vec::with_capacity(row_bytes));
                for (i, out) in part.chunks_exact_mut(row_bytes).enumerate() {
                    row.clear();
                    let from = source_row(number * share + i, turned);
                    let made = match (tensor, change) {
                        (tensor, Some(change)) => tensor.read(from, &mut values).and_then(|()| {
                            change(number * share + i, &mut values);
                            encode(&values, to.into(), &mut row)
                        }),
                        (Stored::Plain(plain), None) => {
                            plain.write(from, to.into(), &encode, &mut values, &mut row)
                        }
                        (Stored::FourBit(..) | Stored::Packed(_), None) => {
                            tensor.write(from, to.into(), &encode, &mut values, &mut row)
                        }
                    };
                    match made {
                        Ok(()) => out.copy_from_slice(&row),
                        Err(error) => {
                            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_half_a_head_apart_become_neighbours() {
        let order: Vec<usize> = (0..12).map(|row| source_row(row, Some(6))).collect();
        assert_eq!(order, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        assert_eq!(source_row(7, None), 7);
    }
}
