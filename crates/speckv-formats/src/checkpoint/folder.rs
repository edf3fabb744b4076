//! A folder in the layout of the Hugging Face libraries: `config.json`, `tokenizer.json`, and
//! weights in one safetensors file or several.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    CheckpointError, FourBitInfo, Stored,
    four_bit::{self, Parts},
    names::{Meaning, Names},
    packed::{self, PackedInfo},
    shard::{Entry, Shard},
};
use crate::{
    config::{Config, Quantization},
    gguf::{GgufError, MAX_DIMENSIONS, Tensor, TensorInfo},
    quant::TensorType,
};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Endings of files with weights that are not read, to say so by name.
const OTHER_FORMATS: [&str; 6] = [".bin", ".pth", ".pt", ".h5", ".msgpack", ".onnx"];

/// An open folder: the blueprint in memory, tensors in place.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    config: Config,
    names: Names,
    shards: Vec<Shard>,
    tensors: Vec<TensorInfo>,
    /// GGUF name -> shard and place in `tensors`.
    index: HashMap<String, (usize, usize)>,
    /// Matrices in 4 bits by their GGUF names.
    four_bit: BTreeMap<String, FourBitInfo>,
    /// Matrices in other quantizations by their GGUF names.
    packed: BTreeMap<String, PackedInfo>,
}

impl Folder {
    /// Opens a folder: reads its blueprint and the headers of all weights. Every tensor is known to
    /// lie inside its file afterwards.
    ///
    /// The files are read in place and should stay as they are while the folder is open; see
    /// [`crate::gguf::Gguf::open`].
    ///
    /// # Errors
    /// See [`CheckpointError`]: no `config.json` or one that is no blueprint, shards that are
    /// missing, headers that are wrong, tensors of types that are not supported or that no part of
    /// the model is known to have.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let config_path = path.join("config.json");
        if !config_path.exists() {
            return Err(CheckpointError::NotAModel {
                folder: path.to_owned(),
                missing: "config.json",
            });
        }
        let config = Config::from_json_file(&config_path)
            .map_err(|source| CheckpointError::Config { folder: path.to_owned(), source })?;
        let names = Names::of(&config);
        let (files, placed) = files(path)?;
        let mut folder = Folder {
            path: path.to_owned(),
            config,
            names,
            shards: Vec::new(),
            tensors: Vec::new(),
            index: HashMap::new(),
            four_bit: BTreeMap::new(),
            packed: BTreeMap::new(),
        };
        let mut entries = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let shard = Shard::open(file)?;
            entries.extend(shard.entries()?.into_iter().map(|entry| (number, entry)));
            folder.shards.push(shard);
        }
        folder.check_index(path, &placed, &entries)?;
        let entries = folder.take_packed(entries)?;
        folder.sort(entries)?;
        folder.settle_head(&config_path)?;
        Ok(folder)
    }

    /// Puts matrices in FP8, INT8, GPTQ and AWQ together; the rest is left.
    fn take_packed(
        &mut self,
        entries: Vec<(usize, Entry)>,
    ) -> Result<Vec<(usize, Entry)>, CheckpointError> {
        let quantization = self.config.quantization;
        if matches!(quantization, Quantization::None | Quantization::FourBit) {
            return Ok(entries);
        }
        let known = |name: &str| matches!(self.names.meaning(name), Meaning::Tensor(_));
        let of_matrix = |entry: &Entry| {
            let bytes = ["F8_E4M3", "I8"].contains(&entry.dtype.as_str());
            let own = (bytes && known(&entry.name)).then(|| (entry.name.clone(), "weight"));
            own.or_else(|| packed::part_of(&entry.name).filter(|(matrix, _)| known(matrix)))
        };
        let mut matrices: BTreeMap<String, packed::Parts> = BTreeMap::new();
        let mut rest = Vec::new();
        for (number, entry) in entries {
            match of_matrix(&entry) {
                Some((matrix, end)) => {
                    let (path, name) = (self.shards[number].path.clone(), entry.name.clone());
                    let parts = matrices.entry(matrix).or_default();
                    if parts.insert(end, (number, entry)).is_some() {
                        let (expected, got) = ("one tensor of this name".into(), "two".into());
                        return Err(CheckpointError::Tensor { path, name, expected, got });
                    }
                }
                None if packed::is_of_activations(&entry.name) => {}
                None => rest.push((number, entry)),
            }
        }
        for (spelled, parts) in matrices {
            let Meaning::Tensor(name) = self.names.meaning(&spelled) else { continue };
            let shards = &self.shards;
            let info = PackedInfo::assemble(name.clone(), &spelled, &parts, shards, quantization)?;
            self.packed.insert(name, info);
        }
        Ok(rest)
    }

    /// Tells matrices in 4 bits, which consist of several tensors, from the rest.
    fn sort(&mut self, entries: Vec<(usize, Entry)>) -> Result<(), CheckpointError> {
        // A matrix that is ignored or unknown is so as a whole, companions included.
        let known = |name: &str| matches!(self.names.meaning(name), Meaning::Tensor(_));
        let of_companion = |entry: &Entry| {
            four_bit::companion(&entry.name)
                .filter(|(matrix, _)| known(matrix))
                .map(|(matrix, end)| (matrix.to_owned(), end))
        };
        let mut matrices: BTreeMap<String, Parts> = entries
            .iter()
            .filter_map(|(_, entry)| Some((of_companion(entry)?.0, Parts::default())))
            .collect();
        let mut plain = Vec::new();
        for (number, entry) in entries {
            let (name, path) = (entry.name.clone(), self.shards[number].path.clone());
            let other = match of_companion(&entry) {
                Some((matrix, end)) => {
                    let parts = matrices.entry(matrix).or_default();
                    parts.companions.insert(end, (number, entry)).is_some()
                }
                None => match matrices.get_mut(&name) {
                    Some(parts) => parts.matrix.replace((number, entry)).is_some(),
                    None => {
                        plain.push((number, entry));
                        false
                    }
                },
            };
            if other {
                let (expected, got) = ("one tensor of this name".to_owned(), "two".to_owned());
                return Err(CheckpointError::Tensor { path, name, expected, got });
            }
        }
        for (number, entry) in plain {
            self.add(entry, number)?;
        }
        for (spelled, parts) in matrices {
            let Meaning::Tensor(name) = self.names.meaning(&spelled) else { continue };
            let info = FourBitInfo::assemble(name.clone(), &spelled, &parts, &self.shards)?;
            self.four_bit.insert(name, info);
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry, shard: usize) -> Result<(), CheckpointError> {
        let fail = |expected: &str, got: String| CheckpointError::Tensor {
            path: self.shards[shard].path.clone(),
            name: entry.name.clone(),
            expected: expected.to_owned(),
            got,
        };
        let name = match self.names.meaning(&entry.name) {
            Meaning::Tensor(name) => name,
            Meaning::Ignored => return Ok(()),
            Meaning::Unknown => {
                return Err(fail(
                    &format!("a tensor of the {} family", self.config.architecture),
                    "another".into(),
                ));
            }
        };
        let tensor_type = match entry.dtype.as_str() {
            "F32" => TensorType::F32,
            "F16" => TensorType::F16,
            "BF16" => TensorType::BF16,
            other => {
                let other = other.chars().take(20).collect();
                return Err(fail(
                    "F32, F16 or BF16, or bitsandbytes' 4 bits with their quant_state",
                    other,
                ));
            }
        };
        // Innermost first, as in GGUF.
        let shape: Vec<usize> = entry.shape.iter().rev().copied().collect();
        let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let bytes = elements.and_then(|elements| tensor_type.byte_len(elements));
        if shape.is_empty() || shape.len() > MAX_DIMENSIONS as usize || shape.contains(&0) {
            return Err(fail("1 to 4 dimensions of at least 1", format!("{:?}", entry.shape)));
        }
        if bytes != Some(entry.byte_len) {
            return Err(fail(
                &format!("the bytes of the shape {:?}", entry.shape),
                format!("{} bytes", entry.byte_len),
            ));
        }
        let info = TensorInfo {
            name: name.clone(),
            shape,
            tensor_type,
            offset: entry.start as u64,
            byte_len: entry.byte_len,
        };
        if self.index.contains_key(&name) || self.packed.contains_key(&name) {
            return Err(fail("one tensor of this name", "two".into()));
        }
        self.index.insert(name, (shard, self.tensors.len()));
        self.tensors.push(info);
        Ok(())
    }

    /// Refuses an index that places tensors where they are not.
    fn check_index(
        &self,
        path: &Path,
        placed: &BTreeMap<String, String>,
        entries: &[(usize, Entry)],
    ) -> Result<(), CheckpointError> {
        let found: HashMap<&str, usize> =
            entries.iter().map(|(shard, entry)| (entry.name.as_str(), *shard)).collect();
        for (name, file) in placed {
            let tensor = four_bit::companion(name).map_or(name.as_str(), |(matrix, _)| matrix);
            if !matches!(self.names.meaning(tensor), Meaning::Tensor(_)) {
                continue;
            }
            let found =
                found.get(name.as_str()).and_then(|&shard| self.shards[shard].path.file_name());
            if found.is_none_or(|found| found != file.as_str()) {
                return Err(CheckpointError::Index {
                    path: path.join(INDEX),
                    expected: "tensors in the shards that hold them",
                    got: format!("{name} in {file}"),
                });
            }
        }
        Ok(())
    }

    /// Makes what the blueprint says of the output head true, or refuses it.
    fn settle_head(&mut self, config_path: &Path) -> Result<(), CheckpointError> {
        const HEAD: &str = "output.weight";
        match (self.config.tied, self.stored(HEAD).is_some()) {
            // Some files keep a copy that is not used.
            (Some(true), true) => {
                self.index.remove(HEAD);
                self.four_bit.remove(HEAD);
                self.packed.remove(HEAD);
                self.tensors.retain(|info| info.name != HEAD);
                for (place, info) in self.tensors.iter().enumerate() {
                    if let Some((_, at)) = self.index.get_mut(&info.name) {
                        *at = place;
                    }
                }
                Ok(())
            }
            (Some(false), false) => Err(CheckpointError::Tensor {
                path: config_path.to_owned(),
                name: self.names.spelled(HEAD),
                expected: "a matrix, as \"tie_word_embeddings\": false says".into(),
                got: "none".into(),
            }),
            _ => Ok(()),
        }
    }

    /// The blueprint.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The tensors by their GGUF names, in the order of the files; without those of
    /// [`four_bit`](Self::four_bit).
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The matrices in the 4 bits of bitsandbytes.
    pub fn four_bit(&self) -> impl Iterator<Item = Stored<'_>> {
        self.four_bit.values().map(|info| Stored::FourBit(info, info.values(&self.shards)))
    }

    /// The matrices in FP8, INT8, GPTQ and AWQ.
    pub fn packed(&self) -> impl Iterator<Item = Stored<'_>> {
        self.packed.values().map(|info| Stored::Packed(info.packed(&self.shards)))
    }

    /// The tensor that GGUF calls so, however it is stored.
    #[must_use]
    pub fn stored(&self, name: &str) -> Option<Stored<'_>> {
        let four_bit =
            || self.four_bit.get(name).map(|info| Stored::FourBit(info, info.values(&self.shards)));
        let packed = || self.packed.get(name).map(|info| Stored::Packed(info.packed(&self.shards)));
        self.tensor(name).map(Stored::Plain).or_else(four_bit).or_else(packed)
    }

    /// The tensor that GGUF calls so, unless it is in 4 bits.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let &(shard, place) = self.index.get(name)?;
        let info = &self.tensors[place];
        let start = info.offset as usize;
        Some(Tensor {
            info,
            bytes: &self.shards[shard].source.bytes()[start..start + info.byte_len],
        })
    }

    /// Copies a row of a tensor's bytes from its file.
    pub(super) fn read_row(&self, info: &TensorInfo, row: usize, to: &mut [u8]) -> io::Result<()> {
        let Some(&(shard, _)) = self.index.get(&info.name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.shards[shard].source.read_at(info.offset as usize + row * info.row_bytes(), to)
    }

    /// Refuses files that were changed after they were opened.
    pub(super) fn check_unchanged(&self) -> Result<(), GgufError> {
        self.shards.iter().try_for_each(|shard| shard.source.check_unchanged())
    }

    /// What the files call the tensor that GGUF calls so.
    #[must_use]
    pub fn spelled(&self, name: &str) -> String {
        self.names.spelled(name)
    }

    /// Tells the system that a tensor's bytes are not needed in memory for now.
    pub fn release(&self, tensor: &Stored<'_>) {
        match tensor {
            Stored::Plain(Tensor { info, .. }) => {
                if let (Some(&(shard, _)), Ok(start)) =
                    (self.index.get(&info.name), usize::try_from(info.offset))
                {
                    self.shards[shard].source.release(start..start.saturating_add(info.byte_len));
                }
            }
            Stored::Packed(packed) => packed.info.release(&self.shards),
            Stored::FourBit(info, _) => {
                if let Some(own) = self.four_bit.get(&info.name) {
                    own.release(&self.shards);
                }
            }
        }
    }

    /// Files with weights, and their size in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.shards.iter().map(|shard| shard.source.bytes().len() as u64).sum()
    }

    /// Number of files with weights.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The files with weights, and where the index, if there is one, places each tensor.
fn files(folder: &Path) -> Result<(Vec<PathBuf>, BTreeMap<String, String>), CheckpointError> {
    let index = folder.join(INDEX);
    if !index.exists() {
        let single = folder.join(SINGLE);
        return match single.exists() {
            true => Ok((vec![single], BTreeMap::new())),
            false => Err(without_weights(folder)),
        };
    }
    let bytes = std::fs::read(&index).map_err(|source| CheckpointError::Io {
        action: "read",
        path: index.clone(),
        source,
    })?;
    let fail =
        |expected, got: String| CheckpointError::Index { path: index.clone(), expected, got };
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| fail("JSON", error.to_string()))?;
    let map = value["weight_map"]
        .as_object()
        .ok_or_else(|| fail("an object \"weight_map\"", "none".to_owned()))?;
    let mut placed = BTreeMap::new();
    for (tensor, file) in map {
        let name = file.as_str().filter(|name| is_plain(name));
        let name =
            name.ok_or_else(|| fail("names of files in the same folder", file.to_string()))?;
        placed.insert(tensor.clone(), name.to_owned());
    }
    let names: BTreeSet<&String> = placed.values().collect();
    let missing: Vec<String> =
        names.iter().filter(|name| !folder.join(name).exists()).map(|&name| name.clone()).collect();
    if !missing.is_empty() {
        return Err(CheckpointError::MissingShards { index, missing });
    }
    if names.is_empty() {
        return Err(fail("at least one tensor", "none".to_owned()));
    }
    Ok((names.into_iter().map(|name| folder.join(name)).collect(), placed))
}

/// Whether a name is that of a file in the folder itself: an index may not lead elsewhere.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
        && !name.contains(['/', '\\'])
}

/// Why a folder without safetensors cannot be used.
fn without_weights(folder: &Path) -> CheckpointError {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let other =
        names.filter(|name| OTHER_FORMATS.iter().any(|ending| name.ends_with(ending))).min();
    match other {
        Some(found) => CheckpointError::OtherFormat { folder: folder.to_owned(), found },
        None => CheckpointError::NotAModel { folder: folder.to_owned(), missing: SINGLE },
    }
}
