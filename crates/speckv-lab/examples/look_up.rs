//! Replays controllers over recorded traces with other settings of look-up: `look_up TRACES`.
//!
//! Look-up is recorded anew for each setting from the traces' own texts; everything else is as
//! recorded. With a memory, the texts of the traces before are earlier answers of the same key.

use std::{error::Error, path::Path};

use speckv::{
    controller::Drafting,
    draft::{Drafter, NgramDrafter, NgramSettings},
    predictor::Predictor,
};
use speckv_lab::{
    comparison::{Row, compare},
    contestant::Contestant,
    recorder::{Task, record_lookups},
    run_folder::RunFolder,
};
use speckv_local::controllers::{self, ControllerParts};

fn main() -> Result<(), Box<dyn Error>> {
    let traces = std::env::args().nth(1).ok_or("expected TRACES")?;
    let folder = RunFolder::open(Path::new(&traces))?;
    let settings = &folder.run().settings;
    let cost = folder.run().origin.cost.clone().ok_or("the traces have no measured costs")?;
    let has_model = settings.draft.is_some();
    let natural = ["off", "fixed:1", "fixed:2", "fixed:3", "fixed:4", "speckv", "chain+fixed:3"];
    let mut contestants = Vec::new();
    for name in natural {
        contestants.push(Contestant::natural(controllers::parse(name)?, has_model));
    }
    let speckv = controllers::parse("speckv")?;
    contestants.push(Contestant::new(speckv, Drafting::Ngram, has_model));
    let shape = settings.draft.as_ref().map(|draft| &draft.shape);
    let parts = ControllerParts {
        cost: cost.clone(),
        predictor: Predictor::shipped(&settings.target.shape, shape),
        facts: settings.facts(),
        ..ControllerParts::default()
    };
    let files = folder.load()?;
    for (min_match, max_match) in [(2, 8), (2, 16), (2, 32), (2, 64), (1, 8), (3, 8)] {
        for memory in [0, 1 << 18] {
            let mut drafter = NgramDrafter::new(NgramSettings { min_match, max_match });
            drafter.memory_mut().into_iter().for_each(|texts| texts.set_limit(memory));
            let mut traces = Vec::new();
            for file in &files {
                let mut trace = file.recording.trace.clone();
                let task = Task {
                    prompt_id: &trace.prompt_id,
                    task: &trace.task,
                    prompt: &file.prompt.tokens,
                    max_tokens: trace.max_tokens,
                    end_tokens: &trace.end_tokens,
                };
                let slot = drafter.open()?;
                drafter.set_scope(slot, Some(1));
                let found =
                    record_lookups(&mut drafter, slot, &task, &trace.tokens, settings.ngram_max)?;
                drafter.remember(slot, &trace.tokens);
                drafter.close(slot);
                for (position, ngram) in trace.positions.iter_mut().zip(found) {
                    position.ngram = ngram;
                }
                traces.push(trace);
            }
            let comparison = compare(&contestants, &parts, &traces, &cost, settings.gamma_max)?;
            println!("match {min_match} to {max_match}, memory {memory}");
            for group in &comparison.groups {
                let rows = group.controllers.iter().filter(|row| {
                    row.controller.contains("speckv") || row.controller.contains("chain")
                });
                let row =
                    |row: &Row| format!("{} {:.3}", row.controller, row.modelled_ratio_to_off);
                let rows: Vec<String> = rows.map(row).collect();
                println!("  {:14} {}", group.task, rows.join("   "));
            }
        }
    }
    Ok(())
}
