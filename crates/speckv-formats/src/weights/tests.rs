//! Layouts of tiny models, and loading them into a sink that keeps floats.

use std::{collections::HashSet, convert::Infallible, sync::Arc};

use super::{
    Layout, LayoutError, MatrixSlot, Progress, VectorSlot, WeightError, WeightSink, Weights,
};
use crate::{
    checkpoint::{Checkpoint, Part},
    compression::Compression,
    gguf::{Gguf, Writer},
    quant::{QuantError, Rows, TensorType, WeightType},
    tiny::Tiny,
};

/// Keeps values as floats and the types that matrices were asked for.
#[derive(Default)]
struct Floats {
    types: Vec<(String, WeightType)>,
}

impl WeightSink for Floats {
    type Matrix = Vec<f32>;
    type Vector = Vec<f32>;
    type Error = Infallible;

    fn matrix(
        &mut self,
        slot: &MatrixSlot,
        tensor: &Part<'_>,
        to: WeightType,
    ) -> Result<Vec<f32>, Infallible> {
        assert_eq!(tensor.shape(), [slot.columns, slot.rows]);
        self.types.push((slot.name.clone(), to));
        let mut values = vec![0.0; slot.rows * slot.columns];
        for (row, out) in values.chunks_mut(slot.columns).enumerate() {
            tensor.read(row, out).expect("a row of the checked length");
        }
        Ok(values)
    }

    fn vector(&mut self, slot: &VectorSlot, values: Vec<f32>) -> Result<Vec<f32>, Infallible> {
        assert_eq!(values.len(), slot.len);
        Ok(values)
    }
}

/// Refuses one tensor by name.
struct Refusing(&'static str);

impl WeightSink for Refusing {
    type Matrix = ();
    type Vector = ();
    type Error = QuantError;

    fn matrix(&mut self, slot: &MatrixSlot, _: &Part<'_>, _: WeightType) -> Result<(), QuantError> {
        let tensor_type = TensorType::F16;
        let refusal = QuantError::PartialBlock { tensor_type, elements: slot.columns };
        if slot.name == self.0 { Err(refusal) } else { Ok(()) }
    }

    fn vector(&mut self, _: &VectorSlot, _: Vec<f32>) -> Result<(), QuantError> {
        Ok(())
    }
}

fn shapes() -> Vec<Tiny> {
    let small = Tiny { tensor_type: TensorType::F32, ..Tiny::default() };
    let wide = Tiny { head_dim: Some(32), ..small.clone() };
    vec![
        Tiny { rope_factors: true, ..small.clone() },
        Tiny { architecture: "qwen2", biases: true, tied: true, ..small.clone() },
        Tiny { architecture: "qwen3", ..wide.clone() },
        Tiny { architecture: "gemma3", layers: 7, tied: true, ..wide },
    ]
}

fn file(tiny: &Tiny) -> Checkpoint {
    Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap()).into()
}

fn layout(file: &Checkpoint) -> Layout {
    Layout::new(file, &file.config().unwrap()).unwrap()
}

/// The same file with what `change` makes of its tensors' names; nothing leaves a tensor out.
fn renamed(tiny: &Tiny, change: impl Fn(&str) -> Option<String>) -> Checkpoint {
    let file = Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap();
    let mut writer = Writer::new();
    for (key, value) in file.metadata().iter() {
        writer.set(key, value.clone());
    }
    for info in file.tensors() {
        let Some(name) = change(&info.name) else { continue };
        let bytes = file.tensor(&info.name).unwrap().bytes;
        writer.tensor(name, &info.shape, info.tensor_type, bytes).unwrap();
    }
    Arc::new(Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap()).into()
}

fn load(file: &Checkpoint, compression: Compression) -> (Weights<Vec<f32>, Vec<f32>>, Floats) {
    let mut floats = Floats::default();
    let loaded = layout(file).load(compression, &mut floats, &mut |_| {}).unwrap();
    (loaded, floats)
}

#[test]
fn every_tensor_of_every_family_has_its_place() {
    for tiny in shapes() {
        let file = file(&tiny);
        let layout = layout(&file);
        let names: Vec<String> = file.contents().map(|tensor| tensor.name().to_owned()).collect();
        assert_eq!(layout.names(), names.iter().map(String::as_str).collect::<HashSet<_>>());
        assert_eq!(layout.unused(), Vec::<String>::new(), "{tiny:?}");
        assert_eq!(layout.is_tied(), tiny.tied);
        assert_eq!(layout.rope_factors.usual.is_some(), tiny.rope_factors);
        assert_eq!(layout.matrices().count(), 7 * tiny.layers + 1);
    }
}

#[test]
fn a_harmless_tensor_is_listed_as_unused() {
    let file = renamed(&Tiny::default(), |name| {
        Some(if name == "output.weight" {
            "blk.1.attn_rot_embd.weight".into()
        } else {
            name.to_owned()
        })
    });
    let layout = layout(&file);
    assert_eq!(layout.unused(), ["blk.1.attn_rot_embd.weight"]);
    assert!(layout.is_tied(), "without an output head the embedding is the head");
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    let tiny = Tiny::default();
    let refusal = |change: &dyn Fn(&str) -> Option<String>| {
        let file = renamed(&tiny, change);
        Layout::new(&file, &file.config().unwrap()).unwrap_err()
    };
    let gone = refusal(&|name| (name != "blk.1.ffn_up.weight").then(|| name.to_owned()));
    assert!(matches!(gone, LayoutError::Missing { name } if name == "blk.1.ffn_up.weight"));
    let beyond = refusal(&|name| Some(name.replace("output.weight", "blk.2.ffn_up.weight")));
    assert!(beyond.to_string().contains("expected 2 layers"), "{beyond}");
    for other in ["blk.1.extra.weight", "blk.0.ffn_gate_inp.weight", "rope_factors_long.weight"] {
        let rename = |name: &str| if name == "output.weight" { other } else { name }.to_owned();
        let more = refusal(&|name| Some(rename(name)));
        assert!(matches!(&more, LayoutError::Unexpected { name, .. } if name == other), "{more}");
    }
    let swapped = refusal(&|name| {
        Some(match name {
            "blk.0.ffn_up.weight" => "blk.0.ffn_down.weight".into(),
            "blk.0.ffn_down.weight" => "blk.0.ffn_up.weight".into(),
            name => name.to_owned(),
        })
    });
    assert!(matches!(swapped, LayoutError::Shape { expected, got, .. }
        if expected == [64, 96] && got == [96, 64]));
}

#[test]
fn a_context_that_was_stretched_with_factors_has_both_lists_of_them() {
    let tiny = Tiny::default();
    let refusal = |lists: &[&str], original: u32| {
        let mut writer = tiny.writer().unwrap();
        writer.set("llama.rope.scaling.type", "longrope");
        writer.set("llama.rope.scaling.original_context_length", original);
        for name in lists {
            let bytes = [1.0f32; 16].map(f32::to_le_bytes).concat();
            let pairs = tiny.head_dim() / 2;
            writer.tensor(*name, &[pairs], TensorType::F32, bytes[..4 * pairs].to_vec()).unwrap();
        }
        let file: Checkpoint =
            Arc::new(Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap()).into();
        let config = file.config().unwrap();
        Layout::new(&file, &config).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let (short, long) = ("rope_factors_short.weight", "rope_factors_long.weight");
    let whole = tiny.context_length as u32;
    assert!(refusal(&[], whole / 2).contains(short));
    assert!(refusal(&[short], whole / 2).contains(long));
    assert!(refusal(&[long], whole).contains(short));
    assert_eq!(refusal(&[short, long], whole / 2), "");
    assert_eq!(refusal(&[], whole), "", "nothing was stretched");
}

#[test]
fn a_folder_and_a_file_load_the_same_numbers() {
    let gemma = shapes().pop().unwrap();
    let place = tempfile::tempdir().unwrap();
    gemma.write_folder(place.path(), 2).unwrap();
    let folder = Checkpoint::open(place.path()).unwrap();
    // Folders of this family store norms less 1, GGUF files store them whole.
    assert_eq!(layout(&folder).output_norm.offset, 1.0);
    assert_eq!(layout(&file(&gemma)).output_norm.offset, 0.0);
    let ((ours, _), (theirs, _)) =
        (load(&folder, Compression::AsIs), load(&file(&gemma), Compression::AsIs));
    assert_eq!(ours.layers, theirs.layers);
    assert_eq!((&ours.output_norm, &ours.head), (&theirs.output_norm, &theirs.head));
    let mut row = vec![0.0; gemma.hidden];
    ours.embedding.read(3, &mut row).unwrap();
    assert_eq!(row, ours.head[3 * gemma.hidden..4 * gemma.hidden], "the head is the embedding");
}

#[test]
fn compression_depends_on_the_role_of_a_matrix() {
    let (_, floats) = load(&file(&shapes()[0]), Compression::Nf4);
    for (name, to) in floats.types {
        let head = name == "output.weight";
        let expected = if head { WeightType::File(TensorType::Q8_0) } else { WeightType::Nf4 };
        assert_eq!(to, expected, "{name}");
    }
}

#[test]
fn progress_ends_at_the_total_and_a_refusal_names_the_tensor() {
    for tiny in shapes() {
        let (file, mut seen) = (file(&tiny), Vec::new());
        let layout = layout(&file);
        layout.load(Compression::AsIs, &mut Floats::default(), &mut |at| seen.push(at)).unwrap();
        let &Progress { done, total } = seen.last().unwrap();
        assert_eq!(done, total);
        assert!(seen.is_sorted_by(|a, b| a.done < b.done));
        let refused = layout
            .load(Compression::AsIs, &mut Refusing("blk.1.ffn_down.weight"), &mut |_| {})
            .unwrap_err();
        assert!(
            matches!(&refused, WeightError::Store { name, .. } if name == "blk.1.ffn_down.weight")
        );
    }
}
