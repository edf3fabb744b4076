//! Models in several files: any part opens them all, and what is missing or another is named.

use std::{fs, path::PathBuf};

use speckv_formats::{
    gguf::{Gguf, GgufError, Value, Writer},
    quant::{Rows, TensorType},
    tiny::Tiny,
};

/// The tensors of a tiny model in files of their own, as `llama-gguf-split` names them: the first
/// has all metadata.
struct Parts {
    folder: tempfile::TempDir,
    whole: Gguf,
    count: usize,
}

impl Parts {
    fn new(count: usize) -> Self {
        let bytes = Tiny { tensor_type: TensorType::F16, ..Tiny::default() }.to_bytes().unwrap();
        let whole = Gguf::from_bytes(bytes).unwrap();
        let parts = Parts { folder: tempfile::tempdir().unwrap(), whole, count };
        (0..count).for_each(|number| parts.write(number, number, |_| {}));
        parts
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("tiny-{:05}-of-{:05}.gguf", number + 1, self.count))
    }

    /// Writes part `number` in the place of part `place`.
    fn write(&self, number: usize, place: usize, change: impl FnOnce(&mut Writer<'_>)) {
        let mut writer = Writer::new();
        if number == 0 {
            for (key, value) in self.whole.metadata().iter() {
                writer.set(key, value.clone());
            }
        }
        let tensors = self.whole.tensors();
        let count = i32::try_from(tensors.len()).unwrap();
        writer.set("split.no", Value::U16(number as u16));
        writer.set("split.count", Value::U16(self.count as u16));
        writer.set("split.tensors.count", count);
        for info in tensors.iter().skip(number).step_by(self.count) {
            let bytes = self.whole.tensor(&info.name).unwrap().bytes.to_vec();
            writer.tensor(&info.name, &info.shape, info.tensor_type, bytes).unwrap();
        }
        change(&mut writer);
        fs::write(self.path(place), writer.to_bytes().unwrap()).unwrap();
    }

    fn refusal(&self) -> (GgufError, String) {
        let error = Gguf::open(&self.path(0)).unwrap_err();
        let mut text = error.to_string();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            text += &format!(": {next}");
            cause = next;
        }
        (error, text)
    }
}

#[test]
fn any_part_opens_the_whole_model() {
    let parts = Parts::new(3);
    for number in 0..3 {
        let file = Gguf::open(&parts.path(number)).unwrap();
        assert_eq!((file.files(), file.tensors().len()), (3, parts.whole.tensors().len()));
        let name = "general.architecture";
        assert_eq!(file.metadata().string(name).unwrap(), "llama");
        for info in parts.whole.tensors() {
            let (ours, theirs) =
                (file.tensor(&info.name).unwrap(), parts.whole.tensor(&info.name).unwrap());
            assert_eq!((ours.bytes, ours.shape()), (theirs.bytes, theirs.shape()));
            file.release(ours.info);
        }
        let sizes = (0..3).map(|number| fs::metadata(parts.path(number)).unwrap().len());
        assert_eq!(file.file_size(), sizes.sum::<u64>());
    }
}

#[test]
fn a_part_that_is_missing_or_another_is_named() {
    let parts = Parts::new(3);
    fs::remove_file(parts.path(1)).unwrap();
    let (error, text) = parts.refusal();
    assert!(matches!(error, GgufError::MissingPart { part: 2, count: 3, .. }), "{text}");
    assert!(error.hint().is_some() && text.contains("tiny-00002-of-00003.gguf"), "{text}");

    parts.write(2, 1, |_| {});
    assert!(parts.refusal().1.contains("expected part 2 of 3, got part 3 of 3"));

    parts.write(1, 1, |writer| {
        writer.tensor("more", &[1], TensorType::F32, vec![0; 4]).unwrap();
    });
    assert!(parts.refusal().1.contains("tensors in all parts"));

    parts.write(1, 1, |_| {});
    let other = parts.folder.path().join("other.gguf");
    fs::copy(parts.path(0), &other).unwrap();
    let error = Gguf::open(&other).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("names")), "{error}");
}
