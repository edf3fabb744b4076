//! The least time of any controller that knows every agreement beforehand.

use speckv::{cost::CostModel, record::Source};

use crate::trace::{Trace, TraceError};

/// Least seconds for a trace: the shortest way over its positions, where a step may draft any
/// number of tokens from one of `sources`, all of which will be accepted, or none. Catching up is
/// taken to be free, so this is a bound that no controller can pass, not one that some can reach.
///
/// `seconds(i) = min( plain + seconds(i+1), min over source, n <= agreed of n * draft +
/// verify(n+1) + seconds(i+n+1) )`
///
/// # Errors
/// [`TraceError`] if the trace does not fit together.
pub fn least_seconds(
    trace: &Trace,
    cost: &CostModel,
    sources: &[Source],
) -> Result<f64, TraceError> {
    trace.check()?;
    let length = trace.tokens.len();
    let mut least = vec![0.0; length + 1];
    for position in (0..length).rev() {
        let context = trace.prompt_tokens + position;
        let gamma_limit = (trace.max_tokens - position - 1).min(trace.depths.gamma_limit);
        let mut best = cost.plain_seconds(context) + least[position + 1];
        for &source in sources {
            let Some(proposal) = trace.positions[position].proposal(source) else { continue };
            for count in 1..=proposal.agreed.min(gamma_limit) {
                let seconds = cost.drafting_seconds(source, count, 0, context)
                    + cost.verify_seconds(count + 1, context);
                best = f64::min(best, seconds + least[(position + count + 1).min(length)]);
            }
        }
        least[position] = best;
    }
    Ok(least[0])
}
