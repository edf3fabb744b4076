//! Speculation on a device changes no token: greedy answers equal plain decoding on the same
//! device, whatever drafts and however far.

mod support;

use std::{num::NonZeroUsize, sync::Arc};

use speckv::{
    conformance::decode_plainly,
    controller::Fixed,
    draft::{Drafter, ModelDrafter, NgramDrafter, NgramSettings},
    engine::{Engine, SequenceSettings},
    model::LanguageModel,
    sampling::SamplingSettings,
};
use speckv_cpu::{model::CpuModel, pool::Pool};
use speckv_formats::{gguf::Gguf, tiny::Tiny};
use speckv_gpu::model::{GpuModel, LoadOptions};
use support::device;

const PROMPT: [u32; 7] = [72, 101, 108, 108, 111, 44, 32];
const ANSWER: usize = 40;

fn file(tiny: &Tiny) -> Arc<Gguf> {
    Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap())
}

fn on_cpu(tiny: &Tiny) -> CpuModel {
    let options =
        speckv_cpu::model::LoadOptions::new(Arc::new(Pool::new(NonZeroUsize::MIN).unwrap()));
    CpuModel::load(file(tiny), &options, &mut |_| {}).unwrap()
}

/// A model, and one of the same weights in another order of layers: a draft that is often right.
fn tiny() -> (Tiny, Tiny) {
    let target = Tiny { architecture: "qwen2", biases: true, layers: 2, ..Tiny::default() };
    (target.clone(), Tiny { layers: 1, ..target })
}

/// Two answers in the same passes, with `gamma` draft tokens per step; the number of tokens that
/// were accepted.
fn answers(
    target: &Arc<GpuModel>,
    drafter: Box<dyn Drafter>,
    gamma: usize,
) -> (Vec<Vec<u32>>, usize) {
    let mut engine = Engine::new(Arc::clone(target), drafter);
    let mut start = |prompt: &[u32]| {
        let settings = SequenceSettings {
            prompt: prompt.to_vec(),
            sampling: SamplingSettings::default(),
            end_tokens: vec![],
            max_tokens: ANSWER,
            controller: Box::new(Fixed::new(gamma)),
        };
        engine.sequence(settings).unwrap()
    };
    let (mut a, mut b) = (start(&PROMPT), start(&PROMPT[2..]));
    let mut accepted = 0;
    while a.finish_reason().is_none() || b.finish_reason().is_none() {
        let mut running = [&mut a, &mut b];
        let mut running: Vec<_> =
            running.iter_mut().filter(|s| s.finish_reason().is_none()).map(|s| &mut **s).collect();
        engine.step(&mut running).unwrap();
        accepted += running.iter().map(|s| s.record().outcome.accepted).sum::<usize>();
    }
    (vec![a.tokens()[PROMPT.len()..].to_vec(), b.tokens()[PROMPT.len() - 2..].to_vec()], accepted)
}

#[test]
fn greedy_answers_equal_plain_decoding_for_every_gamma_and_draft() {
    let Some(device) = device() else { return };
    let (target, draft) = tiny();
    let options = LoadOptions { embedding: true, ..LoadOptions::new(device) };
    let load = |tiny| Arc::new(GpuModel::load(file(tiny), &options, &mut |_| {}).unwrap());
    let (target, on_gpu, itself) = (load(&target), load(&draft), load(&target));
    let on_cpu = Arc::new(on_cpu(&draft));
    assert!(on_gpu.continuation_limit(2) > 8, "drafts of both answers go on on the device");
    let expected: Vec<Vec<u32>> = [&PROMPT[..], &PROMPT[2..]]
        .map(|prompt| decode_plainly(&*target, prompt, ANSWER).unwrap())
        .to_vec();
    let vocab = target.vocab_size();
    let mut most = 0;
    for gamma in [0, 1, 2, 3, 5, 8, 16] {
        let drafters: [(&str, Box<dyn Drafter>); 4] = [
            ("on the GPU", Box::new(ModelDrafter::new(Arc::clone(&on_gpu), vocab))),
            ("on the CPU", Box::new(ModelDrafter::new(Arc::clone(&on_cpu), vocab))),
            ("the target itself", Box::new(ModelDrafter::new(Arc::clone(&itself), vocab))),
            ("look-up", Box::new(NgramDrafter::new(NgramSettings::default()))),
        ];
        for (name, drafter) in drafters {
            let (got, accepted) = answers(&target, drafter, gamma);
            assert_eq!(got, expected, "gamma {gamma}, draft {name}");
            most = most.max(accepted);
        }
    }
    assert!(most >= ANSWER, "no draft was ever right: {most} tokens accepted at best");
}
