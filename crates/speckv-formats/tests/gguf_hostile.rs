//! Files that lie, break off, or are no GGUF at all: an error that says what is wrong, never a
//! panic.

use std::{error::Error, path::Path};

use proptest::{collection::vec, prelude::*};
use speckv_formats::{
    gguf::{Gguf, GgufError, Writer},
    quant::{self, TensorType},
};

/// A valid file with a value of every kind and tensors of several types.
fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama").set("general.alignment", 32_u32).set("flag", true);
    writer
        .set("u8", 1_u8)
        .set("i16", -2_i16)
        .set("u64", 3_u64)
        .set("f64", 0.5_f64)
        .set("f32", 1.5_f32);
    writer
        .set("tokens", vec!["a", "bc", "", "\u{2603}"])
        .set("types", vec![1_i32, 2, 3])
        .set("flags", vec![true, false]);
    for (i, tensor_type) in TensorType::ALL.into_iter().enumerate() {
        let shape = [tensor_type.block_len(), 2];
        writer
            .tensor(
                format!("t{i}"),
                &shape,
                tensor_type,
                quant::random_blocks(tensor_type, 2, i as u64),
            )
            .unwrap();
    }
    writer.to_bytes().unwrap()
}

/// Uses everything that an accepted file offers.
fn visit(file: &Gguf) {
    for (key, value) in file.metadata().iter() {
        let _ = (value.describe(), file.metadata().opt_i32s(key), file.metadata().opt_strings(key));
    }
    for info in file.tensors() {
        let tensor = file.tensor(&info.name).expect("listed");
        assert_eq!(tensor.bytes.len(), info.byte_len);
        assert_eq!(info.rows() * info.row_bytes(), info.byte_len);
        tensor.to_f32().expect("sizes agree");
        file.release(info);
    }
}

#[test]
fn a_part_of_a_split_model_is_refused_with_the_way_to_join_it() {
    let part = |count: u16| {
        let mut writer = Writer::new();
        writer.set("split.no", 1_u16).set("split.count", count);
        Gguf::from_bytes(writer.to_bytes().unwrap())
    };
    let error = part(3).unwrap_err();
    assert!(error.to_string().contains("part 2 of 3"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("llama-gguf-split --merge")));
    part(1).expect("a model that was joined, or never split");
}

/// Little pieces that make a file by hand.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn header(version: u32, tensors: u64, metadata: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(version).u64(tensors).u64(metadata)
    }
    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn string(mut self, value: &[u8]) -> Self {
        self = self.u64(value.len() as u64);
        self.0.extend(value);
        self
    }
    fn tensor(mut self, name: &str, shape: &[u64], tensor_type: u32, offset: u64) -> Self {
        self = self.string(name.as_bytes()).u32(shape.len() as u32);
        for &size in shape {
            self = self.u64(size);
        }
        self.u32(tensor_type).u64(offset)
    }
    /// Zeros up to the tensor data and `bytes` more.
    fn data(mut self, bytes: usize) -> Self {
        let len = self.0.len().next_multiple_of(32) + bytes;
        self.0.resize(len, 0);
        self
    }
    fn error(self) -> GgufError {
        Gguf::from_bytes(self.0).expect_err("hostile")
    }
    fn message(self) -> String {
        self.error().to_string()
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = sample();
    let file = Gguf::from_bytes(whole.clone()).unwrap();
    visit(&file);
    let end = file.tensors().iter().map(|info| info.offset as usize + info.byte_len).max().unwrap();
    for len in 0..end {
        let error = Gguf::from_bytes(whole[..len].to_vec()).expect_err("cut");
        assert!(
            matches!(
                error,
                GgufError::Empty
                    | GgufError::Truncated { .. }
                    | GgufError::Count { .. }
                    | GgufError::TensorOutside { .. }
            ),
            "cut at {len}: {error}"
        );
    }
    Gguf::from_bytes(whole[..end].to_vec()).expect("only padding is gone");
}

#[test]
fn a_changed_byte_anywhere_never_panics() {
    let whole = sample();
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at].wrapping_add(8)] {
            let mut changed = whole.clone();
            changed[at] = byte;
            if let Ok(file) = Gguf::from_bytes(changed) {
                visit(&file);
            }
        }
    }
}

#[test]
fn a_huge_number_anywhere_never_panics() {
    let whole = sample();
    for at in 0..whole.len().min(2048) - 8 {
        for number in [
            u64::MAX,
            1 << 63,
            i64::MAX as u64,
            u64::MAX - 31,
            1 << 40,
            1 << 32,
            u64::from(u32::MAX),
            0,
        ] {
            let mut changed = whole.clone();
            changed[at..at + 8].copy_from_slice(&number.to_le_bytes());
            if let Ok(file) = Gguf::from_bytes(changed) {
                visit(&file);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn several_changed_bytes_never_panic(changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12)) {
        let mut bytes = sample();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(file) = Gguf::from_bytes(bytes) {
            visit(&file);
        }
    }

    #[test]
    fn removed_and_repeated_pieces_never_panic(from in any::<proptest::sample::Index>(), len in 1_usize..40, twice: bool) {
        let mut bytes = sample();
        let from = from.index(bytes.len() - len);
        let piece: Vec<u8> = bytes[from..from + len].to_vec();
        bytes.splice(from..from + len, if twice { [piece.clone(), piece].concat() } else { Vec::new() });
        if let Ok(file) = Gguf::from_bytes(bytes) {
            visit(&file);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), tensors in 0_u64..4, metadata in 0_u64..4) {
        let _ = Gguf::from_bytes(bytes.clone());
        let mut raw = Raw::header(3, tensors, metadata);
        raw.0.extend(&bytes);
        if let Ok(file) = Gguf::from_bytes(raw.0) {
            visit(&file);
        }
    }

    /// Small integers make headers that get far before they fail.
    #[test]
    fn headers_of_small_numbers_never_panic(words in vec(0_u32..40, 0..200), tensors in 0_u64..3, metadata in 0_u64..3) {
        let mut raw = Raw::header(3, tensors, metadata);
        for word in words {
            raw = raw.u32(word);
        }
        if let Ok(file) = Gguf::from_bytes(raw.0) {
            visit(&file);
        }
    }
}

#[test]
fn what_is_no_gguf_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let message = |path: &Path| {
        let error = Gguf::open(path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "`{text}` names the path");
        assert!(error.hint().is_some(), "`{text}` has a hint");
        text
    };
    let missing = folder.path().join("missing.gguf");
    assert!(message(&missing).starts_with("cannot open "));
    assert!(Gguf::open(&missing).unwrap_err().source().is_some(), "says what the system said");
    assert!(message(folder.path()).ends_with("expected a GGUF file, got a folder"));
    assert!(message(&write("empty", b"")).ends_with("got an empty file"));
    assert!(message(&write("zip", b"PK\x03\x04rest of it")).ends_with(r#"got "PK\x03\x04rest""#));
    assert!(
        message(&write("short", b"GG"))
            .contains("expected the magic number of 4 bytes at offset 0, got 2 bytes")
    );
    assert!(
        message(&write("one", &Raw::header(1, 0, 0).0))
            .ends_with("expected GGUF version 2 or 3, got version 1")
    );
    let big_endian = [b"GGUF".as_slice(), &3_u32.to_be_bytes(), &[0; 16]].concat();
    assert!(message(&write("big", &big_endian)).contains("got a big endian one (version 3)"));
    assert!(
        message(&write("cut", &sample()[..100]))
            .contains("a tensor count that fits into the 84 bytes left at offset 8")
    );
}

#[test]
fn counts_and_lengths_that_lie_are_refused_before_anything_is_reserved() {
    assert!(matches!(
        Raw::header(3, u64::MAX, 0).error(),
        GgufError::Count { what: "tensor count", .. }
    ));
    assert!(matches!(
        Raw::header(3, 0, u64::MAX).error(),
        GgufError::Count { what: "metadata count", .. }
    ));
    assert!(matches!(
        Raw::header(3, 0, 1).u64(u64::MAX).u64(0).error(),
        GgufError::Truncated { needed: u64::MAX, .. }
    ));
    let array =
        |element: u32, count: u64| Raw::header(3, 0, 1).string(b"k").u32(9).u32(element).u64(count);
    for element in [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12] {
        for count in [u64::MAX, 1 << 61, 1 << 40, 9] {
            let error = array(element, count).u64(0).error();
            assert!(
                matches!(error, GgufError::Count { offset: 41, .. } | GgufError::Invalid { .. }),
                "{element}: {error}"
            );
        }
    }
    assert!(
        array(9, 1)
            .u32(4)
            .u64(1)
            .u32(0)
            .message()
            .ends_with("at offset 37, got an array of arrays")
    );
    assert!(array(13, 1).u64(0).message().ends_with("got 13"));
}

#[test]
fn values_without_meaning_are_refused() {
    let entry = || Raw::header(3, 0, 1).string(b"k");
    assert!(
        entry().u32(13).u64(0).message().contains("a value type from 0 to 12 at offset 33, got 13")
    );
    assert!(entry().u32(7).u8(2).message().contains("a boolean, 0 or 1 at offset 37, got 2"));
    assert!(
        Raw::header(3, 0, 1).string(b"\xff").u32(0).u8(1).message().contains("a name in UTF-8")
    );
    let twice = Raw::header(3, 0, 2).string(b"k").u32(0).u8(1).string(b"k").u32(0).u8(1);
    assert!(matches!(twice.error(), GgufError::DuplicateKey { key, offset: 38 } if key == "k"));
}

#[test]
fn tokens_that_are_not_utf8_load_and_are_told() {
    let raw = Raw::header(3, 0, 2)
        .string(b"tokens")
        .u32(9)
        .u32(8)
        .u64(2)
        .string(b"ok")
        .string(b"\xe2\x98");
    let file = Gguf::from_bytes(raw.string(b"name").u32(8).string(b"fine").0).unwrap();
    assert_eq!(file.metadata().strings("tokens").unwrap(), ["ok", "\u{fffd}"]);
    assert_eq!(file.metadata().lossy_keys(), ["tokens"]);
}

#[test]
fn tensors_that_lie_are_refused() {
    let one = |shape: &[u64], tensor_type, offset| {
        Raw::header(3, 1, 0).tensor("t", shape, tensor_type, offset).data(64)
    };
    assert!(Gguf::from_bytes(one(&[16], 0, 0).0).is_ok());
    assert!(matches!(one(&[17], 0, 0).error(), GgufError::TensorOutside { len: 68, .. }));
    assert!(matches!(one(&[16], 0, 32).error(), GgufError::TensorOutside { .. }));
    assert!(matches!(
        one(&[8], 0, 16).error(),
        GgufError::Unaligned { offset: 16, alignment: 32, .. }
    ));
    assert!(matches!(one(&[8], 0, u64::MAX - 31).error(), GgufError::TensorOutside { .. }));
    assert!(matches!(one(&[1, 1, 1, 1, 1], 0, 0).error(), GgufError::Invalid { .. }));
    for shape in
        [[1 << 32, 1 << 32].as_slice(), &[u64::MAX], &[1 << 62, 4], &[0], &[4, 0], &[1 << 61]]
    {
        assert!(matches!(one(shape, 0, 0).error(), GgufError::Shape { .. }), "{shape:?}");
    }
    assert!(one(&[33], 8, 0).message().contains("multiple of 32 for Q8_0, got shape [33]"));
    let unknown = one(&[256], 36, 0).message();
    assert!(
        unknown.contains("tensor `t`")
            && unknown.contains("Q4_K")
            && unknown.ends_with("got IQ4_NL_4_4 (type 36)")
    );
    assert!(one(&[256], 999, 0).message().ends_with("got the unknown type 999"));

    let two = |second: &str, offset| {
        Raw::header(3, 2, 0).tensor("t", &[9], 0, 0).tensor(second, &[4], 0, offset).data(96)
    };
    assert!(Gguf::from_bytes(two("u", 64).0).is_ok());
    assert!(matches!(two("t", 64).error(), GgufError::DuplicateTensor { name } if name == "t"));
    assert!(matches!(two("u", 32).error(), GgufError::Overlap { .. }));
    assert!(matches!(two("u", 0).error(), GgufError::Overlap { .. }));
}

#[test]
fn an_alignment_that_is_no_power_of_two_is_refused() {
    let with = |id: u32, alignment: u32| {
        Raw::header(3, 0, 1).string(b"general.alignment").u32(id).u32(alignment)
    };
    for alignment in [0, 3, 24, u32::MAX] {
        assert!(matches!(with(4, alignment).error(), GgufError::Alignment { .. }), "{alignment}");
    }
    assert!(Gguf::from_bytes(with(4, 1 << 31).0).is_ok(), "nothing is there to align");
    assert!(matches!(with(6, 32).error(), GgufError::WrongType { .. }), "a float");
}

#[test]
fn a_scalar_reads_as_one_element() {
    let file = Gguf::from_bytes(Raw::header(2, 1, 0).tensor("t", &[], 0, 0).data(4).0).unwrap();
    assert_eq!(file.tensors()[0].shape, [1]);
    assert_eq!(file.tensor("t").unwrap().to_f32().unwrap(), [0.0]);
}
