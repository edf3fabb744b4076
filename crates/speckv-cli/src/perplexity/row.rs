//! Two distributions over the next token, and the token that came.

/// What one position says. Logarithms are natural.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// `-ln q(token)`, of the target.
    pub surprise: f64,
    /// What the reference says of it.
    pub against: Option<Against>,
}

/// One position of target (`q`) and reference (`p`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Against {
    /// `-ln p(token)`.
    pub surprise: f64,
    /// `sum over tokens of p ln (p / q)`, at least 0. Kullback and Leibler 1951.
    pub divergence: f64,
    /// Whether both have the same likeliest token.
    pub same_top: bool,
}

/// Largest logit, the first token that has it, and the logarithm of the sum of exponentials.
fn normalizer(logits: &[f32]) -> Option<(usize, f64)> {
    let mut top = 0;
    for (token, logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return None;
        }
        if *logit > logits[top] {
            top = token;
        }
    }
    let largest = f64::from(*logits.get(top)?);
    if !largest.is_finite() {
        return None;
    }
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    Some((top, largest + sum.ln()))
}

impl Row {
    /// Reads one position: logits of the target, of the reference if there is one, and the token
    /// that came. Where vocabularies are padded to different sizes, what both have is compared.
    /// `None` if logits are not numbers or the token is beyond them.
    #[must_use]
    pub fn of(target: &[f32], reference: Option<&[f32]>, token: usize) -> Option<Row> {
        let shared = reference.map_or(target.len(), |reference| reference.len().min(target.len()));
        let target = &target[..shared];
        let (top, normal) = normalizer(target)?;
        let surprise = normal - f64::from(*target.get(token)?);
        let against = match reference.map(|reference| &reference[..shared]) {
            None => None,
            Some(reference) => {
                let (reference_top, reference_normal) = normalizer(reference)?;
                let divergence: f64 = reference
                    .iter()
                    .zip(target)
                    .map(|(&p, &q)| {
                        let p = f64::from(p) - reference_normal;
                        let weight = p.exp();
                        // 0 ln 0 = 0
                        if weight > 0.0 { weight * (p - (f64::from(q) - normal)) } else { 0.0 }
                    })
                    .sum();
                Some(Against {
                    surprise: reference_normal - f64::from(reference[token]),
                    divergence: divergence.max(0.0), // rounding
                    same_top: top == reference_top,
                })
            }
        };
        Some(Row { surprise, against })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_the_definitions_say() {
        // q = (1/2, 1/4, 1/4), p = (1/4, 1/2, 1/4): ln 2 nats lost on 1/2, gained on 1/4.
        let [half, quarter] = [0.5f32.ln(), 0.25f32.ln()];
        let row = Row::of(
            &[half, quarter, quarter],
            Some(&[quarter + 3.0, half + 3.0, quarter + 3.0]),
            1,
        )
        .unwrap();
        let against = row.against.unwrap();
        let ln2 = std::f64::consts::LN_2;
        assert!((row.surprise - 2.0 * ln2).abs() < 1e-6 && (against.surprise - ln2).abs() < 1e-6);
        assert!((against.divergence - 0.25 * ln2).abs() < 1e-6 && !against.same_top, "{against:?}");
    }

    #[test]
    fn a_distribution_is_no_distance_from_itself_and_padding_does_not_count() {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin() * 4.0).collect();
        let padded = [&logits[..], &[9.0, 9.0]].concat();
        let row = Row::of(&padded, Some(&logits), 7).unwrap();
        assert_eq!(row, Row::of(&logits, Some(&logits), 7).unwrap());
        let against = row.against.unwrap();
        assert!(against.divergence < 1e-12 && against.same_top && against.surprise == row.surprise);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for logits in
            [&[f32::NAN, 0.0][..], &[f32::INFINITY, 0.0], &[f32::NEG_INFINITY; 2], &[], &[0.0]]
        {
            assert_eq!(Row::of(logits, None, 1), None, "{logits:?}");
            assert_eq!(Row::of(&[0.0, 0.0], Some(logits), 1), None, "{logits:?}");
        }
    }
}
