//! Files and blocks made by the `gguf` package of the llama.cpp project, see
//! `data/make_gguf_oracle.py`.

mod support;

use speckv_formats::{
    gguf::{Array, Gguf, Value},
    quant::{self, TensorType},
};

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn every_type_decodes_to_the_same_bits_as_the_gguf_package() {
    let mut seen = Vec::new();
    let lines =
        include_str!("data/blocks.txt").lines().chain(include_str!("data/read.txt").lines());
    for line in lines {
        let [name, blocks, values] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let tensor_type = TensorType::ALL.into_iter().find(|t| t.name() == name).unwrap();
        let bytes = bytes_of(blocks);
        let expected: Vec<u32> = bytes_of(values)
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        let mut out = vec![0.0; expected.len()];
        quant::dequantize(tensor_type, &bytes, &mut out).unwrap();
        for (i, (got, expected)) in out.iter().zip(expected).enumerate() {
            assert_eq!(
                got.to_bits(),
                expected,
                "{name} element {i}: {got}, expected {}",
                f32::from_bits(expected)
            );
        }
        seen.push(tensor_type);
    }
    assert_eq!(seen.len(), TensorType::ALL.len() - 1, "every type but F32");
}

#[test]
fn a_file_of_the_gguf_package_reads_as_it_was_written() {
    let file = Gguf::from_bytes(include_bytes!("data/oracle.bin").to_vec()).unwrap();
    assert_eq!(file.version(), 3);
    let expected: [(&str, Value); 17] = [
        ("general.architecture", "llama".into()),
        ("u8", 200_u8.into()),
        ("i8", (-100_i8).into()),
        ("u16", 60_000_u16.into()),
        ("i16", (-30_000_i16).into()),
        ("u32", 4_000_000_000_u32.into()),
        ("i32", (-2_000_000_000_i32).into()),
        ("u64", ((1_u64 << 63) + 1).into()),
        ("i64", (-(1_i64 << 62)).into()),
        ("f32", 0.5_f32.into()),
        ("f64", (-1e300_f64).into()),
        ("bool", true.into()),
        ("string", "snowman \u{2603}".into()),
        ("strings", vec!["a", "", "\u{120}the"].into()),
        ("integers", Value::Array(Array::I32(vec![1, -2, 3]))),
        ("floats", Value::Array(Array::F32(vec![0.25, -8.0]))),
        ("bools", Value::Array(Array::Bool(vec![true, false, true]))),
    ];
    let got: Vec<(&str, Value)> =
        file.metadata().iter().map(|(key, value)| (key, value.clone())).collect();
    assert_eq!(got, expected);

    let matrix = file.tensor("matrix").unwrap();
    assert_eq!(matrix.info.shape, [3, 2]);
    assert_eq!(matrix.to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let packed = file.tensor("packed").unwrap();
    assert_eq!(
        (packed.info.shape.as_slice(), packed.info.tensor_type),
        ([32, 2].as_slice(), TensorType::Q8_0)
    );
    assert_eq!((packed.info.rows(), packed.row(1).len()), (2, 34));
    for (i, value) in packed.to_f32().unwrap().into_iter().enumerate() {
        assert!((value - i as f32).abs() <= 63.0 / 127.0 / 2.0 + 0.02, "element {i}: {value}");
    }
}

#[test]
fn weights_of_real_models_are_centred_small_numbers() {
    for (name, _) in support::MODELS {
        let Some(file) = support::model(name) else { continue };
        assert!(file.metadata().lossy_keys().is_empty());
        assert!(file.metadata().strings("tokenizer.ggml.tokens").unwrap().len() > 40_000);
        for info in file.tensors().iter().filter(|info| info.shape.len() == 2) {
            let tensor = file.tensor(&info.name).unwrap();
            let rows = info.rows().min(64);
            let mut values = vec![0.0; rows * info.row_len()];
            quant::dequantize(
                info.tensor_type,
                &tensor.bytes[..rows * info.row_bytes()],
                &mut values,
            )
            .unwrap();
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let deviation =
                (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
            assert!(
                (0.002..0.5).contains(&deviation),
                "{name} {}: standard deviation {deviation}",
                info.name
            );
            assert!(
                mean.abs() < 0.1 * deviation,
                "{name} {}: mean {mean}, deviation {deviation}",
                info.name
            );
            file.release(info);
            assert_eq!(file.tensor(&info.name).unwrap().row(0)[0], tensor.row(0)[0]);
        }
    }
}
