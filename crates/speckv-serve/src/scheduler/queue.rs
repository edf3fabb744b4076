//! The order of jobs: clients take turns, and each client's jobs keep their order.

use std::collections::{HashMap, VecDeque};

/// A queue that is fair among clients. Its bound is kept by [`super::Handle::places`].
#[derive(Debug)]
pub struct FairQueue<T> {
    turns: VecDeque<u64>, // clients with something waiting, the next one first
    waiting: HashMap<u64, VecDeque<T>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        FairQueue { turns: VecDeque::new(), waiting: HashMap::new() }
    }
}

impl<T> FairQueue<T> {
    /// Puts an item at the end of its client's line.
    pub fn push(&mut self, client: u64, item: T) {
        let line = self.waiting.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_back(item);
    }

    /// Puts an item back where it was taken from: it is next.
    pub fn push_front(&mut self, client: u64, item: T) {
        let line = self.waiting.entry(client).or_default();
        if !line.is_empty() {
            self.turns.retain(|&other| other != client);
        }
        self.turns.push_front(client);
        line.push_front(item);
    }

    /// The next item; its client goes to the end of the round.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let client = self.turns.pop_front()?;
        let line = self.waiting.get_mut(&client)?;
        let item = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        Some((client, item))
    }

    /// Takes out the items for which `gone` holds.
    pub fn extract(&mut self, mut gone: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for line in self.waiting.values_mut() {
            let (away, kept): (Vec<T>, Vec<T>) = line.drain(..).partition(&mut gone);
            out.extend(away);
            line.extend(kept);
        }
        self.waiting.retain(|_, line| !line.is_empty());
        self.turns.retain(|client| self.waiting.contains_key(client));
        out
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Items that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_many_jobs_does_not_hold_up_another() {
        let mut queue = FairQueue::default();
        (0..4).for_each(|job| queue.push(1, job));
        queue.push(2, 10);
        queue.push(3, 20);
        queue.push(2, 11);
        let order: Vec<i32> = std::iter::from_fn(|| queue.pop().map(|(_, item)| item)).collect();
        assert_eq!(order, [0, 10, 20, 1, 11, 2, 3]);
        assert_eq!((queue.is_empty(), queue.len()), (true, 0));
    }

    #[test]
    fn a_job_put_back_is_next_and_no_client_is_twice_in_a_round() {
        let mut queue = FairQueue::default();
        (0..3).for_each(|job| queue.push(1, job));
        queue.push(2, 10);
        let (client, first) = queue.pop().expect("an item");
        queue.push_front(client, first);
        let order: Vec<i32> = std::iter::from_fn(|| queue.pop().map(|(_, item)| item)).collect();
        assert_eq!(order, [0, 10, 1, 2]);
    }

    #[test]
    fn what_is_extracted_leaves_no_empty_line() {
        let mut queue = FairQueue::default();
        (0..3).for_each(|job| queue.push(1, job));
        queue.push(2, 10);
        let mut gone = queue.extract(|&job| job < 2 || job == 10);
        gone.sort_unstable();
        assert_eq!(gone, [0, 1, 10]);
        assert_eq!(queue.pop(), Some((1, 2)));
        assert_eq!(queue.pop(), None);
    }
}
