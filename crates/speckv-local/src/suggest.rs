//! The closest of the words that a user may have meant.

/// The candidate with the fewest edits from `word`, if they are few enough to be a slip of the
/// fingers: at most a third of its characters. Case does not count.
#[must_use]
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    candidates
        .into_iter()
        .map(|candidate| {
            let other: Vec<char> = candidate.to_lowercase().chars().collect();
            (edits(&word, &other), other.len(), candidate)
        })
        .filter(|&(edits, length, _)| edits <= length.max(word.len()).div_ceil(3))
        .min_by_key(|&(edits, ..)| edits)
        .map(|(.., candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours from one word to the other (optimal
/// string alignment).
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let names = ["smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "gemma3-270m"];
        assert_eq!(closest("smolm2-135m", names), Some("smollm2-135m"));
        assert_eq!(closest("Qwen2.5-coder-1.5", names), Some("qwen2.5-coder-1.5b"));
        assert_eq!(closest("llama-3-70b", names), None);
        assert_eq!(closest("", names), None);
        assert_eq!(closest("q4k", ["q4_k", "q6_k", "f16"]), Some("q4_k"));
        assert_eq!(closest("spekcv", ["off", "speckv"]), Some("speckv"));
    }

    #[test]
    fn a_swap_is_one_edit() {
        let edits = |a: &str, b: &str| {
            edits(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        assert_eq!((edits("rnu", "run"), edits("", "abc"), edits("abc", "abc")), (1, 3, 0));
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
