//! `speckv inspect`: what a model file holds, whether it can run, and how fast here.

mod here;

use std::path::Path;

use serde_json::{Value as Json, json};
use speckv::draft::parallel_depth;
use speckv_formats::{
    checkpoint::Checkpoint,
    config::Config,
    gguf::{Array, Value},
    quant::Rows,
};
use speckv_local::{
    backend::CacheType,
    failure::{Outcome, chain},
    found_models::obstacles,
    model_source::ModelSource,
    pair, units,
};

use here::Here;

use crate::{args::InspectArgs, interrupt, printer::Printer};

/// Elements of an array that are shown.
const SHOWN: usize = 8;

/// What a file holds, summed up.
struct Summary {
    /// Most bytes first.
    types: Vec<Kind>,
    parameters: u64,
    /// Bytes of weights that one token's pass reads: all but the embedding, of which it reads one
    /// row.
    bytes_per_token: u64,
    config: Option<Config>,
    /// Mask tokens of a draft that proposes several tokens in one pass.
    masks: Vec<u32>,
    /// Why the file cannot run; empty if it can.
    obstacles: Vec<String>,
}

/// The tensors of one type.
struct Kind {
    name: &'static str,
    tensors: usize,
    bytes: u64,
    elements: u64,
}

pub(super) fn run(args: &InspectArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let path = source.file(&args.model, &interrupt::install(), printer)?;
    let file = pair::open(&path)?;
    let summary = Summary::of(&file);
    let here = match &summary.config {
        Some(config) if summary.obstacles.is_empty() => {
            Some(Here::measure(&file, &path, config, &source)?)
        }
        _ => None,
    };
    if args.json {
        let mut json = as_json(&file, &summary);
        json["here"] = here.map_or(Json::Null, |here| here.as_json());
        printer.json(&json)
    } else {
        let mut text = as_text(&file, &summary);
        if let Some(here) = here {
            text += &here.as_text();
        }
        printer.data(&text)
    }
}

impl Summary {
    fn of(file: &Checkpoint) -> Self {
        let mut types: Vec<Kind> = Vec::new();
        for tensor in file.contents() {
            let (name, bytes, elements) =
                (tensor.kind(), tensor.byte_len() as u64, tensor.elements() as u64);
            match types.iter_mut().find(|kind| kind.name == name) {
                Some(kind) => {
                    kind.tensors += 1;
                    kind.bytes += bytes;
                    kind.elements += elements;
                }
                None => types.push(Kind { name, tensors: 1, bytes, elements }),
            }
        }
        types.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));

        let all: u64 = types.iter().map(|kind| kind.bytes).sum();
        let embedding = file.stored("token_embd.weight");
        let row = embedding.map_or(0, |tensor| {
            tensor.byte_len() as u64 / tensor.shape().get(1).map_or(1, |&rows| rows as u64).max(1)
        });
        let embedding = embedding.map_or(0, |tensor| tensor.byte_len() as u64);
        // Without an output matrix of its own the embedding is read whole, as the output head.
        let separate = file.stored("output.weight").is_some();
        let bytes_per_token = if separate { all - embedding + row } else { all + row };

        let mut obstacles = obstacles(file);
        let config = file.config().ok();
        let masks = file.mask_tokens().map_err(|error| obstacles.push(chain(&error)));
        let parameters = types.iter().map(|kind| kind.elements).sum();
        let masks = masks.unwrap_or_default();
        Summary { types, parameters, bytes_per_token, config, masks, obstacles }
    }

    /// Bytes of keys and values per token of context.
    fn cache_bytes(&self, cache: CacheType) -> Option<usize> {
        let config = self.config.as_ref()?;
        cache.takes(config.head_dim).then(|| cache.position_bytes(config))
    }
}

fn as_json(file: &Checkpoint, summary: &Summary) -> Json {
    let types: Vec<Json> = summary
        .types
        .iter()
        .map(|kind| json!({ "type": kind.name, "tensors": kind.tensors, "bytes": kind.bytes }))
        .collect();
    let (version, metadata) = match file {
        Checkpoint::Gguf(file) => {
            let entries =
                file.metadata().iter().map(|(key, value)| (key.to_owned(), value_json(value)));
            (Some(file.version()), Json::Object(entries.collect()))
        }
        Checkpoint::Folder(folder) => (None, config_json(folder.path())),
    };
    json!({
        "path": file.path().map(|path| path.display().to_string()),
        "file_size": file.file_size(),
        "format": if version.is_some() { "gguf" } else { "safetensors" },
        "gguf_version": version,
        "weight_files": match file {
            Checkpoint::Gguf(file) => file.files(),
            Checkpoint::Folder(folder) => folder.shards(),
        },
        "parameters": summary.parameters,
        "context_length": summary.config.as_ref().map(|config| config.context_length),
        "tensor_types": types,
        "bytes_per_token": summary.bytes_per_token,
        "cache_bytes_per_token": summary.cache_bytes(CacheType::F16),
        "cache_bytes_per_token_q8_0": summary.cache_bytes(CacheType::Q8_0),
        "mask_tokens": summary.masks,
        "supported": summary.obstacles.is_empty(),
        "obstacles": summary.obstacles,
        "metadata": metadata,
    })
}

/// What the folder's `config.json` says; opening has read it once already.
fn config_json(folder: &Path) -> Json {
    let bytes = std::fs::read(folder.join("config.json")).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A value as JSON; of long arrays the length and the first elements.
fn value_json(value: &Value) -> Json {
    match value {
        Value::F32(x) => json!(x),
        Value::F64(x) => json!(x),
        Value::Bool(x) => json!(x),
        Value::String(x) => json!(x),
        Value::U64(x) => json!(x),
        Value::Array(array) => {
            let first: Vec<Json> = elements(array).iter().map(value_json).collect();
            if array.len() <= SHOWN {
                Json::Array(first)
            } else {
                json!({ "length": array.len(), "first": first })
            }
        }
        // All other integers fit 64 bits with sign.
        other => json!(other.as_integer().and_then(|x| i64::try_from(x).ok())),
    }
}

fn elements(array: &Array) -> Vec<Value> {
    (0..array.len().min(SHOWN)).filter_map(|index| array.get(index)).collect()
}

fn as_text(file: &Checkpoint, summary: &Summary) -> String {
    let mut lines = Vec::new();
    if let Some(path) = file.path() {
        lines.push(path.display().to_string());
    }
    let kind = match file {
        Checkpoint::Gguf(file) if file.files() > 1 => {
            format!("GGUF version {} in {} files", file.version(), file.files())
        }
        Checkpoint::Gguf(file) => format!("GGUF version {}", file.version()),
        Checkpoint::Folder(folder) if folder.shards() == 1 => {
            "Hugging Face folder with one file of weights".into()
        }
        Checkpoint::Folder(folder) => {
            format!("Hugging Face folder with {} files of weights", folder.shards())
        }
    };
    let (size, parameters) = (units::bytes(file.file_size()), summary.parameters as f64 / 1e6);
    lines.push(format!("{kind}, {size}, {parameters:.1} million parameters"));
    lines.push(String::new());
    lines.push("metadata".into());
    match file {
        Checkpoint::Gguf(file) => {
            lines.extend(
                file.metadata()
                    .iter()
                    .map(|(key, value)| format!("  {key} = {}", value.describe())),
            );
        }
        Checkpoint::Folder(folder) => {
            let config = config_json(folder.path());
            let fields = config.as_object().into_iter().flatten();
            lines.extend(fields.map(|(key, value)| format!("  {key} = {value}")));
        }
    }
    lines.push(String::new());
    lines.push("tensors".into());
    for Kind { name, tensors, bytes, elements } in &summary.types {
        let bits = 8.0 * *bytes as f64 / *elements as f64;
        lines.push(format!(
            "  {name:7} {tensors:5} tensors  {:>9}  {bits:.2} bits per weight",
            units::bytes(*bytes)
        ));
    }
    lines.push(String::new());
    lines.push(format!("weights read per token  {}", units::bytes(summary.bytes_per_token)));
    if let (Some(config), Some(cache)) = (&summary.config, summary.cache_bytes(CacheType::F16)) {
        let small = summary.cache_bytes(CacheType::Q8_0);
        let small = small
            .map_or(String::new(), |bytes| format!(", in q8_0 {}", units::bytes(bytes as u64)));
        lines.push(format!("cache per token         {}{small}", units::bytes(cache as u64)));
        lines.push(format!("longest context         {} tokens", config.context_length));
    }
    if !summary.masks.is_empty() {
        let tokens = parallel_depth(&summary.masks);
        lines.push(format!("as a draft              up to {tokens} tokens in one pass"));
    }
    if summary.obstacles.is_empty() {
        lines.push("supported               yes".into());
    } else {
        lines.push("supported               no".into());
        lines.extend(summary.obstacles.iter().map(|obstacle| format!("  {obstacle}")));
    }
    lines.join("\n") + "\n"
}
