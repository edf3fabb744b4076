//! Controllers as the command line names them; the table itself is [`ControllerSpec`]'s.

use crate::{
    backend::LocalModel,
    failure::Outcome,
    predictor_weights::{Predictors, Weights},
    suggest,
};
use speckv::{
    cost::CostModel,
    predictor::{ModelShape, SessionFacts},
};

mod spec;

pub use spec::{ControllerKind, ControllerParts, ControllerSpec, SpecError};
pub use speckv::controller::MAX_GAMMA;

/// The controller where a source can draft.
pub const DEFAULT: ControllerSpec =
    ControllerSpec { chain: false, kind: ControllerKind::Speckv(None) };

/// Plain decoding.
pub const OFF: ControllerSpec = ControllerSpec { chain: false, kind: ControllerKind::Off };

/// A controller by name, with a hint where there is none.
///
/// # Errors
/// No such name, or a parameter outside its range.
pub fn parse(text: &str) -> Result<ControllerSpec, String> {
    let name = text.rsplit('+').next().unwrap_or(text).split([':', '-']).next().unwrap_or(text);
    let meant = suggest::closest(name, ControllerSpec::NAMES);
    let meant = meant.filter(|&meant| !name.is_empty() && meant != name);
    let meant = meant.map_or(String::new(), |meant| format!("did you mean {meant}? "));
    let list = ControllerSpec::NAMES.join(", ");
    let hint = format!("{meant}the controllers are {list}, and chain+NAME");
    let spec: ControllerSpec = text.parse().map_err(|error| format!("{error}\nhint: {hint}"))?;
    match spec.kind {
        ControllerKind::Off if spec.chain => Err(format!("{text:?} never drafts\nhint: {hint}")),
        _ => Ok(spec),
    }
}

/// What controllers of a pair are made of, and what the weights of the predictor of acceptance are
/// called.
///
/// # Errors
/// There are no weights of the kind asked for.
pub fn parts(
    target: &impl LocalModel,
    draft: Option<&impl LocalModel>,
    cost: CostModel,
    temperature: f32,
    gamma: Option<usize>,
    predictors: &Predictors,
) -> Outcome<(ControllerParts, String)> {
    let Weights { predictor, name } =
        predictors.acceptance.of(&shape(target), draft.map(|draft| shape(draft)).as_ref())?;
    let parts = ControllerParts {
        gamma,
        cost,
        predictor: Some(predictor),
        facts: SessionFacts { temperature, compression: compression(target) },
        paper: predictors.paper.clone(),
    };
    Ok((parts, name))
}

/// What a model is recognised by.
#[must_use]
pub fn shape(model: &impl LocalModel) -> ModelShape {
    let config = model.config();
    ModelShape {
        architecture: config.architecture.clone(),
        layers: config.layers,
        hidden: config.hidden,
        vocab_size: model.vocab_size(),
    }
}

/// Bits that the compression of most of the weights removed from 16, divided by 16.
#[must_use]
pub fn compression(model: &impl LocalModel) -> f32 {
    (1.0 - model.bits_per_weight() / 16.0).clamp(0.0, 1.0) as f32
}

/// The table in words, for `--help`.
#[must_use]
pub fn help() -> String {
    let names = ControllerSpec::NAMES.iter().zip(ControllerSpec::PURPOSES);
    let rows: Vec<String> = names
        .map(|(name, (parameter, purpose))| {
            format!("  {:<32} {purpose}", format!("{name}{parameter}"))
        })
        .collect();
    format!(
        "Controllers:\n{}\n  {:<32} look-up of earlier text first, NAME where it finds nothing\n\n\
         speckv is the default. With a draft model it looks up earlier text too, at no cost that \
         can be measured, unless --no-lookup\n\
         is given; the others draft with the model alone, as they do where they come from, unless \
         chain+ is put before them.\n\
         speckv, expected-value and adaptive-verification decide by measured costs: the first run \
         of a pair measures them, in two\n\
         seconds or in one pass of each kind, and keeps them in the user's cache folder.",
        rows.join("\n"),
        "chain+NAME"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_library_is_a_name_here_and_in_the_help() {
        let help = help();
        for name in ControllerSpec::NAMES {
            assert!(parse(name).is_ok() && help.contains(&format!("\n  {name}")), "{name}");
        }
        for text in ["fixed-1", "fixed:64", "chain+fixed:2", "confidence:0.4", "entropy:adaedl"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        assert_eq!(DEFAULT.to_string(), "speckv");
    }

    #[test]
    fn unknown_names_and_gammas_are_refused_with_the_list() {
        for text in ["", "fast", "fixed-0", "fixed:65", "fixed-", "off-3", "chain+off", "speckv:3"]
        {
            assert!(
                parse(text).expect_err(text).contains("hint: the controllers are off, fixed"),
                "{text}"
            );
        }
    }
}
