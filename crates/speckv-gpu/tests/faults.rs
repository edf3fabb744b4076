//! What happens to answers when a device fails: the step fails with a clear error, nothing that was
//! there is spoiled, and what does not need the device goes on.

mod support;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use speckv::{
    conformance::decode_plainly,
    controller::Fixed,
    draft::{Drafter, ModelDrafter, NoDrafter},
    engine::{Engine, Sequence, SequenceSettings},
    model::{Cache, Feed, LanguageModel, ModelError, PassOutput},
    sampling::SamplingSettings,
};
use speckv_cpu::{model::CpuModel, pool::Pool};
use speckv_formats::{gguf::Gguf, tiny::Tiny};
use speckv_gpu::{
    device::Device,
    error::GpuError,
    model::{GpuModel, LoadOptions},
};
use support::device;

const PROMPT: [u32; 5] = [72, 101, 108, 108, 111];
const ANSWER: usize = 12;

fn file() -> Arc<Gguf> {
    Arc::new(Gguf::from_bytes(Tiny::default().to_bytes().unwrap()).unwrap())
}

/// A device of the test's own, since a loss would end the others' work too.
fn own_device() -> Option<Arc<Device>> {
    let device = device()?;
    Some(Device::open(device.adapter().clone()).unwrap())
}

fn on_gpu(device: &Arc<Device>) -> Arc<GpuModel> {
    let options = LoadOptions::new(Arc::clone(device));
    Arc::new(GpuModel::load(file(), &options, &mut |_| {}).unwrap())
}

fn on_cpu() -> Arc<CpuModel> {
    let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
    let options = speckv_cpu::model::LoadOptions::new(pool);
    Arc::new(CpuModel::load(file(), &options, &mut |_| {}).unwrap())
}

fn begin<M: LanguageModel>(engine: &mut Engine<M>, gamma: usize) -> Sequence<M> {
    let settings = SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens: ANSWER,
        controller: Box::new(Fixed::new(gamma)),
    };
    engine.sequence(settings).unwrap()
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn out_of_memory() -> GpuError {
    GpuError::OutOfMemory { what: "a pass".into(), bytes: 1 << 40 }
}

#[test]
fn a_failure_that_passes_ends_its_step_and_the_answer_goes_on_as_if_it_had_not_been() {
    let Some(device) = own_device() else { return };
    let model = on_gpu(&device);
    let plain = decode_plainly(&*model, &PROMPT, ANSWER).unwrap();
    let time_out = GpuError::TimedOut { limit: Duration::from_secs(60) };
    for (failure, words) in [
        (out_of_memory(), "more memory"),
        (time_out, "did not end a pass within 60s"),
        (GpuError::Refused { what: "a command".into(), reason: "no".into() }, "refused a command"),
    ] {
        let drafter: Box<dyn Drafter> = Box::new(NoDrafter::default());
        let mut engine = Engine::new(Arc::clone(&model), drafter);
        let mut sequence = begin(&mut engine, 0);
        engine.step(&mut [&mut sequence]).unwrap();
        engine.step(&mut [&mut sequence]).unwrap();
        let before = sequence.tokens().to_vec();
        device.inject(failure);
        let error = engine.step(&mut [&mut sequence]).unwrap_err();
        let said = chain(&error);
        let is_memory = matches!(words, "more memory") && said.contains("memory");
        assert!(is_memory || said.contains(words), "{said}");
        assert_eq!(sequence.tokens(), before, "a failed step adds nothing");
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
        }
        assert_eq!(sequence.tokens()[PROMPT.len()..], plain, "after {said}");
    }
}

#[test]
fn a_failure_in_a_continuation_changes_no_cache_and_the_next_one_is_whole() {
    let Some(device) = own_device() else { return };
    let options = LoadOptions { embedding: true, ..LoadOptions::new(Arc::clone(&device)) };
    let model = GpuModel::load(file(), &options, &mut |_| {}).unwrap();
    // Whether embeddings are gathered rightly is compared again after a failure.
    device.inject(out_of_memory());
    assert_eq!(model.continuation_limit(1), 1);
    assert!(model.continuation_limit(1) > ANSWER);
    let plain = decode_plainly(&model, &PROMPT, ANSWER).unwrap();
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    model.forward(&mut [Feed::new(&mut cache, &PROMPT[..2], 0)], &mut output).unwrap();
    let mut go_on = |cache: &mut _| {
        let feeds = &mut [Feed::new(cache, &PROMPT[2..], 1)];
        model.continue_greedily(feeds, ANSWER, model.vocab_size(), &mut output).map(|made| {
            let best = |row| output.best(row, model.vocab_size()).unwrap().token;
            (0..made).map(best).collect::<Vec<u32>>()
        })
    };
    device.inject(out_of_memory());
    let refused = go_on(&mut cache).unwrap_err();
    assert!(matches!(refused, ModelError::OutOfMemory { .. }), "{refused}");
    assert_eq!(cache.len(), 2);
    assert_eq!(go_on(&mut cache).unwrap(), plain);
    device.give_up();
    cache.truncate(2);
    assert!(chain(&go_on(&mut cache).unwrap_err()).contains("the GPU was lost"));
}

#[test]
fn a_lost_device_fails_every_pass_by_name_and_other_devices_go_on() {
    let Some(device) = own_device() else { return };
    let (model, cpu) = (on_gpu(&device), on_cpu());
    let plain = decode_plainly(&*cpu, &PROMPT, ANSWER).unwrap();
    let mut engine = Engine::new(Arc::clone(&model), Box::new(NoDrafter::default()));
    let mut sequence = begin(&mut engine, 0);
    engine.step(&mut [&mut sequence]).unwrap();
    device.give_up();
    for _ in 0..3 {
        let said = chain(&engine.step(&mut [&mut sequence]).unwrap_err());
        assert!(said.contains("the GPU was lost: it was given up"), "{said}");
    }
    let refused = GpuModel::load(file(), &LoadOptions::new(Arc::clone(&device)), &mut |_| {});
    assert!(chain(&refused.err().unwrap()).contains("the GPU was lost"));
    drop((engine, sequence, model));
    assert_eq!(decode_plainly(&*cpu, &PROMPT, ANSWER).unwrap(), plain);
}

#[test]
fn a_target_goes_on_where_the_device_of_its_draft_is_lost() {
    let Some(device) = own_device() else { return };
    let (draft, target) = (on_gpu(&device), on_cpu());
    let plain = decode_plainly(&*target, &PROMPT, ANSWER).unwrap();
    let drafter = ModelDrafter::new(draft, target.vocab_size());
    let mut engine = Engine::new(Arc::clone(&target), Box::new(drafter));
    let mut sequence = begin(&mut engine, 2);
    engine.step(&mut [&mut sequence]).unwrap();
    device.give_up();
    for _ in 0..100 {
        if sequence.finish_reason().is_some() {
            break;
        }
        // Whether a step without its draft is repeated or goes on plainly is the engine's choice;
        // the answer is the same.
        let _ = engine.step(&mut [&mut sequence]);
    }
    assert_eq!(sequence.tokens()[PROMPT.len()..], plain);
}

#[test]
fn a_pass_that_fails_leaves_its_cache_as_it_was() {
    let Some(device) = own_device() else { return };
    let model = on_gpu(&device);
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    let pass =
        |cache: &mut _, output: &mut _| model.forward(&mut [Feed::new(cache, &PROMPT, 1)], output);
    device.inject(out_of_memory());
    let error = pass(&mut cache, &mut output).unwrap_err();
    assert!(matches!(error, ModelError::OutOfMemory { bytes } if bytes == 1 << 40), "{error}");
    assert_eq!(speckv::model::Cache::len(&cache), 0);
    pass(&mut cache, &mut output).unwrap();
    assert_eq!(speckv::model::Cache::len(&cache), PROMPT.len());
}

#[test]
fn a_failure_at_any_moment_of_a_pass_leaves_later_passes_whole() {
    let Some(device) = own_device() else { return };
    let model = on_gpu(&device);
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    let mut pass = || {
        speckv::model::Cache::truncate(&mut cache, 0);
        model.forward(&mut [Feed::new(&mut cache, &PROMPT, 1)], &mut output)?;
        speckv::model::PassOutput::best(&mut output, 0, model.vocab_size())
    };
    let expected = pass().unwrap();
    let mut failures = 0;
    for moment in 0..60 {
        let other = Arc::clone(&device);
        let injector = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(100 * moment));
            other.inject(out_of_memory());
        });
        failures += usize::from(pass().is_err());
        injector.join().unwrap();
        // What came after the pass ends the next one.
        let _ = pass();
        assert_eq!(pass().unwrap(), expected, "after {moment} tenths of a millisecond");
    }
    eprintln!("{failures} of 60 failures came during their pass");
}
