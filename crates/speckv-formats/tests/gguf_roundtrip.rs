//! What the writer writes, the reader reads.

use std::path::Path;

use proptest::{collection::vec, prelude::*};
use speckv_formats::{
    gguf::{ALIGNMENT_KEY, Array, Gguf, GgufError, Value, Writer},
    quant::{self, TensorType},
};

fn array() -> impl Strategy<Value = Array> {
    prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(Array::U8),
        vec(any::<i8>(), 0..9).prop_map(Array::I8),
        vec(any::<u16>(), 0..9).prop_map(Array::U16),
        vec(any::<i16>(), 0..9).prop_map(Array::I16),
        vec(any::<u32>(), 0..9).prop_map(Array::U32),
        vec(any::<i32>(), 0..9).prop_map(Array::I32),
        vec(any::<u64>(), 0..9).prop_map(Array::U64),
        vec(any::<i64>(), 0..9).prop_map(Array::I64),
        vec(any::<f32>(), 0..9).prop_map(Array::F32),
        vec(any::<f64>(), 0..9).prop_map(Array::F64),
        vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        vec(".{0,8}", 0..9).prop_map(Array::String),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        ".{0,12}".prop_map(Value::String),
        array().prop_map(Value::Array),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_written_file_reads_back(
        metadata in proptest::collection::btree_map("[a-z.]{0,12}", value(), 0..8),
        tensors in proptest::collection::btree_map(
            "[a-z.0-9]{0,12}",
            (proptest::sample::select(TensorType::ALL.to_vec()), vec(1_usize..4, 1..=4), any::<u64>()),
            0..6,
        ),
        version in 2_u32..=3,
        alignment in proptest::option::of((0_u32..10).prop_map(|exponent| 1_u32 << exponent)),
    ) {
        let mut writer = Writer::new();
        writer.set_version(version).unwrap();
        for (key, value) in &metadata {
            writer.set(key.clone(), value.clone());
        }
        if let Some(alignment) = alignment {
            writer.set(ALIGNMENT_KEY, alignment);
        }
        let tensors: Vec<_> = tensors.into_iter().map(|(name, (tensor_type, mut shape, seed))| {
            shape[0] *= tensor_type.block_len();
            let blocks = shape.iter().product::<usize>() / tensor_type.block_len();
            (name, tensor_type, shape, quant::random_blocks(tensor_type, blocks, seed))
        }).collect();
        for (name, tensor_type, shape, bytes) in &tensors {
            writer.tensor(name.clone(), shape, *tensor_type, bytes.as_slice()).unwrap();
        }

        let file = Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap();
        prop_assert_eq!(file.version(), version);
        prop_assert_eq!(file.metadata().len(), metadata.len() + usize::from(alignment.is_some()));
        for (key, value) in &metadata {
            // Compared in words, as a NaN is not equal to itself.
            prop_assert_eq!(format!("{:?}", file.metadata().get(key)), format!("{:?}", Some(value)));
        }
        prop_assert_eq!(file.tensors().len(), tensors.len());
        for (name, tensor_type, shape, bytes) in &tensors {
            let tensor = file.tensor(name).unwrap();
            prop_assert_eq!(tensor.info.tensor_type, *tensor_type);
            prop_assert_eq!(&tensor.info.shape, shape);
            prop_assert_eq!(tensor.info.offset % u64::from(alignment.unwrap_or(32)), 0);
            prop_assert_eq!(tensor.bytes, bytes.as_slice());
        }
    }
}

#[test]
fn a_saved_file_maps_to_the_same_bytes_and_survives_release() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let weights = quant::random_blocks(TensorType::Q4K, 400, 1);
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.tensor("small", &[3], TensorType::F32, vec![0; 12]).unwrap();
    writer.tensor("weights", &[256, 400], TensorType::Q4K, weights.as_slice()).unwrap();
    writer.save(&path).unwrap();

    let file = Gguf::open(&path).unwrap();
    assert_eq!(file.path(), Some(path.as_path()));
    assert_eq!(file.file_size(), std::fs::metadata(&path).unwrap().len());
    assert_eq!(std::fs::read(&path).unwrap(), writer.to_bytes().unwrap());
    assert_eq!(file.tensor("weights").unwrap().bytes, weights);
    for info in file.tensors() {
        file.release(info);
    }
    assert_eq!(file.tensor("weights").unwrap().bytes, weights);
    assert!(file.tensor("absent").is_none());
}

#[cfg(target_os = "linux")]
#[test]
fn release_gives_the_pages_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = Writer::new();
    writer.tensor("weights", &[32 << 20], TensorType::F16, vec![7; 64 << 20]).unwrap();
    writer.save(&path).unwrap();
    drop(writer);
    // Resident pages that belong to files, in pages: the third number.
    let resident = || -> usize {
        std::fs::read_to_string("/proc/self/statm")
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .parse()
            .unwrap()
    };
    let file = Gguf::open(&path).unwrap();
    let before = resident();
    let sum: u64 = file.tensor("weights").unwrap().bytes.iter().map(|&byte| u64::from(byte)).sum();
    assert_eq!(sum, 7 * (64 << 20));
    let read = resident();
    file.release(&file.tensors()[0]);
    let released = resident();
    assert!(read > before, "reading maps pages: {before} then {read}");
    assert!(
        released <= before + (read - before) / 10,
        "release unmaps them: {before}, {read}, {released}"
    );
}

#[test]
fn integers_of_any_width_are_taken_where_they_fit() {
    let mut writer = Writer::new();
    writer
        .set("i8", -1_i8)
        .set("u16", 7_u16)
        .set("i64", 1_i64 << 40)
        .set("f64", 0.5_f64)
        .set("s", "x");
    writer
        .set("a", vec![1_u64, 2])
        .set("wide", vec![1_i64 << 40])
        .set("f", vec![0.5_f64])
        .set("b", vec![true]);
    let file = Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.u32("u16").unwrap(), 7);
    assert_eq!(metadata.i32("i8").unwrap(), -1);
    assert_eq!(metadata.u64("i64").unwrap(), 1 << 40);
    assert_eq!(metadata.f32("f64").unwrap(), 0.5);
    assert_eq!(*metadata.i32s("a").unwrap(), [1, 2]);
    assert_eq!(*metadata.u32s("a").unwrap(), [1, 2]);
    assert_eq!(*metadata.f32s("f").unwrap(), [0.5]);
    assert_eq!(metadata.bools("b").unwrap(), [true]);
    assert_eq!(metadata.opt_u32("absent").unwrap(), None);

    let message = |result: Result<u32, GgufError>| result.unwrap_err().to_string();
    let expected = "expected an unsigned integer of at most 32 bits";
    assert_eq!(
        message(metadata.u32("i64")),
        format!("metadata key `i64`: {expected}, got i64 1099511627776")
    );
    assert_eq!(message(metadata.u32("i8")), format!("metadata key `i8`: {expected}, got i8 -1"));
    assert_eq!(
        message(metadata.u32("s")),
        format!("metadata key `s`: {expected}, got string \"x\"")
    );
    assert!(
        matches!(metadata.u32("absent"), Err(GgufError::MissingKey { key, .. }) if key == "absent")
    );
    assert!(matches!(metadata.opt_string("u16"), Err(GgufError::WrongType { .. })));
    assert!(matches!(metadata.i32s("wide"), Err(GgufError::WrongType { .. })));
    assert!(matches!(metadata.f32("u16"), Err(GgufError::WrongType { .. })));
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut writer = Writer::new();
    assert!(matches!(writer.set_version(1), Err(GgufError::Version { version: 1 })));
    let tensor = |writer: &mut Writer<'_>, shape: &[usize], len| {
        writer.tensor("t", shape, TensorType::Q8_0, vec![0; len]).map(drop).unwrap_err().to_string()
    };
    assert!(tensor(&mut writer, &[31], 34).contains("multiple of 32 for Q8_0, got shape [31]"));
    assert!(tensor(&mut writer, &[], 34).contains("1 to 4 dimensions"));
    assert!(tensor(&mut writer, &[32, 0], 0).contains("1 to 4 dimensions"));
    assert!(
        tensor(&mut writer, &[32, 2], 34)
            .contains("expected 68 bytes for its shape and type, got 34")
    );
    writer.tensor("t", &[32], TensorType::Q8_0, vec![0; 34]).unwrap();
    assert!(tensor(&mut writer, &[32], 34).contains("`t` again"));
    writer.set(ALIGNMENT_KEY, 24_u32);
    assert!(matches!(writer.to_bytes(), Err(GgufError::Alignment { alignment: 24 })));
    assert!(matches!(writer.save(Path::new("never-made.gguf")), Err(GgufError::Alignment { .. })));
    assert!(!Path::new("never-made.gguf").exists());
}
