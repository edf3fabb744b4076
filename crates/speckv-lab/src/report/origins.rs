//! Whether the parts of a report belong together.

use super::Inputs;
use crate::run::{ModelFacts, Origin};

/// What one input was measured on, as far as it is recorded.
#[derive(Debug, Default)]
struct Seen {
    what: String,
    machine: Option<String>,
    target: Option<String>,
    draft: Option<String>,
}

/// Sentences about machines and models that differ between the inputs: numbers of different ones
/// stand side by side then, and must not be compared. Inputs that do not say where they come from
/// are taken to belong.
#[must_use]
pub fn disagreements(inputs: &Inputs) -> Vec<String> {
    let seen = seen(inputs);
    let mut said: Vec<String> = [
        several("machine", &seen, |seen| seen.machine.as_deref()),
        several("target", &seen, |seen| seen.target.as_deref()),
        several("draft", &seen, |seen| seen.draft.as_deref()),
    ]
    .into_iter()
    .flatten()
    .collect();
    // A curve is of either model.
    let models: Vec<&String> =
        seen.iter().flat_map(|seen| [&seen.target, &seen.draft]).flatten().collect();
    for curve in &inputs.curves {
        if let Some(sum) = &curve.sha256
            && !models.is_empty()
            && !models.contains(&sum)
        {
            said.push(format!(
                "the curve of {} is of a model that nothing else here is about",
                curve.model
            ));
        }
    }
    said
}

/// A sentence if not all that name a thing name the same.
fn several(noun: &str, seen: &[Seen], of: fn(&Seen) -> Option<&str>) -> Option<String> {
    let named: Vec<(&str, &str)> =
        seen.iter().filter_map(|seen| Some((seen.what.as_str(), of(seen)?))).collect();
    if named.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        return None;
    }
    let each: Vec<String> =
        named.iter().map(|(what, value)| format!("{what}: {}", short(value))).collect();
    Some(format!("not all of this is of one {noun} ({})", each.join("; ")))
}

fn seen(inputs: &Inputs) -> Vec<Seen> {
    let recorded =
        |what: &str, target: &ModelFacts, draft: Option<&ModelFacts>, origin: &Origin| Seen {
            what: what.into(),
            machine: Some(origin.machine.clone()).filter(|machine| !machine.is_empty()),
            target: Some(target.sha256.clone()),
            draft: draft.map(|draft| draft.sha256.clone()),
        };
    let mut all = Vec::new();
    if let Some((run, _)) = &inputs.grid {
        all.push(recorded("grid", &run.settings.target, run.settings.draft.as_ref(), &run.origin));
    }
    if let Some(trace) = &inputs.trace {
        let settings = &trace.run.settings;
        all.push(recorded("trace", &settings.target, settings.draft.as_ref(), &trace.run.origin));
    }
    all.extend(inputs.contests.iter().map(|contest| Seen {
        what: format!("comparison {}", contest.name),
        machine: contest.origin.machine.clone(),
        target: contest.origin.target.clone(),
        draft: contest.origin.draft.clone(),
    }));
    all.extend(inputs.curves.iter().map(|curve| Seen {
        what: format!("curve of {}", curve.model),
        machine: curve.machine.clone(),
        ..Seen::default()
    }));
    all
}

/// The first twelve digits of a sum; a machine's name whole.
fn short(value: &str) -> &str {
    let is_sum = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_sum { &value[..12] } else { value }
}

#[cfg(test)]
mod tests {
    use super::{
        super::inputs::{Contest, ContestOrigin, CurveFile},
        *,
    };

    fn contest(machine: &str, target: &str) -> Contest {
        Contest {
            name: "asis".into(),
            baseline: "off".into(),
            prompts: 1,
            best_fixed: None,
            rows: Vec::new(),
            facts: Vec::new(),
            origin: ContestOrigin {
                machine: Some(machine.into()),
                target: Some(target.into()),
                draft: None,
            },
        }
    }

    fn curve(sum: Option<&str>, machine: Option<&str>) -> CurveFile {
        CurveFile {
            model: "m.gguf".into(),
            sha256: sum.map(Into::into),
            machine: machine.map(Into::into),
            version: None,
            command: Vec::new(),
            tensor_type: "F32".into(),
            instruction_set: "avx2".into(),
            threads: 1,
            curves: Vec::new(),
        }
    }

    #[test]
    fn machines_and_models_that_differ_are_named() {
        let of = |contests: Vec<Contest>, curves: Vec<CurveFile>| {
            disagreements(&Inputs { contests, curves, ..Inputs::default() })
        };
        assert!(
            of(
                vec![contest("a", "1"), contest("a", "1")],
                vec![curve(Some("1"), Some("a")), curve(None, None)]
            )
            .is_empty()
        );
        let said =
            of(vec![contest("a", "1"), contest("b", "2")], vec![curve(Some("3"), Some("a"))]);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains(
                "one machine (comparison asis: a; comparison asis: b; curve of m.gguf: a)"
            ),
            "{said:?}"
        );
        assert!(
            said[1].contains("one target") && said[2].contains("the curve of m.gguf"),
            "{said:?}"
        );
        assert_eq!(short(&"ab".repeat(32)), "abababababab");
    }
}
