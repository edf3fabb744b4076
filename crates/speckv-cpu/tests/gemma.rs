//! The catalogue's Gemma-3-270M: tokens, numbers and words.

#[path = "../../speckv-formats/tests/support/mod.rs"]
mod support;

use std::{num::NonZeroUsize, sync::Arc};

use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel},
    signals,
};
use speckv_cpu::{
    model::{CacheType, CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{
    chat_template::{ChatTemplate, Message, Origin},
    gguf::Gguf,
    tokenizer::Tokenizer,
};
use support::{model, tokens};

fn load(file: &Arc<Gguf>, cache_type: CacheType) -> CpuModel {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    let options = LoadOptions { context: Some(1024), cache_type, ..LoadOptions::new(pool) };
    CpuModel::load(file, &options, &mut |_| {}).unwrap()
}

#[test]
fn tokens_are_those_of_llama_cpp_and_numbers_those_of_the_transformers_library() {
    let Some(file) = model("gemma3-270m").map(Arc::new) else { return };
    // Made by the program beside it.
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("transformers/gemma.json")).unwrap();
    let text = tokens(&golden["tokens"]);
    let licence = include_str!("../../../LICENSE-APACHE");
    let ours = Tokenizer::from_gguf(file.metadata()).unwrap().encode(licence, false, true).unwrap();
    assert_eq!(ours[..text.len()], text);

    for cache_type in [CacheType::F16, CacheType::Q8_0] {
        let model = load(&file, cache_type);
        let mut logits = Logits::new();
        let mut cache = model.new_cache().unwrap();
        let positions = golden["positions"].as_array().unwrap();
        assert!(positions.len() > 40);
        let (mut error, mut equal, mut fed) = (0.0, 0, 0);
        for position in positions {
            let number = |column: usize| position[column].as_f64().unwrap();
            let at = number(0) as usize;
            model.forward(&mut [Feed::new(&mut cache, &text[fed..=at], 1)], &mut logits).unwrap();
            fed = at + 1;
            let row = logits.row(0);
            let first = signals::argmax(row).unwrap();
            let clear = number(2) - number(3) > 0.7;
            assert!(
                first == number(1) as u32 || !clear,
                "position {at}: {first} for {}",
                number(1)
            );
            equal += usize::from(first == number(1) as u32);
            let largest = f64::from(row[first as usize]);
            let sum: f64 = row.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
            error += (f64::from(row[text[at + 1] as usize]) - largest - sum.ln() - number(4)).abs();
        }
        let (error, equal) =
            (error / positions.len() as f64, equal as f64 / positions.len() as f64);
        eprintln!(
            "{cache_type}: mean error of ln p {error:.4}, likeliest token equal at {:.1}%",
            100.0 * equal
        );
        // Activations of 8 bits cost some hundredths.
        assert!(error < 0.1 && equal > 0.9, "{cache_type}: error {error}, equal {equal}");
    }
}

#[test]
fn it_renders_a_conversation_and_answers_a_question() {
    let Some(file) = model("gemma3-270m").map(Arc::new) else { return };
    let tokenizer = Tokenizer::from_gguf(file.metadata()).unwrap();
    // A base model: the file has no template, and no turn markers that it was trained on.
    let template = ChatTemplate::from_gguf(file.metadata(), &tokenizer).unwrap();
    assert_eq!(template.origin(), Origin::Plain);
    let question =
        Message { role: "user".into(), content: "What is the capital of France?".into() };
    let prompt = template.render(&[question], true).unwrap();
    assert!(
        prompt.starts_with("<bos>User: What is") && prompt.ends_with("Assistant:"),
        "{prompt:?}"
    );

    let mut text = tokenizer.encode(&prompt, true, false).unwrap();
    assert_eq!(Some(text[0]), tokenizer.bos());
    let model = load(&file, CacheType::F16);
    let (mut cache, mut logits) = (model.new_cache().unwrap(), Logits::new());
    let (mut fed, start) = (0, text.len());
    while text.len() < start + 12 {
        model.forward(&mut [Feed::new(&mut cache, &text[fed..], 1)], &mut logits).unwrap();
        fed = text.len();
        text.push(signals::argmax(logits.row(0)).unwrap());
    }
    let answer = tokenizer.decode(&text[start..], true);
    assert!(answer.contains("Paris"), "{answer:?}");
}
