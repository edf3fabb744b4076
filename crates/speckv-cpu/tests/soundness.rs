//! What safe code outside the crate must not be able to do: each attempt fails to compile (see the
//! `compile_fail` examples of the types) or gets an error or a panic that names the reason.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::Arc,
};

use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel, ModelError},
};
use speckv_cpu::{
    checked,
    kernels::{Isa, activation::Activations},
    matrix::{Input, Matrix},
    model::{CpuModel, LoadError, LoadOptions},
    pool::Pool,
};
use speckv_formats::{
    gguf::{Gguf, Writer},
    quant::{TensorType, random_blocks},
    tiny::Tiny,
};

const ROWS: usize = 48;
const COLUMNS: usize = 64;

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

fn model(tiny: &Tiny) -> Result<CpuModel, LoadError> {
    let file = Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap());
    CpuModel::load(&file, &LoadOptions::new(Arc::new(pool(2))), &mut |_| {})
}

fn matrix(tensor_type: TensorType) -> Matrix {
    let bytes = random_blocks(tensor_type, ROWS * COLUMNS / tensor_type.block_len(), 7);
    let mut writer = Writer::new();
    writer.tensor("w", &[COLUMNS, ROWS], tensor_type, bytes).unwrap();
    let file = Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap();
    Matrix::pack(&file.tensor("w").unwrap(), None, None, &pool(1)).unwrap()
}

/// The message of a panic.
fn refusal(attempt: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(attempt)).expect_err("it was not refused");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().expect("a message")).to_owned(),
    }
}

#[test]
fn a_pass_over_a_cache_of_another_model_is_an_error() {
    let small = model(&Tiny::default()).unwrap();
    let large = model(&Tiny { layers: 5, kv_heads: 4, ..Tiny::default() }).unwrap();
    let mut cache = small.new_cache().unwrap();
    let mut feeds = [Feed::new(&mut cache, &[1, 2, 3], 1)];
    let error = large.forward(&mut feeds, &mut Logits::new()).unwrap_err();
    assert!(matches!(error, ModelError::ForeignCache { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("5 layers of 4 heads"), "{words}");
}

#[test]
fn an_instruction_set_that_was_not_detected_has_no_value() {
    let missing = ["avx2", "avxvnni", "avx512", "amx", "neon", "dotprod", "i8mm", "", "best"];
    let names: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    for name in missing.into_iter().filter(|name| !names.contains(name)) {
        let error = Isa::named(name).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("hint:"), "{error}");
    }
}

/// Runs itself again with the variable set, as a process has one environment.
#[test]
fn an_unknown_speckv_isa_is_an_error_that_names_the_available_ones() {
    const RESULT: &str = "the error: ";
    if std::env::var("SPECKV_ISA_TEST").is_ok() {
        println!("{RESULT}{}", model(&Tiny::default()).expect_err("an unknown set"));
        return;
    }
    let name = "an_unknown_speckv_isa_is_an_error_that_names_the_available_ones";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .envs([("SPECKV_ISA", "avx1024"), ("SPECKV_ISA_TEST", "1")])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.contains(RESULT), "{words}");
    for expected in ["avx1024", "portable", Isa::detect().name()] {
        assert!(words.contains(expected), "{expected} is not in: {words}");
    }
}

#[test]
fn activations_of_another_shape_are_refused() {
    let mut pool_out = vec![0.0; 2 * ROWS];
    let pool = pool(1);
    let isa = Isa::detect();
    let integer = matrix(TensorType::Q8_0);
    let product =
        |input, out: &mut [f32]| refusal(|| checked::product(&integer, &pool, isa, input, out));
    let mut narrow = Activations::default();
    checked::quantize(isa, &[1.0; 2 * 32], 32, &mut narrow);
    let words = product(Input::new(&narrow, &[]), &mut pool_out);
    assert!(words.contains("expected activations of 64 columns, got 32"), "{words}");
    let mut short = Activations::default();
    checked::quantize(isa, &[1.0; 2 * COLUMNS], COLUMNS, &mut short);
    let words = product(Input::new(&short, &[]).from_row(1), &mut pool_out);
    assert!(words.contains("up to row 3, got 2"), "{words}");
    let words = product(Input::new(&short, &[]).from_row(usize::MAX), &mut pool_out);
    assert!(words.contains("row number"), "{words}");

    let float = matrix(TensorType::F32);
    let exact = vec![0.5; COLUMNS];
    let words = refusal(|| {
        checked::product(&float, &pool, isa, Input::new(&short, &exact), &mut pool_out);
    });
    assert!(words.contains("up to row 2, got 1"), "{words}");
}

#[test]
fn a_panic_in_one_section_of_the_pool_is_its_callers_and_no_later_one_fails() {
    let pool = pool(3);
    for _ in 0..20 {
        refusal(|| pool.run(3, &|_, thread| panic!("thread {thread}")));
        pool.run(64, &|_, _| {});
    }
}

#[test]
fn an_infinite_value_behind_a_row_does_not_reach_it() {
    let (head_dim, n) = (32, 5);
    let keys = vec![half::f16::from_f32(0.1).to_bits(); 32 * head_dim];
    let mut values = vec![half::f16::from_f32(0.5).to_bits(); 32 * head_dim];
    // Position 20 holds what does not fit in half precision.
    values[20 * head_dim..21 * head_dim].fill(half::f16::INFINITY.to_bits());
    let cache = checked::HeadCache { keys: &keys, values: &values, head_dim };
    let queries = vec![1.0; n * head_dim];
    let visible = [18, 19, 20, 21, 22];
    for &isa in Isa::available() {
        let mut out = vec![0.0; n * head_dim];
        checked::attention(isa, cache, &queries, &visible, 0.2, &mut Vec::new(), &mut out);
        for (row, out) in out.chunks_exact(head_dim).enumerate() {
            let sees = visible[row] > 20;
            assert_eq!(out.iter().all(|x| x.is_finite()), !sees, "{isa}, row {row}: {out:?}");
        }
    }
}
