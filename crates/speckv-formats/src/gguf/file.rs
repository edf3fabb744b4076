//! A whole file, opened and checked.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use super::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, GgufError, MAGIC, Metadata, Tensor, TensorInfo,
    cursor::Cursor, source::Source, tensor, value,
};

/// Of how many files this is one, and which, from 0.
const SPLIT_COUNT_KEY: &str = "split.count";
const SPLIT_NUMBER_KEY: &str = "split.no";

/// An open GGUF file: metadata in memory, tensors in place.
#[derive(Debug)]
pub struct Gguf {
    source: Source,
    path: Option<PathBuf>,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: HashMap<String, usize>,
}

impl Gguf {
    /// Opens and maps the file at `path`, and reads its header. Every tensor is known to lie inside
    /// the file afterwards.
    ///
    /// The file is read in place and should stay as it is while it is open. Where it is truncated
    /// and read behind its new end, the process ends with a message (on Unix) and the status 1.
    ///
    /// # Errors
    /// [`GgufError::Io`] where the file cannot be opened or mapped, [`GgufError::InFile`] with the
    /// path for everything that is wrong inside.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        Self::parse(Source::open(path)?, Some(path.to_owned())).map_err(|problem| {
            GgufError::InFile { path: path.to_owned(), problem: Box::new(problem) }
        })
    }

    /// Reads a file that is already in memory.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::parse(Source::Memory(bytes), None)
    }

    /// Format version, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors, in the order of the file's header.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let info = &self.tensors[*self.index.get(name)?];
        let start = info.offset as usize;
        Some(Tensor { info, bytes: &self.source.bytes()[start..start + info.byte_len] })
    }

    /// Copies a row of a tensor's bytes from the file; see [`Source::read_at`].
    pub(crate) fn read_row(&self, info: &TensorInfo, row: usize, to: &mut [u8]) -> io::Result<()> {
        self.source.read_at(info.offset as usize + row * info.row_bytes(), to)
    }

    /// Refuses a file that was changed after it was opened.
    ///
    /// # Errors
    /// [`GgufError::Changed`], or [`GgufError::Io`] where the file's state cannot be asked for.
    pub fn check_unchanged(&self) -> Result<(), GgufError> {
        self.source.check_unchanged()
    }

    /// Size in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.source.bytes().len() as u64
    }

    /// Where the file is, if it was opened by path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Tells the system that a tensor's bytes are not needed in memory for now, so that weights
    /// that were copied elsewhere do not count twice. They may still be read, and are then fetched
    /// again. Does nothing for a file in memory.
    pub fn release(&self, info: &TensorInfo) {
        if let Ok(start) = usize::try_from(info.offset) {
            self.source.release(start..start.saturating_add(info.byte_len));
        }
    }

    fn parse(source: Source, path: Option<PathBuf>) -> Result<Self, GgufError> {
        let bytes = source.bytes();
        let mut cursor = Cursor::new(bytes);
        let version = read_version(&mut cursor, bytes)?;
        let tensor_count = cursor.count("tensor count", tensor::SMALLEST_ENTRY)?;
        // The smallest entry: an empty key and a value of one byte.
        let metadata_count = cursor.count("metadata count", 8 + 4 + 1)?;
        let metadata = read_metadata(&mut cursor, metadata_count)?;
        if let Some(count) = metadata.opt_u64(SPLIT_COUNT_KEY)?.filter(|&count| count > 1) {
            let part = metadata.opt_u64(SPLIT_NUMBER_KEY)?.unwrap_or(0).saturating_add(1);
            return Err(GgufError::Split { part, count });
        }

        let mut tensors = Vec::new();
        let mut index = HashMap::new();
        for _ in 0..tensor_count {
            let info = tensor::read_info(&mut cursor)?;
            if index.insert(info.name.clone(), tensors.len()).is_some() {
                return Err(GgufError::DuplicateTensor { name: info.name });
            }
            tensors.push(info);
        }
        let alignment = metadata.opt_u64(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
        place(&mut tensors, cursor.offset(), alignment, bytes.len() as u64)?;
        Ok(Self { source, path, version, metadata, tensors, index })
    }
}

fn read_version(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Result<u32, GgufError> {
    if bytes.is_empty() {
        return Err(GgufError::Empty);
    }
    // A shorter file that begins like one is a truncated one.
    let shown = bytes.len().min(MAGIC.len());
    if bytes[..shown] != MAGIC[..shown] {
        return Err(GgufError::NotGguf { first: bytes[..bytes.len().min(8)].to_vec() });
    }
    cursor.take(MAGIC.len() as u64, "the magic number")?;
    let version = cursor.u32("the format version")?;
    match version {
        2 | 3 => Ok(version),
        // Versions are small, so one whose low half is zero was written the other way round.
        _ if version & 0xffff == 0 && version != 0 => {
            Err(GgufError::BigEndian { version: version.swap_bytes() })
        }
        _ => Err(GgufError::Version { version }),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<Metadata, GgufError> {
    let mut metadata = Metadata::default();
    for _ in 0..count {
        let offset = cursor.offset();
        let key = cursor.name("a metadata key")?;
        let (value, lossy) = value::read(cursor)?;
        metadata
            .insert(key, value, lossy)
            .map_err(|key| GgufError::DuplicateKey { key, offset })?;
    }
    Ok(metadata)
}

/// Turns offsets into the data into offsets into the file, and checks that every tensor is aligned,
/// inside and alone there.
fn place(
    tensors: &mut [TensorInfo],
    header_end: u64,
    alignment: u64,
    file_size: u64,
) -> Result<(), GgufError> {
    if !alignment.is_power_of_two() {
        return Err(GgufError::Alignment { alignment });
    }
    let data_start = header_end.checked_next_multiple_of(alignment);
    for info in tensors.iter_mut() {
        if !info.offset.is_multiple_of(alignment) {
            return Err(GgufError::Unaligned {
                name: info.name.clone(),
                offset: info.offset,
                alignment,
            });
        }
        let len = info.byte_len as u64;
        let start = data_start.and_then(|data_start| data_start.checked_add(info.offset));
        match start.and_then(|start| start.checked_add(len)) {
            Some(end) if end <= file_size => info.offset = end - len,
            _ => {
                let offset = start.unwrap_or(u64::MAX);
                return Err(GgufError::TensorOutside {
                    name: info.name.clone(),
                    offset,
                    len,
                    file_size,
                });
            }
        }
    }
    let mut in_order: Vec<&TensorInfo> = tensors.iter().collect();
    in_order.sort_by_key(|info| info.offset);
    for pair in in_order.windows(2) {
        if pair[0].offset + pair[0].byte_len as u64 > pair[1].offset {
            return Err(GgufError::Overlap {
                first: pair[0].name.clone(),
                second: pair[1].name.clone(),
                offset: pair[1].offset,
            });
        }
    }
    Ok(())
}
