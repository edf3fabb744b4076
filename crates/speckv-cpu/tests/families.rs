//! Every dense family: a folder as `transformers` saves it and the file that llama.cpp's converter
//! makes of it, against the logits of `transformers`; and what every model must keep.

#[path = "support/families.rs"]
mod reference;

use std::{num::NonZeroUsize, sync::Arc};

use reference::{bytes, distance, folder, numbers, part, reference, tensors, write_folder};
use serde_json::Value;
use speckv::{
    conformance::{check_model, decode_plainly},
    controller::Fixed,
    draft::{Drafter, ModelDrafter, NgramDrafter, NgramSettings},
    engine::{Engine, SequenceSettings},
    logits::Logits,
    model::{Feed, LanguageModel},
    sampling::SamplingSettings,
};
use speckv_cpu::{
    kernels::Isa,
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{
    checkpoint::Checkpoint,
    compression::Compression,
    gguf::{self, Gguf, Writer},
    quant::TensorType,
    requantize::requantize,
    tiny::Tiny,
};
use tempfile::TempDir;

/// A key's value of the type that the converter wrote.
fn key_value(kind: &str, value: &Value) -> gguf::Value {
    let list = || value.as_array().unwrap().iter();
    match kind {
        "STRING" => value.as_str().unwrap().into(),
        "UINT32" => (value.as_u64().unwrap() as u32).into(),
        "FLOAT32" => (value.as_f64().unwrap() as f32).into(),
        "BOOL" => value.as_bool().unwrap().into(),
        "ARRAY/BOOL" => list().map(|x| x.as_bool().unwrap()).collect::<Vec<_>>().into(),
        "ARRAY/INT32" | "ARRAY/UINT32" => {
            list().map(|x| x.as_i64().unwrap() as i32).collect::<Vec<_>>().into()
        }
        other => panic!("a key of the type {other}"),
    }
}

/// Rows of `heads` heads whose pairs, half a head apart, become neighbours.
fn permuted(values: &[f32], shape: &[usize], heads: usize) -> Vec<f32> {
    let columns: usize = shape[1..].iter().product();
    let half = shape[0] / heads / 2;
    let row = |row: usize| &values[row * columns..(row + 1) * columns];
    (0..shape[0])
        .flat_map(|out| {
            let (head, place) = (out / (2 * half), out % (2 * half));
            row(head * 2 * half + place % 2 * half + place / 2).iter().copied()
        })
        .collect()
}

/// The file that llama.cpp's converter makes of the folder, if it knows the family.
fn file(model: &Value) -> Option<Checkpoint> {
    let described = model["gguf"].as_object()?;
    let folder = tensors(model);
    let mut writer = Writer::new();
    for entry in described["keys"].as_array().unwrap() {
        let kind = entry[1].as_str().unwrap();
        writer.set(entry[0].as_str().unwrap(), key_value(kind, &entry[2]));
    }
    let layers = part(model)["num_hidden_layers"].as_u64().unwrap();
    for (pattern, step) in described["tensors"].as_object().unwrap() {
        let step_name = step[0].as_str().unwrap();
        if step_name == "values" {
            let values = step[1].as_array().unwrap().iter();
            let values: Vec<f32> = values.map(|x| x.as_f64().unwrap() as f32).collect();
            writer.tensor(pattern, &[values.len()], TensorType::F32, bytes(&values)).unwrap();
            continue;
        }
        let copies = if pattern.starts_with("blk.0.") { layers } else { 1 };
        for layer in 0..copies {
            let of_layer = |name: &str, from: &str, to: &str| {
                name.replacen(&format!("{from}0."), &format!("{to}{layer}."), 1)
            };
            let name = of_layer(pattern, "blk.", "blk.");
            let source = of_layer(step[1].as_str().unwrap(), "layers.", "layers.");
            let (_, shape, values) = folder.iter().find(|(name, ..)| *name == source).unwrap();
            let values = match step_name.split_once(' ') {
                None => values.clone(),
                Some(("plus", _)) => values.iter().map(|value| value + 1.0).collect(),
                Some((_, heads)) => permuted(values, shape, heads.parse().unwrap()),
            };
            let shape: Vec<usize> = shape.iter().rev().copied().collect();
            writer.tensor(&name, &shape, TensorType::F32, bytes(&values)).unwrap();
        }
    }
    Some(Arc::new(Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap()).into())
}

fn options(model: &Value) -> LoadOptions {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    let context = model["context"].as_u64().map(|context| context as usize);
    LoadOptions { context, ..LoadOptions::new(pool) }
}

fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> CpuModel {
    CpuModel::load(checkpoint, options, &mut |_| {}).unwrap()
}

fn logits(model: &CpuModel, tokens: &[u32]) -> Vec<Vec<f32>> {
    let (mut logits, mut cache) = (Logits::new(), model.new_cache().unwrap());
    model.forward(&mut [Feed::new(&mut cache, tokens, tokens.len())], &mut logits).unwrap();
    (0..tokens.len()).map(|row| logits.row(row).to_vec()).collect()
}

#[test]
fn folders_and_files_of_every_family_say_what_transformers_says() {
    let reference = reference();
    let tokens = numbers(&reference["tokens"]);
    let tokens: Vec<u32> = tokens.into_iter().map(|token| token as u32).collect();
    let positions = numbers(&reference["positions"]);
    let (mut families, mut files) = (0, 0);
    for model in reference["models"].as_array().unwrap() {
        let label = &model["label"];
        let (_place, folder) = folder(model);
        let file = file(model);
        families += 1;
        files += usize::from(file.is_some());
        for (kind, checkpoint) in [("folder", Some(folder)), ("file", file)] {
            let Some(checkpoint) = checkpoint else { continue };
            let got = logits(&load(&checkpoint, &options(model)), &tokens);
            for (place, &position) in positions.iter().enumerate() {
                let expected = model["logits"][place].as_array().unwrap();
                let expected: Vec<f64> = expected.iter().map(|x| x.as_f64().unwrap()).collect();
                let error = distance(&got[position], &expected);
                eprintln!("{label}, {kind}, position {position}: relative error {error:.1e}");
                // Keys and values in half precision cost some 1e-4.
                assert!(error < 2e-3, "{label}, {kind}, position {position}: {error}");
            }
        }
    }
    assert_eq!((families, files), (19, 18));
}

#[test]
fn every_family_conforms_on_every_instruction_set() {
    let reference = reference();
    let tokens: Vec<u32> = (0..40).map(|i| (i * 29 + 3) % 64).collect();
    for model in reference["models"].as_array().unwrap() {
        let (_place, folder) = folder(model);
        let context = options(model).context.unwrap();
        let tokens = &tokens[..tokens.len().min(context)];
        let run = |isa| logits(&load(&folder, &LoadOptions { isa, ..options(model) }), tokens);
        let expected = run(None);
        for &isa in Isa::available() {
            assert!(run(Some(isa)) == expected, "{}: {isa:?}", model["label"]);
        }
        check_model(&load(&folder, &options(model)))
            .unwrap_or_else(|broken| panic!("{}: {broken}", model["label"]));
    }
}

/// A greedy answer with `gamma` draft tokens per step, and how many were accepted.
fn answer(
    target: &Arc<CpuModel>,
    drafter: Box<dyn Drafter>,
    (prompt, length, gamma): (&[u32], usize, usize),
) -> (Vec<u32>, usize) {
    let mut engine = Engine::new(Arc::clone(target), drafter);
    let mut sequence = engine
        .sequence(SequenceSettings {
            prompt: prompt.to_vec(),
            sampling: SamplingSettings::default(),
            end_tokens: vec![],
            max_tokens: length,
            controller: Box::new(Fixed::new(gamma)),
        })
        .unwrap();
    let mut accepted = 0;
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).unwrap();
        accepted += sequence.record().outcome.accepted;
    }
    (sequence.tokens()[prompt.len()..].to_vec(), accepted)
}

#[test]
fn greedy_answers_of_every_family_equal_plain_decoding() {
    let prompt = [5, 17, 40, 2, 5, 17];
    for model in reference()["models"].as_array().unwrap() {
        let (_place, folder) = folder(model);
        let target = Arc::new(load(&folder, &options(model)));
        // The target itself, its matrices in 8 bits: often right, not always.
        let compression = Compression::Int8;
        let draft = Arc::new(load(&folder, &LoadOptions { compression, ..options(model) }));
        let length = 20;
        let expected = decode_plainly(&*target, &prompt, length).unwrap();
        let mut most = 0;
        for gamma in [1, 3, 6] {
            let drafters: [Box<dyn Drafter>; 2] = [
                Box::new(ModelDrafter::new(Arc::clone(&draft), target.vocab_size())),
                Box::new(NgramDrafter::new(NgramSettings::default())),
            ];
            for drafter in drafters {
                let (got, accepted) = answer(&target, drafter, (&prompt, length, gamma));
                assert_eq!(got, expected, "{}, gamma {gamma}", model["label"]);
                most = most.max(accepted);
            }
        }
        assert!(most > 0, "{}: no draft was ever right", model["label"]);
    }
}

#[test]
fn a_folder_of_every_family_becomes_a_file_that_says_the_same() {
    // Of these, GGUF has no key for the windows of a model that has no converter.
    let refused = ["ministral"];
    let tokens: Vec<u32> = (0..24).map(|i| (i * 29 + 3) % 64).collect();
    for model in reference()["models"].as_array().unwrap() {
        let label = model["label"].as_str().unwrap();
        let place = TempDir::new().unwrap();
        // A tokenizer, which the reference's models do not have.
        Tiny { tensor_type: TensorType::F32, ..Tiny::default() }
            .write_folder(place.path(), 1)
            .unwrap();
        // The library's own ends lie beyond that tokenizer.
        let mut model = model.clone();
        model["config"].as_object_mut().unwrap().remove("eos_token_id");
        write_folder(place.path(), &model);
        let folder = Checkpoint::open(place.path()).unwrap();
        let out = place.path().join("out.gguf");
        requantize(&folder, Compression::AsIs, 2, &out, &mut |done, total| done <= total)
            .unwrap_or_else(|error| panic!("{label}: {error}"));
        let file = Checkpoint::open(&out).unwrap();
        let mut options = options(&model);
        if refused.contains(&label) {
            options.context = Some(file.config().unwrap().context_length);
            assert!(options.context < Some(128), "the window bounds the context");
            continue;
        }
        let (ours, theirs) =
            (logits(&load(&file, &options), &tokens), logits(&load(&folder, &options), &tokens));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let theirs: Vec<f64> = theirs.iter().map(|&x| f64::from(x)).collect();
            let error = distance(ours, &theirs);
            assert!(error < 1e-3, "{label}: {error}");
        }
    }
}
