//! A model file with other weight types.

use std::path::Path;

use crate::{
    checkpoint::{Adapter, AdapterError, Checkpoint},
    compression::{Compression, Role},
    convert::{self, ConvertError, Export, Planned},
    gguf::{GgufError, Writer},
    mask_tokens::MASK_TOKENS_KEY,
    quant::{QuantError, TensorType, WeightType},
};

/// Why a file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RequantizeError {
    /// No file can hold the type.
    #[error("the file format has no {0}")]
    NotInFiles(WeightType),
    /// Reading or writing a file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A folder with something that GGUF has no key for.
    #[error(transparent)]
    Folder(#[from] ConvertError),
    /// An adapter that does not fit the model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A weight that the type cannot hold.
    #[error("the tensor {name} cannot be converted")]
    Convert {
        /// The tensor.
        name: String,
        /// Why.
        source: QuantError,
    },
    /// `progress` returned false.
    #[error("stopped")]
    Stopped,
}

/// What became of a file's tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Tensors with another type than before.
    pub converted: usize,
    /// Tensors that stay as they are: vectors, and matrices that have the type already or are not
    /// touched by it.
    pub kept: usize,
    /// Matrices whose rows are no whole number of blocks of the type asked for, and the type that
    /// they got in its place.
    pub fallen_back: Vec<(String, TensorType)>,
}

/// The type that a tensor gets: that of the compression, or, and then the second is true, the next
/// one with blocks that its rows divide into.
fn target(
    tensor: &Planned,
    compression: Compression,
) -> Result<(TensorType, bool), RequantizeError> {
    let in_files = |weight_type| match weight_type {
        WeightType::File(tensor_type) => Ok(tensor_type),
        other @ WeightType::Nf4 => Err(RequantizeError::NotInFiles(other)),
    };
    let &[columns, _] = tensor.shape.as_slice() else { return Ok((in_files(tensor.from)?, false)) };
    let role = if tensor.name.starts_with("blk.") { Role::Layer } else { Role::Head };
    let asked = in_files(compression.of(tensor.from, role))?;
    let fits = |tensor_type: &TensorType| columns.is_multiple_of(tensor_type.block_len());
    if fits(&asked) {
        return Ok((asked, false));
    }
    // With fewer columns per scale it takes more bits to be as good.
    let smaller_blocks = match asked {
        TensorType::Q2K | TensorType::Q3K => TensorType::Iq4Nl,
        TensorType::Q4K => TensorType::Q5_0,
        TensorType::Q5K => TensorType::Q5_1,
        _ => TensorType::Q8_0,
    };
    Ok(([smaller_blocks, TensorType::F16].into_iter().find(fits).unwrap_or(TensorType::F16), true))
}

/// The number of a whole file's type in `general.file_type`.
fn file_type(tensor_type: TensorType) -> u32 {
    match tensor_type {
        TensorType::F32 => 0,
        TensorType::F16 => 1,
        TensorType::Q4_0 => 2,
        TensorType::Q4_1 => 3,
        TensorType::Q8_0 => 7,
        TensorType::Q5_0 => 8,
        TensorType::Q5_1 => 9,
        TensorType::Q2K => 10,
        TensorType::Q3K => 12,
        TensorType::Q4K => 15,
        TensorType::Q5K => 17,
        TensorType::Q6K => 18,
        TensorType::Iq4Nl => 25,
        TensorType::BF16 => 32,
        TensorType::Iq2Xxs => 19,
        TensorType::Iq2Xs => 20,
        TensorType::Iq3Xxs => 23,
        TensorType::Iq1S => 24,
        TensorType::Iq3S => 26,
        TensorType::Iq2S => 28,
        TensorType::Iq4Xs => 30,
        TensorType::Iq1M => 31,
        TensorType::Tq1_0 => 36,
        TensorType::Tq2_0 => 37,
        TensorType::Mxfp4 => 38,
        TensorType::Nvfp4 => 39,
    }
}

/// Writes a model, GGUF file or folder, to `path` as a GGUF file with its matrices as `compression`
/// says; vectors and a file's metadata stay, a folder's are made from its blueprint, tokenizer and
/// template. `progress` gets bytes done and to do, and says whether to go on.
///
/// # Errors
/// See [`RequantizeError`]. What was written until then stays at `path`.
pub fn requantize(
    source: &Checkpoint,
    compression: Compression,
    threads: usize,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Changes, RequantizeError> {
    requantize_with(source, None, compression, threads, path, progress)
}

/// As [`requantize`], with an adapter merged into the weights. Matrices that it changes are written
/// anew, whatever their type; the mask tokens of a parallel draft go into the metadata.
///
/// # Errors
/// As [`requantize`], and an adapter that does not fit the model.
pub fn requantize_with(
    source: &Checkpoint,
    adapter: Option<&Adapter>,
    compression: Compression,
    threads: usize,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Changes, RequantizeError> {
    let mut writer = Writer::new();
    for (key, value) in convert::metadata(source)? {
        writer.set(key, value);
    }
    if let Some(adapter) = adapter {
        adapter.check(source)?;
        if !adapter.mask_tokens().is_empty() {
            writer.set(MASK_TOKENS_KEY, adapter.mask_tokens().to_vec());
        }
    }
    let export = Export::new(source, adapter);
    let mut changes = Changes::default();
    let mut targets = Vec::new();
    for tensor in export.planned() {
        let (to, fell_back) = target(&tensor, compression)?;
        writer.announce(tensor.name.clone(), &tensor.shape, to)?;
        let changed = adapter.is_some_and(|adapter| adapter.changes(&tensor.name));
        if tensor.from == to.into() && !changed {
            changes.kept += 1;
        } else {
            changes.converted += 1;
        }
        if fell_back {
            changes.fallen_back.push((tensor.name.clone(), to));
        }
        targets.push((tensor, to));
    }
    let of_layers = targets
        .iter()
        .find(|(tensor, _)| tensor.name.starts_with("blk.") && tensor.shape.len() == 2);
    let states_type = compression != Compression::AsIs || matches!(source, Checkpoint::Folder(_));
    if let Some((tensor, _)) = of_layers.filter(|_| states_type)
        && let WeightType::File(tensor_type) = compression.of(tensor.from, Role::Layer)
    {
        writer.set("general.file_type", file_type(tensor_type));
    }
    let total = targets.iter().map(|(tensor, _)| tensor.byte_len).sum();
    let (mut done, mut targets) = (0, targets.into_iter());
    writer.save_with(path, &mut |name| {
        if !progress(done, total) {
            return Err(RequantizeError::Stopped);
        }
        // The writer asks in the order of the announcements; without bytes it would refuse the
        // tensor.
        let Some((tensor, to)) = targets.find(|(tensor, _)| tensor.name == name) else {
            return Ok((&[][..]).into());
        };
        done += tensor.byte_len;
        export
            .bytes(name, to, threads)
            .map_err(|source| RequantizeError::Convert { name: name.to_owned(), source })
    })?;
    progress(total, total);
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        gguf::{Gguf, Tensor},
        quant::dequantize,
        tiny::Tiny,
    };

    fn requantized(
        file: &Arc<Gguf>,
        compression: Compression,
    ) -> Result<(Gguf, Changes), RequantizeError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.gguf");
        let changes =
            requantize(&file.into(), compression, 3, &path, &mut |done, total| done <= total)?;
        Ok((
            Gguf::from_bytes(std::fs::read(&path).expect("written")).expect("a model file"),
            changes,
        ))
    }

    fn tiny(tensor_type: TensorType) -> Arc<Gguf> {
        let tiny = Tiny { hidden: 64, feed_forward: 96, tensor_type, ..Tiny::default() };
        Arc::new(Gguf::from_bytes(tiny.to_bytes().expect("a file")).expect("a model file"))
    }

    #[test]
    fn metadata_and_vectors_stay_and_matrices_change() {
        let file = tiny(TensorType::F32);
        let (made, changes) = requantized(&file, Compression::Int8).expect("Q8_0 fits everything");
        for (key, value) in file.metadata().iter().filter(|(key, _)| *key != "general.file_type") {
            assert_eq!(made.metadata().get(key), Some(value), "{key}");
        }
        assert_eq!(made.metadata().get("general.file_type"), Some(&7_u32.into()));
        assert_eq!(changes.converted + changes.kept, file.tensors().len());
        assert!(changes.fallen_back.is_empty());
        for info in file.tensors() {
            let (before, after) =
                (file.tensor(&info.name).unwrap(), made.tensor(&info.name).unwrap());
            if info.shape.len() == 1 {
                assert_eq!(before.bytes, after.bytes, "{}", info.name);
                continue;
            }
            assert_eq!(after.info.tensor_type, TensorType::Q8_0, "{}", info.name);
            let values = |tensor: &Tensor<'_>| {
                let mut values = vec![0.0; tensor.info.elements()];
                dequantize(tensor.info.tensor_type, tensor.bytes, &mut values).unwrap();
                values
            };
            let (before, after) = (values(&before), values(&after));
            let largest = before.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            assert!(
                before.iter().zip(&after).all(|(b, a)| (b - a).abs() <= largest / 200.0),
                "{}",
                info.name
            );
        }
    }

    #[test]
    fn as_is_gives_the_same_tensors() {
        let file = tiny(TensorType::Q5_0);
        let (made, changes) = requantized(&file, Compression::AsIs).expect("a copy");
        assert_eq!(changes.converted, 0);
        for info in file.tensors() {
            assert_eq!(
                file.tensor(&info.name).unwrap().bytes,
                made.tensor(&info.name).unwrap().bytes
            );
        }
    }

    #[test]
    fn rows_too_short_for_a_type_get_the_next_one_and_are_named() {
        let (made, changes) =
            requantized(&tiny(TensorType::F32), Compression::Type(TensorType::Q4K))
                .expect("falls back");
        assert_eq!(changes.fallen_back.len(), changes.converted);
        assert!(changes.fallen_back.iter().all(|(_, to)| *to == TensorType::Q5_0));
        assert_eq!(made.tensor("blk.0.ffn_up.weight").unwrap().info.tensor_type, TensorType::Q5_0);
    }

    #[test]
    fn nf4_is_refused_by_name_and_stopping_stops() {
        let file = tiny(TensorType::F32);
        let error = requantized(&file, Compression::Nf4).expect_err("no file has it");
        assert!(error.to_string().contains("NF4"), "{error}");
        let folder = tempfile::tempdir().expect("a folder");
        let stopped = requantize(
            &(&file).into(),
            Compression::Fp16,
            1,
            &folder.path().join("out"),
            &mut |_, _| false,
        );
        assert!(matches!(stopped, Err(RequantizeError::Stopped)));
    }
}
