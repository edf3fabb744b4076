//! Tokens that an output head omits while the text has none of them.

use std::ops::Range;

/// For so many tokens after one that the output head omits elsewhere, the head is whole: a text in
/// another script has more of them.
pub(super) const RARE_REACH: usize = 256;

/// Rows of the head that parts of a matrix can be cut at: see
/// [`Matrix::build_with_cuts`](crate::matrix::Matrix::build_with_cuts).
const CUT: usize = 64;

/// The tokens of `asked` whose rows of the head can be omitted together.
pub(super) fn gap(asked: Option<&Range<u32>>, vocab: usize) -> Option<Range<usize>> {
    let asked = asked?;
    let end = (asked.end as usize).min(vocab) / CUT * CUT;
    let gap = (asked.start as usize).next_multiple_of(CUT)..end;
    (!gap.is_empty()).then_some(gap)
}

/// Where a sequence has such tokens.
#[derive(Debug, Default)]
pub(super) struct RarePositions {
    /// Ascending.
    positions: Vec<usize>,
    /// Of the last feed, by index, if it had branches.
    fed: Vec<usize>,
}

impl RarePositions {
    /// The last one.
    pub(super) fn last(&self) -> Option<usize> {
        self.positions.last().copied()
    }

    /// Forgets positions from `len` on.
    pub(super) fn cut(&mut self, len: usize) {
        while self.positions.pop_if(|position| *position >= len).is_some() {}
    }

    /// Notes a feed after `start` positions whose first `trunk` tokens stay: `rare` are indices of
    /// its tokens.
    pub(super) fn note(&mut self, start: usize, trunk: usize, branches: bool, rare: &[usize]) {
        let stay = rare.iter().filter(|&&index| index < trunk);
        self.positions.extend(stay.map(|index| start + index));
        self.fed.clear();
        if branches {
            self.fed.extend_from_slice(rare);
        }
    }

    /// Keeps a path of the last feed, which began at `start` and whose first `trunk` tokens are
    /// held.
    pub(super) fn keep(&mut self, start: usize, trunk: usize, path: &[usize]) {
        let in_place = path.iter().enumerate().take_while(|&(i, &token)| i == token).count();
        let kept = in_place.min(trunk);
        self.cut(start + kept);
        let rare = |(_, token): &(usize, &usize)| self.fed.contains(token);
        let moved = (start + kept..).zip(&path[kept..]).filter(rare).map(|(at, _)| at);
        self.positions.extend(moved.collect::<Vec<_>>());
    }

    /// Takes over those of another sequence before `len`.
    pub(super) fn copy_from(&mut self, other: &Self, len: usize) {
        self.positions.clone_from(&other.positions);
        self.fed.clear();
        self.cut(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_has_whole_cuts_inside_the_vocabulary() {
        assert_eq!(gap(None, 1000), None);
        assert_eq!(gap(Some(&(60..300)), 1000), Some(64..256));
        assert_eq!(gap(Some(&(64..2000)), 1000), Some(64..960));
        assert_eq!(gap(Some(&(65..127)), 1000), None);
    }

    #[test]
    fn positions_follow_what_is_taken_back_and_kept() {
        let mut rare = RarePositions::default();
        rare.note(0, 5, false, &[1, 3]);
        assert_eq!(rare.last(), Some(3));
        rare.cut(3);
        assert_eq!(rare.last(), Some(1));
        // Of a chain, a part.
        rare.note(2, 3, false, &[0, 2]);
        rare.keep(2, 3, &[0, 1]);
        assert_eq!(rare.last(), Some(2));
        rare.cut(2);
        // A trunk of one token and branches, of which tokens 0 and 2 stay.
        rare.note(3, 1, true, &[2]);
        assert_eq!(rare.last(), Some(1));
        rare.keep(3, 1, &[0, 2]);
        assert_eq!(rare.last(), Some(4));
        let mut copy = RarePositions::default();
        copy.copy_from(&rare, 4);
        assert_eq!(copy.last(), Some(1));
    }
}
