//! What `quantization_config` says of a folder's weights.

use serde_json::Value;

use super::{
    ConfigError,
    json::{Fields, wrong},
};

const KEY: &str = "quantization_config";
const METHOD: &str = "quant_method";
const BLOCK: &str = "weight_block_size";

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
        /// Inputs that share a scale.
        group: Group,
    },
    /// The same as AWQ stores them.
    Awq {
        /// Inputs that share a scale.
        group: Group,
    },
}

/// How many inputs of a row share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The file does not say.
    Unsaid,
    /// The whole row.
    Row,
    /// So many.
    Of(usize),
}

/// Fields of bitsandbytes, whose tensors say everything about them.
const BITSANDBYTES: &[&str] = &[
    METHOD,
    "load_in_4bit",
    "load_in_8bit",
    "_load_in_4bit",
    "_load_in_8bit",
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
    "bnb_4bit_compute_dtype",
    "bnb_4bit_quant_storage",
    "llm_int8_enable_fp32_cpu_offload",
    "llm_int8_has_fp16_weight",
    "llm_int8_skip_modules",
    "llm_int8_threshold",
];

/// Fields of FP8. Activations stay floats here, and tensors say which matrices are floats.
const FP8: &[&str] = &[
    METHOD,
    "fmt",
    BLOCK,
    "activation_scheme",
    "modules_to_not_convert",
    "ignored_layers",
    "dequantize",
    "scale_fmt",
];

/// Fields of GPTQ: those that are read, and how the integers were found and are multiplied.
const GPTQ: &[&str] = &[
    METHOD,
    "bits",
    "group_size",
    "checkpoint_format",
    "format",
    "pack_dtype",
    "dynamic",
    "rotation",
    "is_marlin_format",
    "desc_act",
    "static_groups",
    "sym",
    "lm_head",
    "true_sequential",
    "act_group_aware",
    "damp_percent",
    "damp_auto_increment",
    "mse",
    "method",
    "meta",
    "version",
    "backend",
    "dataset",
    "tokenizer",
    "batch_size",
    "pad_token_id",
    "model_seqlen",
    "model_name_or_path",
    "model_file_base_name",
    "block_name_to_quantize",
    "module_name_preceding_first_block",
    "modules_in_block_to_quantize",
    "cache_block_outputs",
    "max_input_length",
    "use_cuda_fp16",
    "use_exllama",
    "disable_exllama",
    "exllama_config",
];

/// Fields of AWQ.
const AWQ: &[&str] = &[
    METHOD,
    "bits",
    "w_bit",
    "group_size",
    "q_group_size",
    "version",
    "zero_point",
    "modules_to_not_convert",
    "backend",
    "do_fuse",
    "fuse_max_seq_len",
    "modules_to_fuse",
    "exllama_config",
];

/// Fields of compressed-tensors, and of its groups and their weights.
const COMPRESSED: &[&str] = &[
    METHOD,
    "format",
    "config_groups",
    "ignore",
    "global_compression_ratio",
    "quantization_status",
    "version",
    "run_compressed",
    "kv_cache_scheme",
    "sparsity_config",
    "transform_config",
];
const COMPRESSED_GROUP: &[&str] =
    &["targets", "weights", "format", "input_activations", "output_activations"];
const COMPRESSED_WEIGHTS: &[&str] = &[
    "num_bits",
    "type",
    "symmetric",
    "strategy",
    "group_size",
    "block_structure",
    "dynamic",
    "actorder",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "zp_dtype",
];

/// Reads `quantization_config`; what is in a layout that is not read is refused.
pub(super) fn quantization(fields: Fields<'_>) -> Result<Quantization, ConfigError> {
    let Some(given) = fields.opt_object(KEY)? else { return Ok(Quantization::None) };
    // Early files of bitsandbytes have no method, and mean this one.
    let method = given.opt_string(METHOD)?;
    let known = |list: &[&str]| {
        let beside = format!("the method {}", method.unwrap_or("bitsandbytes"));
        given.known(KEY, &beside, &[list])
    };
    let four = given.opt_bool("load_in_4bit")?.unwrap_or(false);
    let eight = given.opt_bool("load_in_8bit")?.unwrap_or(false);
    let refuse = |got: Value| {
        let expected = "bitsandbytes in 4 bits, fp8, gptq or awq in 4 bits, compressed-tensors in \
                        8 bits, or none: float32, float16 and bfloat16 are read, too";
        Err(wrong(KEY, expected, &got))
    };
    match method {
        None | Some("bitsandbytes") => match (method, four, eight) {
            (_, true, false) => known(BITSANDBYTES).map(|()| Quantization::FourBit),
            (_, true, true) => refuse("load_in_4bit and load_in_8bit".into()),
            (_, false, true) => refuse("bitsandbytes in 8 bits".into()),
            (Some(_), false, false) => refuse("bitsandbytes without load_in_4bit".into()),
            (None, false, false) => refuse(Value::Object(given.0.clone())),
        },
        Some(other) if four || eight => refuse(other.into()),
        Some("fp8") => {
            known(FP8)?;
            fp8(given)
        }
        Some("gptq") => {
            known(GPTQ)?;
            bits(given, 4)?;
            given.only("pack_dtype", &"int32".into(), "int32")?;
            for key in ["rotation", "is_marlin_format"] {
                given.nothing(KEY, key)?;
            }
            parts_alike(given)?;
            let format = given.opt_string("checkpoint_format")?.or(given.opt_string("format")?);
            let offset = match format.unwrap_or("gptq") {
                "gptq" => 1,
                "gptq_v2" => 0,
                other => return refuse(format!("gptq in the format {other}").into()),
            };
            Ok(Quantization::Gptq { offset, group: group(given)? })
        }
        Some("awq") => {
            known(AWQ)?;
            bits(given, 4)?;
            given.only("zero_point", &true.into(), "true: groups have zeros")?;
            match given.opt_string("version")?.unwrap_or("gemm").to_ascii_lowercase().as_str() {
                "gemm" => Ok(Quantization::Awq { group: group(given)? }),
                other => refuse(format!("awq in the version {other}").into()),
            }
        }
        Some("compressed-tensors") => {
            known(COMPRESSED)?;
            compressed(given)
        }
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

/// Inputs that share a scale; -1 says that a row does.
fn group(given: Fields<'_>) -> Result<Group, ConfigError> {
    let name = ["group_size", "q_group_size"].into_iter().find(|name| given.get(name).is_some());
    let Some(name) = name else { return Ok(Group::Unsaid) };
    let size = given.read(name, "-1 or a number of inputs", Value::as_i64)?;
    match size {
        Some(-1) => Ok(Group::Row),
        Some(size @ 1..) => Ok(Group::Of(usize::try_from(size).unwrap_or(usize::MAX))),
        other => {
            let key = format!("{KEY}.{name}");
            Err(wrong(&key, "-1 or a number of inputs", &other.map_or(Value::Null, Value::from)))
        }
    }
}

/// Refuses matrices with settings of their own; that a matrix is in floats, its tensor says.
fn parts_alike(given: Fields<'_>) -> Result<(), ConfigError> {
    let Some(parts) = given.opt_object("dynamic")? else { return Ok(()) };
    match parts.0.iter().find(|(pattern, _)| !pattern.starts_with("-:")) {
        Some((pattern, value)) => {
            let key: String = pattern.chars().take(60).collect();
            let expected = "the same settings for all matrices";
            Err(wrong(&format!("{KEY}.dynamic.{key}"), expected, value))
        }
        None => Ok(()),
    }
}

fn fp8(given: Fields<'_>) -> Result<Quantization, ConfigError> {
    given.only("fmt", &"e4m3".into(), "e4m3")?;
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
    for key in ["kv_cache_scheme", "transform_config"] {
        given.nothing(KEY, key)?;
    }
    if let Some(sparsity) = given.opt_object("sparsity_config")? {
        sparsity.only("format", &"dense".into(), "dense")?;
    }
    let format = given.opt_string("format")?.unwrap_or_default();
    let (kind, quantization) = match format {
        "int-quantized" => ("int", Quantization::Int8),
        "float-quantized" => ("float", Quantization::Fp8 { block: None }),
        other => {
            let expected = "int-quantized or float-quantized";
            return Err(wrong("quantization_config.format", expected, &other.into()));
        }
    };
    let groups = given.opt_object("config_groups")?;
    for (name, value) in groups.iter().flat_map(|groups| groups.0.iter()) {
        let name: String = name.chars().take(60).collect();
        let place = format!("{KEY}.config_groups.{name}");
        let group = Fields(value.as_object().ok_or_else(|| wrong(&place, "an object", value))?);
        group.known(&place, format, &[COMPRESSED_GROUP])?;
        group.only("format", &format.into(), format)?;
        let key = format!("{place}.weights");
        let weights = group.opt_object("weights")?.ok_or(ConfigError::Missing(key.clone()))?;
        weights.known(&key, format, &[COMPRESSED_WEIGHTS])?;
        let strategy = weights.opt_string("strategy")?.unwrap_or_default();
        let plain = weights.opt_size("num_bits")? == Some(8)
            && weights.opt_string("type")?.is_none_or(|said| said == kind)
            && weights.opt_bool("symmetric")? != Some(false)
            && ["channel", "tensor"].contains(&strategy);
        if !plain {
            let expected = format!("8 bits of {kind}, symmetric, a scale per channel or tensor");
            return Err(wrong(&key, expected, &Value::Object(weights.0.clone())));
        }
        for key in ["block_structure", "actorder"] {
            weights.nothing(&format!("{place}.weights"), key)?;
        }
        weights.only("group_size", &(-1).into(), "none or -1: a scale per channel or tensor")?;
    }
    Ok(quantization)
}
