//! How much of which prompt the next pass reads.

use super::Rules;

/// Shares `budget` rows among readers with `unread` tokens each: equal parts, and what a short one
/// does not need goes to the longer ones. Each gets at least 1, so that each makes progress. Same
/// order as `unread`.
#[must_use]
pub(super) fn shares(unread: &[usize], budget: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..unread.len()).collect();
    order.sort_by_key(|&reader| unread[reader]);
    let mut left = budget;
    let mut given = vec![0; unread.len()];
    for (place, &reader) in order.iter().enumerate() {
        let share = (left / (unread.len() - place)).max(1).min(unread[reader]);
        given[reader] = share;
        left = left.saturating_sub(share);
    }
    given
}

/// Fewest tokens of a draft's reading in a step: a running text is always behind by a few.
const LEAST_DRAFT: usize = 8;

/// Tokens of a draft's reading that take about as long as one of the target's.
const DRAFT_PER_TARGET: usize = 4;

/// Tokens that the draft of each of `running` sequences may catch up on in a step. They read one
/// after the other while all others wait, so that together they get no more than what takes as long
/// as the target's chunk. Small parts cost more: a pass of 8 tokens takes twice as long per token
/// as one of 64, and nothing is drafted before the last of them.
#[must_use]
pub(super) fn draft_share(running: usize, rules: &Rules) -> usize {
    if running > 1 {
        (DRAFT_PER_TARGET * rules.chunk / running).max(LEAST_DRAFT)
    } else {
        rules.chunk_alone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_prompts_leave_their_rest_to_long_ones() {
        assert_eq!(shares(&[100, 4, 100], 64), [30, 4, 30]);
        assert_eq!(shares(&[1000], 64), [64]);
        assert_eq!(shares(&[10, 10], 64), [10, 10]);
        assert_eq!(shares(&[9, 9, 9], 2), [1, 1, 1]);
        assert_eq!(shares(&[], 64), [0; 0]);
    }

    #[test]
    fn drafts_that_catch_up_together_take_the_time_of_one_chunk() {
        let rules = Rules {
            most_running: 8,
            most_sequences: 8,
            sequence_bytes: 1,
            chunk: 32,
            chunk_alone: 256,
        };
        assert_eq!(draft_share(1, &rules), 256);
        assert_eq!([2, 3, 4].map(|running| draft_share(running, &rules)), [64, 42, 32]);
        assert_eq!(draft_share(64, &rules), 8, "no sequence falls behind for good");
    }

    proptest! {
        #[test]
        fn shares_keep_the_budget_and_starve_no_reader(
            unread in proptest::collection::vec(1_usize..500, 0..20),
            budget in 0_usize..600,
        ) {
            let given = shares(&unread, budget);
            prop_assert!(given.iter().sum::<usize>() <= budget.max(unread.len()));
            prop_assert!(given.iter().zip(&unread).all(|(given, unread)| (1..=*unread).contains(given)));
            let total: usize = unread.iter().sum();
            prop_assert!(given.iter().sum::<usize>() >= budget.min(total), "nothing is wasted");
        }
    }
}
