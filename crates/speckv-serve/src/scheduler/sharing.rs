//! Prompts that begin alike are read once: several answers to one prompt, or a system prompt that
//! many conversations begin with.
//!
//! A new sequence copies what another one, running or kept, has read of its beginning. One whose
//! beginning is just being read by another waits for that, and copies it then; the rows of the
//! passes go to the one that reads.

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

use std::time::Instant;

use speckv::{engine::Sequence, model::LanguageModel, token::Token};

use super::{Running, Scheduler, contained, job::Fault};

/// A sequence that may read, lead or wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// Its text.
    pub tokens: &'a [Token],
    /// Tokens of it that the target has read.
    pub read: usize,
    /// It has more to read before it makes tokens.
    pub reads: bool,
    /// It may go on from what others have read.
    pub reuses: bool,
    /// Others of the same scope.
    pub scope: u64,
}

impl<'a> Reader<'a> {
    fn of<M: LanguageModel>(running: &'a Running<M>) -> Self {
        Reader {
            tokens: running.sequence.tokens(),
            read: running.sequence.read(),
            reads: running.sequence.unread() > 0,
            reuses: running.reuses,
            scope: running.scope,
        }
    }
}

/// Whether `readers[index]` waits: another one is ahead of it, still reads, and will have read at
/// least half of what it lacks. The sequence that is furthest ahead never waits, so that one always
/// reads.
pub(super) fn waits(readers: &[Reader<'_>], index: usize) -> bool {
    let own = readers[index];
    if !own.reads || !own.reuses {
        return false;
    }
    let lacks = own.tokens.len() - 1 - own.read;
    readers.iter().enumerate().any(|(other, leader)| {
        let ahead = leader.read > own.read || leader.read == own.read && other < index;
        if !ahead || !leader.reads || leader.scope != own.scope {
            return false;
        }
        let common = leader.tokens.iter().zip(own.tokens).take_while(|(a, b)| a == b).count();
        let gained = common.min(own.tokens.len() - 1).saturating_sub(own.read);
        gained > 0 && 2 * gained >= lacks
    })
}

impl<M: LanguageModel + 'static> Scheduler<M> {
    /// Has a sequence that is about to run copy what another one has read of its text.
    pub(super) fn copy_for(&mut self, scope: u64, sequence: &mut Sequence<M>) -> Result<(), Fault> {
        let running = self.running.iter().filter(|running| running.scope == scope);
        let donors = running.map(|running| &running.sequence).chain(self.pool.resting(scope));
        let best = donors.max_by_key(|donor| donor.read_of(sequence.tokens()));
        let Some(donor) = best else { return Ok(()) };
        contained(&self.metrics, || self.engine.copy_read(donor, sequence)).map(drop)
    }

    /// Decides which sequences wait for another one's reading in the next step. Those whose waiting
    /// is over copy what was read.
    pub(super) fn share_reading(&mut self) {
        let waits: Vec<bool> = {
            let readers: Vec<Reader<'_>> = self.running.iter().map(Reader::of).collect();
            (0..readers.len()).map(|index| waits(&readers, index)).collect()
        };
        for index in (0..waits.len()).rev() {
            let released = self.running[index].waits && !waits[index];
            self.running[index].waits = waits[index];
            if released {
                self.release(index);
            }
        }
    }

    /// A sequence that waited copies what it waited for.
    fn release(&mut self, index: usize) {
        let mut running = self.running.remove(index);
        let before = running.sequence.read();
        let outcome = self.copy_for(running.scope, &mut running.sequence);
        let copied = running.sequence.read() - before;
        running.cached_tokens += copied;
        self.metrics.copied(copied);
        tracing::debug!(request = %running.request, copied, waited_ms = (Instant::now() - running.started()).as_millis() as u64, "prompt copied");
        self.running.insert(index, running);
        if let Err(fault) = outcome {
            self.fail(index, fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(tokens: &[Token], read: usize) -> Reader<'_> {
        Reader { tokens, read, reads: read + 1 < tokens.len(), reuses: true, scope: 0 }
    }

    #[test]
    fn one_of_equal_prompts_reads_and_the_others_wait_until_it_has() {
        let prompt: Vec<Token> = (0..50).collect();
        let at = |reads: [usize; 3]| {
            let readers = reads.map(|read| reader(&prompt, read));
            [0, 1, 2].map(|index| waits(&readers, index))
        };
        assert_eq!(at([0, 0, 0]), [false, true, true]);
        assert_eq!(at([0, 10, 0]), [true, false, true], "the sequence that is ahead reads on");
        assert_eq!(
            at([49, 0, 0]),
            [false, false, true],
            "what is read can be copied; no sequence waits"
        );
    }

    #[test]
    fn a_short_common_beginning_is_not_worth_waiting_for() {
        let (a, mut b): (Vec<Token>, Vec<Token>) = ((0..50).collect(), (0..50).collect());
        b[20] = 99;
        assert!(!waits(&[reader(&a, 0), reader(&b, 0)], 1), "20 of 49");
        b[20] = 20;
        b[30] = 99;
        assert!(waits(&[reader(&a, 0), reader(&b, 0)], 1), "30 of 49");
        let anew = Reader { reuses: false, ..reader(&b, 0) };
        assert!(!waits(&[reader(&a, 0), anew], 1), "it asked to read everything itself");
        let foreign = Reader { scope: 1, ..reader(&b, 0) };
        assert!(!waits(&[reader(&a, 0), foreign], 1), "what others read is not its own");
    }

    #[test]
    fn one_sequence_always_reads() {
        let prompt: Vec<Token> = (0..9).collect();
        for reads in 0..9_usize.pow(3) {
            let readers = [reads % 9, reads / 9 % 9, reads / 81].map(|read| reader(&prompt, read));
            let reading =
                (0..3).filter(|&index| readers[index].reads && !waits(&readers, index)).count();
            assert!(reading >= 1 || readers.iter().all(|reader| !reader.reads), "{readers:?}");
        }
    }
}
