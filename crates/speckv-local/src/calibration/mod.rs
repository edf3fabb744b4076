//! What passes of a pair cost on this machine: measured once, kept in the user's cache folder.
//!
//! [`measure`] reads the clock around passes, [`lookup`] around look-up, [`plain`] around the
//! passes of one model by which a device is chosen; [`subject`] says what the numbers belong to,
//! [`kept`] is the file. Controllers refine the numbers while they decode; what they learn stays in
//! their session, so that one busy hour spoils nothing for later ones.

pub mod kept;
pub mod lookup;
pub mod measure;
pub mod plain;
pub mod subject;

use std::{collections::BTreeMap, time::Duration};

use kept::{Folder, Kept};
use measure::MeasureError;
use serde::Serialize;
use speckv::{cost::CostModel, engine::Clock};
use subject::Subject;

use crate::{
    backend::LocalModel,
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    pair::Pair,
    report::{Reporter, Unit},
};

/// Where costs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Measured just now.
    Measured,
    /// Measured by an earlier run.
    Kept,
    /// Nothing was measured: [`CostModel::uncalibrated`].
    Guessed,
}

/// Costs of a pair.
#[derive(Debug, Clone)]
pub struct Costs {
    /// For controllers.
    pub model: CostModel,
    /// Where they come from.
    pub origin: Origin,
}

/// Context length at which [`View`] shows costs.
const VIEW_CONTEXT: usize = 256;
/// Row counts that [`View`] shows.
const VIEW_ROWS: [usize; 8] = [1, 2, 3, 4, 5, 8, 12, 17];

/// A few of the numbers, for people and JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// Where they come from.
    pub origin: Origin,
    /// Tokens of context that the seconds hold for.
    pub context: usize,
    /// Seconds of a draft token.
    pub draft_seconds: f64,
    /// Seconds of a target pass by its rows.
    pub verify_seconds: BTreeMap<usize, f64>,
    /// Seconds per token that the draft has to read to catch up.
    pub catch_up_seconds_per_token: f64,
    /// Seconds of a token proposed by look-up.
    pub lookup_seconds: f64,
}

impl Costs {
    /// Before anything was measured.
    #[must_use]
    pub fn guessed() -> Self {
        Costs { model: CostModel::uncalibrated(), origin: Origin::Guessed }
    }

    /// A few of the numbers.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            origin: self.origin,
            context: VIEW_CONTEXT,
            draft_seconds: self.model.draft_seconds(VIEW_CONTEXT),
            verify_seconds: VIEW_ROWS
                .map(|rows| (rows, self.model.verify_seconds(rows, VIEW_CONTEXT)))
                .into(),
            catch_up_seconds_per_token: self.model.catch_up_seconds(1),
            lookup_seconds: self.model.ngram_seconds(),
        }
    }
}

/// The pair's costs: those that were kept, or measured now and kept. What cannot be read or written
/// is said and does not stop anything.
///
/// # Errors
/// A pass that fails, or Ctrl-C.
pub fn costs(
    pair: &Pair<impl LocalModel>,
    measure_anew: bool,
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Outcome<Costs> {
    let subject = Subject::of(pair);
    let folder = Folder::from_environment();
    let mut reason = "once";
    if let (Some(folder), false) = (&folder, measure_anew) {
        match folder.read(&subject) {
            Kept::Usable(model) => return Ok(Costs { model: *model, origin: Origin::Kept }),
            Kept::Absent => {}
            Kept::Unusable { path, why } => {
                reporter
                    .warning(&format!("{} is of no use ({why}) and is replaced", path.display()));
                reason = "again";
            }
        }
    }
    reporter.note(&format!("measuring what passes cost on this machine, {reason} ..."));
    let mut progress = reporter.progress("measuring", Unit::Items, Duration::ZERO);
    let samples = measure::measure(
        &**pair.engine.target(),
        pair.draft.as_deref(),
        &Clock::system(),
        &mut |done, total| {
            progress.at(done, total);
            !interrupt.is_raised()
        },
    );
    progress.finish();
    let samples = samples.map_err(|error| match error {
        MeasureError::Stopped => {
            Failure::interrupted(error, "`--controller fixed` and `--draft none` need no measuring")
        }
        MeasureError::Model(_) => Failure::new(chain(&error), "a smaller --ctx takes less memory"),
    })?;
    let lookup = lookup::seconds_per_token(&Clock::system());
    let fitted = CostModel::from_samples(&samples);
    let model = match fitted
        .and_then(|model| lookup.map_or(Ok(model.clone()), |seconds| model.with_lookup(seconds)))
    {
        Ok(model) => model,
        Err(error) => {
            reporter.warning(&format!(
                "the measured times make no sense ({error}); they are learned while decoding"
            ));
            return Ok(Costs::guessed());
        }
    };
    let kept = folder.map_or_else(
        || Err("neither XDG_CACHE_HOME nor HOME is set".into()),
        |folder| folder.write(&subject, &model),
    );
    if let Err(why) = kept {
        reporter.note(&format!("the measured costs cannot be kept for the next time: {why}"));
    }
    Ok(Costs { model, origin: Origin::Measured })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_shows_the_models_numbers() {
        let costs = Costs::guessed();
        let view = costs.view();
        assert_eq!(view.verify_seconds[&5], costs.model.verify_seconds(5, 256));
        assert_eq!(view.verify_seconds.len(), VIEW_ROWS.len());
        assert_eq!(serde_json::to_value(&view).expect("serialises")["origin"], "guessed");
    }
}
