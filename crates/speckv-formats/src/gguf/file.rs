//! A whole file, opened and checked.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use super::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, GgufError, MAGIC, Metadata, Tensor, TensorInfo,
    cursor::Cursor, source::Source, split::Split, tensor, value,
};

/// An open GGUF file: metadata in memory, tensors in place. A model in several files counts as one.
#[derive(Debug)]
pub struct Gguf {
    /// One, or those of all parts in order.
    sources: Vec<Source>,
    /// The file of each tensor.
    places: Vec<usize>,
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
    /// Of a model in several files, any part opens them all. Their names end in
    /// `-00001-of-00003.gguf` and so on, and the metadata are those of the first.
    ///
    /// The file is read in place and should stay as it is while it is open. Where it is truncated
    /// and read behind its new end, the process ends with a message (on Unix) and the status 1.
    ///
    /// # Errors
    /// [`GgufError::Io`] where the file cannot be opened or mapped, [`GgufError::InFile`] with the
    /// path for everything that is wrong inside.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let file = File::open(path)?;
        let in_file = |path: &Path, problem| GgufError::InFile {
            path: path.to_owned(),
            problem: Box::new(problem),
        };
        let Some(split) = file.split else { return Self::of(vec![file], Some(path.to_owned())) };
        let paths = split.paths(path).map_err(|problem| in_file(path, problem))?;
        let mut files = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            if !path.exists() {
                let (part, count) = (number as u64 + 1, split.count);
                return Err(GgufError::MissingPart { path: path.clone(), part, count });
            }
            let part = File::open(path)?;
            let expected = Split { number: number as u64, ..split };
            let same = part.split.map(|found| (found.number, found.count));
            if same != Some((expected.number, expected.count)) {
                return Err(in_file(
                    path,
                    GgufError::SplitPart {
                        expected: format!("part {} of {}", number + 1, split.count),
                        got: part.split.map_or_else(
                            || "a whole model".to_owned(),
                            |got| format!("part {} of {}", got.number.saturating_add(1), got.count),
                        ),
                    },
                ));
            }
            files.push(part);
        }
        Self::of(files, Some(path.to_owned())).map_err(|problem| in_file(path, problem))
    }

    /// Reads a file that is already in memory.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        let file = File::parse(Source::Memory(bytes))?;
        match file.split {
            None => Self::of(vec![file], None),
            Some(split) => Err(split.alone()),
        }
    }

    /// One model of the parts in order.
    fn of(files: Vec<File>, path: Option<PathBuf>) -> Result<Self, GgufError> {
        let split = files[0].split;
        let (mut sources, mut places) = (Vec::new(), Vec::new());
        let (mut tensors, mut index) = (Vec::new(), HashMap::new());
        let mut first = None;
        for (number, file) in files.into_iter().enumerate() {
            let File { source, version, metadata, tensors: own, .. } = file;
            for info in own {
                if index.insert(info.name.clone(), tensors.len()).is_some() {
                    return Err(GgufError::DuplicateTensor { name: info.name });
                }
                places.push(number);
                tensors.push(info);
            }
            sources.push(source);
            first.get_or_insert((version, metadata));
        }
        let said = split.and_then(|split| split.tensors);
        if let Some(said) = said.filter(|&said| said != tensors.len() as u64) {
            return Err(GgufError::SplitPart {
                expected: format!("{said} tensors in all parts"),
                got: tensors.len().to_string(),
            });
        }
        let (version, metadata) = first.expect("there is at least one file");
        Ok(Self { sources, places, path, version, metadata, tensors, index })
    }

    /// Number of files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.sources.len()
    }

    /// A file with the metadata of `header`, whose tensors read `bytes` of memory that they may
    /// share: each at its offset there.
    ///
    /// # Errors
    /// A tensor that is not inside, or a name that occurs twice.
    pub(crate) fn sharing(
        header: Self,
        tensors: Vec<TensorInfo>,
        bytes: Vec<u8>,
    ) -> Result<Self, GgufError> {
        let mut index = HashMap::new();
        for (number, info) in tensors.iter().enumerate() {
            let (offset, len, file_size) = (info.offset, info.byte_len as u64, bytes.len() as u64);
            if offset.checked_add(len).is_none_or(|end| end > file_size) {
                let name = info.name.clone();
                return Err(GgufError::TensorOutside { name, offset, len, file_size });
            }
            if index.insert(info.name.clone(), number).is_some() {
                return Err(GgufError::DuplicateTensor { name: info.name.clone() });
            }
        }
        let (sources, places) = (vec![Source::Memory(bytes)], vec![0; tensors.len()]);
        Ok(Gguf { sources, places, tensors, index, ..header })
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
        let place = *self.index.get(name)?;
        let (info, source) = (&self.tensors[place], &self.sources[self.places[place]]);
        let start = info.offset as usize;
        Some(Tensor { info, bytes: &source.bytes()[start..start + info.byte_len] })
    }

    /// Copies a row of a tensor's bytes from the file; see [`Source::read_at`].
    pub(crate) fn read_row(&self, info: &TensorInfo, row: usize, to: &mut [u8]) -> io::Result<()> {
        let source = self.source_of(info).ok_or(io::ErrorKind::NotFound)?;
        source.read_at(info.offset as usize + row * info.row_bytes(), to)
    }

    /// Refuses files that were changed after they were opened.
    ///
    /// # Errors
    /// [`GgufError::Changed`], or [`GgufError::Io`] where a file's state cannot be asked for.
    pub fn check_unchanged(&self) -> Result<(), GgufError> {
        self.sources.iter().try_for_each(Source::check_unchanged)
    }

    /// The file of a tensor.
    fn source_of(&self, info: &TensorInfo) -> Option<&Source> {
        self.index.get(&info.name).map(|&place| &self.sources[self.places[place]])
    }

    /// Size of all files in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes().len() as u64).sum()
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
        if let (Ok(start), Some(source)) = (usize::try_from(info.offset), self.source_of(info)) {
            source.release(start..start.saturating_add(info.byte_len));
        }
    }
}

/// One file, checked.
struct File {
    source: Source,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Which part of a model it is, if it is not a whole one.
    split: Option<Split>,
}

impl File {
    fn open(path: &Path) -> Result<Self, GgufError> {
        Self::parse(Source::open(path)?).map_err(|problem| GgufError::InFile {
            path: path.to_owned(),
            problem: Box::new(problem),
        })
    }

    fn parse(source: Source) -> Result<Self, GgufError> {
        let bytes = source.bytes();
        let mut cursor = Cursor::new(bytes);
        let version = read_version(&mut cursor, bytes)?;
        let tensor_count = cursor.count("tensor count", tensor::SMALLEST_ENTRY)?;
        // The smallest entry: an empty key and a value of one byte.
        let metadata_count = cursor.count("metadata count", 8 + 4 + 1)?;
        let metadata = read_metadata(&mut cursor, metadata_count)?;
        let split = Split::of(&metadata)?;
        let mut tensors = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..tensor_count {
            let info = tensor::read_info(&mut cursor)?;
            if !names.insert(info.name.clone()) {
                return Err(GgufError::DuplicateTensor { name: info.name });
            }
            tensors.push(info);
        }
        let alignment = metadata.opt_u64(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
        place(&mut tensors, cursor.offset(), alignment, bytes.len() as u64)?;
        Ok(Self { source, version, metadata, tensors, split })
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
