//! Every dense family on a device: logits near those of the CPU, and greedy answers with a draft
//! equal to plain decoding on the same device.

#[path = "../../speckv-cpu/tests/support/families.rs"]
mod reference;
mod support;

use std::{num::NonZeroUsize, sync::Arc};

use reference::{distance, folder, reference};
use speckv::{
    conformance::decode_plainly,
    controller::Fixed,
    draft::{Drafter, ModelDrafter, NgramDrafter, NgramSettings},
    engine::{Engine, SequenceSettings},
    model::{Feed, LanguageModel, PassOutput},
    sampling::SamplingSettings,
};
use speckv_cpu::{model::CpuModel, pool::Pool};
use speckv_formats::{checkpoint::Checkpoint, compression::Compression};
use speckv_gpu::model::{GpuModel, LoadOptions};
use support::device;

const PROMPT: [u32; 6] = [5, 17, 40, 2, 5, 17];
const ANSWER: usize = 14;

fn on_cpu(checkpoint: &Checkpoint, context: Option<usize>) -> CpuModel {
    let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
    let options =
        speckv_cpu::model::LoadOptions { context, ..speckv_cpu::model::LoadOptions::new(pool) };
    CpuModel::load(checkpoint, &options, &mut |_| {}).unwrap()
}

fn logits<M: LanguageModel>(model: &M, tokens: &[u32]) -> Vec<Vec<f32>> {
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    model.forward(&mut [Feed::new(&mut cache, tokens, tokens.len())], &mut output).unwrap();
    (0..tokens.len()).map(|row| output.logits(row).unwrap().to_vec()).collect()
}

/// A greedy answer, and how many drafted tokens were accepted.
fn answer(target: &Arc<GpuModel>, drafter: Box<dyn Drafter>, gamma: usize) -> (Vec<u32>, usize) {
    let mut engine = Engine::new(Arc::clone(target), drafter);
    let settings = SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens: ANSWER,
        controller: Box::new(Fixed::new(gamma)),
    };
    let mut sequence = engine.sequence(settings).unwrap();
    let mut accepted = 0;
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).unwrap();
        accepted += sequence.record().outcome.accepted;
    }
    (sequence.tokens()[PROMPT.len()..].to_vec(), accepted)
}

#[test]
fn every_family_is_near_the_cpu_and_answers_with_a_draft_as_without() {
    let Some(device) = device() else { return };
    let tokens: Vec<u32> = (0..24).map(|i| (i * 29 + 3) % 64).collect();
    for model in reference()["models"].as_array().unwrap() {
        let label = &model["label"];
        let (_place, folder) = folder(model);
        let context = model["context"].as_u64().map(|context| context as usize);
        let load = |compression| {
            let options =
                LoadOptions { context, compression, ..LoadOptions::new(Arc::clone(&device)) };
            Arc::new(GpuModel::load(folder.clone(), &options, &mut |_| {}).unwrap())
        };
        let target = load(Compression::AsIs);
        let expected = logits(&on_cpu(&folder, context), &tokens);
        for (got, expected) in logits(&*target, &tokens).iter().zip(&expected) {
            let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
            let error = distance(got, &expected);
            assert!(error < 0.02, "{label}: relative error {error}");
        }
        let plain = decode_plainly(&*target, &PROMPT, ANSWER).unwrap();
        let draft = load(Compression::Int8);
        let mut most = 0;
        for gamma in [1, 4] {
            let drafters: [Box<dyn Drafter>; 2] = [
                Box::new(ModelDrafter::new(Arc::clone(&draft), target.vocab_size())),
                Box::new(NgramDrafter::new(NgramSettings::default())),
            ];
            for drafter in drafters {
                let (got, accepted) = answer(&target, drafter, gamma);
                assert_eq!(got, plain, "{label}, gamma {gamma}");
                most = most.max(accepted);
            }
        }
        assert!(most > 0, "{label}: no draft was ever right");
    }
}
