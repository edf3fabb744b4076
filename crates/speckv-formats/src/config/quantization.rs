//! What `quantization_config` says of a folder's weights.

use serde_json::Value;

use super::{
    ConfigError,
    json::{Fields, wrong},
};

const KEY: &str = "quantization_config";

/// How the matrices of a folder are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantization {
    /// As floats.
    #[default]
    None,
    /// In the 4 bits of bitsandbytes, whose tensors say everything else.
    FourBit,
    /// As floats of 8 bits, each times a scale.
    Fp8 {
        /// Rows and columns that share a scale; `None`: a row, or all.
        block: Option<[usize; 2]>,
    },
    /// As integers of 8 bits, each times the scale of its row, or of all.
    Int8,
    /// In 4 bits with scales and zeros per group of inputs, as GPTQ stores them.
    Gptq {
        /// What the stored zeros lack.
        offset: u8,
    },
    /// The same as AWQ stores them.
    Awq,
}

/// Reads `quantization_config`; what is in a layout that is not read is refused.
pub(super) fn quantization(fields: Fields<'_>) -> Result<Quantization, ConfigError> {
    let Some(given) = fields.opt_object(KEY)? else { return Ok(Quantization::None) };
    // Early files of bitsandbytes have no method, and mean this one.
    let method = given.opt_string("quant_method")?;
    let four = given.opt_bool("load_in_4bit")?.unwrap_or(false);
    let eight = given.opt_bool("load_in_8bit")?.unwrap_or(false);
    let refuse = |got: Value| {
        let expected = "bitsandbytes in 4 bits, fp8, gptq or awq in 4 bits, compressed-tensors in \
                        8 bits, or none: float32, float16 and bfloat16 are read, too";
        Err(wrong(KEY, expected, &got))
    };
    match method {
        None | Some("bitsandbytes") => match (method, four, eight) {
            (_, true, false) => Ok(Quantization::FourBit),
            (_, true, true) => refuse("load_in_4bit and load_in_8bit".into()),
            (_, false, true) => refuse("bitsandbytes in 8 bits".into()),
            (Some(_), false, false) => refuse("bitsandbytes without load_in_4bit".into()),
            (None, false, false) => refuse(Value::Object(given.0.clone())),
        },
        Some(other) if four || eight => refuse(other.into()),
        Some("fp8") => fp8(given),
        Some("gptq") => {
            bits(given, 4)?;
            let offset = match given.opt_string("checkpoint_format")?.unwrap_or("gptq") {
                "gptq" => 1,
                "gptq_v2" => 0,
                other => return refuse(format!("gptq in the format {other}").into()),
            };
            Ok(Quantization::Gptq { offset })
        }
        Some("awq") => {
            bits(given, 4)?;
            match given.opt_string("version")?.unwrap_or("gemm").to_ascii_lowercase().as_str() {
                "gemm" => Ok(Quantization::Awq),
                other => refuse(format!("awq in the version {other}").into()),
            }
        }
        Some("compressed-tensors") => compressed(given),
        Some(other) => refuse(other.into()),
    }
}

/// Refuses other numbers of bits.
fn bits(given: Fields<'_>, expected: usize) -> Result<(), ConfigError> {
    match given.opt_size("bits")?.or(given.opt_size("w_bit")?) {
        Some(bits) if bits == expected => Ok(()),
        other => {
            let got = other.map_or(Value::Null, Value::from);
            Err(wrong("quantization_config.bits", expected.to_string(), &got))
        }
    }
}

fn fp8(given: Fields<'_>) -> Result<Quantization, ConfigError> {
    given.only("fmt", &"e4m3".into(), "e4m3")?;
    const BLOCK: &str = "weight_block_size";
    let Some(sizes) = given.read(BLOCK, "an array", Value::as_array)? else {
        return Ok(Quantization::Fp8 { block: None });
    };
    let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
    match sizes.as_slice() {
        [rows, columns] => match (size(rows), size(columns)) {
            (Some(rows @ 1..), Some(columns @ 1..)) => {
                Ok(Quantization::Fp8 { block: Some([rows, columns]) })
            }
            _ => Err(wrong(BLOCK, "two sizes of at least 1", &Value::Array(sizes.clone()))),
        },
        _ => Err(wrong(BLOCK, "two sizes of at least 1", &Value::Array(sizes.clone()))),
    }
}

fn compressed(given: Fields<'_>) -> Result<Quantization, ConfigError> {
    let format = given.opt_string("format")?.unwrap_or_default();
    let groups = given.opt_object("config_groups")?;
    for (name, group) in groups.iter().flat_map(|groups| groups.0.iter()) {
        let weights = &group["weights"];
        let plain = weights["num_bits"] == 8
            && weights["symmetric"] != false
            && ["channel", "tensor"].contains(&weights["strategy"].as_str().unwrap_or_default());
        if !plain {
            let key = format!("quantization_config.config_groups.{name}.weights");
            let expected = "8 bits, symmetric, with a scale per channel or tensor";
            return Err(wrong(&key, expected, weights));
        }
    }
    match format {
        "int-quantized" => Ok(Quantization::Int8),
        "float-quantized" => Ok(Quantization::Fp8 { block: None }),
        other => {
            let expected = "int-quantized or float-quantized";
            Err(wrong("quantization_config.format", expected, &other.into()))
        }
    }
}
