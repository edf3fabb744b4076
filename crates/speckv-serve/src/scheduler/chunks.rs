//! How much of which prompt the next pass reads.

/// Shares `budget` rows among readers with `unread` tokens each: equal parts, and what a short one does not need goes to the longer ones. Nobody
/// gets less than 1, so that nobody starves. Same order as `unread`.
#[must_use]
pub fn shares(unread: &[usize], budget: usize) -> Vec<usize> {
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

    proptest! {
        #[test]
        fn shares_keep_the_budget_and_starve_nobody(unread in proptest::collection::vec(1_usize..500, 0..20), budget in 0_usize..600) {
            let given = shares(&unread, budget);
            prop_assert!(given.iter().sum::<usize>() <= budget.max(unread.len()));
            prop_assert!(given.iter().zip(&unread).all(|(given, unread)| (1..=*unread).contains(given)));
            let total: usize = unread.iter().sum();
            prop_assert!(given.iter().sum::<usize>() >= budget.min(total), "nothing is wasted");
        }
    }
}
