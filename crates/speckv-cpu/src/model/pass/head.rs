//! Hidden states and logits of the last layer's rows.

use speckv::logits::Logits;

use super::super::{
    CpuModel,
    scratch::{Row, Scratch},
};
use crate::{
    kernels::simd::GROUP,
    matrix::{Input, Output},
};

impl CpuModel {
    /// Hidden states of the rows that want them: what the output head reads.
    pub(super) fn hidden_states(&self, rows: &[Row], logits: &mut Logits, scratch: &Scratch) {
        let hidden = self.config.hidden;
        for (row, x) in rows.iter().zip(scratch.x.chunks_exact(hidden)) {
            let Some(state) = row.hidden else { continue };
            let (norm, out) = (&self.weights.output_norm, logits.hidden_mut(state));
            self.isa.rms_norm(x, norm, self.config.epsilon, out);
        }
    }

    /// Logits of the rows that want them.
    pub(super) fn head(&self, rows: &[Row], logits: &mut Logits, scratch: &mut Scratch) {
        let (hidden, head) = (self.config.hidden, &self.weights.head);
        let Some(first) = rows.iter().find_map(|row| row.logits) else { return };
        // The wanted rows move to the front of the residual stream, which nothing reads any more.
        let mut count = 0;
        for (i, _) in rows.iter().enumerate().filter(|(_, row)| row.logits.is_some()) {
            scratch.x.copy_within(i * hidden..(i + 1) * hidden, count * hidden);
            count += 1;
        }
        self.norm(Some(&self.weights.output_norm), count, scratch);
        let input = Input::new(&scratch.wide, &scratch.normed);
        let vocab_size = self.weights.embedding.vocab_size;
        let values = logits.rows_mut(first, count);
        let out = Output::new(values, vocab_size);
        let groups = head.matrix.groups();
        let wanted = || rows.iter().filter(|row| row.logits.is_some());
        match &head.gap {
            Some(gap) if wanted().all(|row| row.gap) => {
                let (start, end) = (gap.start as usize / GROUP, gap.end as usize / GROUP);
                self.multiply_groups(
                    input,
                    count,
                    &[(&head.matrix, 0..start, out), (&head.matrix, end..groups, out)],
                );
            }
            _ => self.multiply_groups(input, count, &[(&head.matrix, 0..groups, out)]),
        }
        self.finish_logits(values);
        if let Some(gap) = &head.gap {
            let leaving_out =
                wanted().zip(values.chunks_exact_mut(vocab_size)).filter(|(row, _)| row.gap);
            leaving_out.for_each(|(_, values)| {
                values[gap.start as usize..gap.end as usize].fill(f32::NEG_INFINITY)
            });
        }
    }

    /// Logits as the model has them: scaled, then capped.
    fn finish_logits(&self, logits: &mut [f32]) {
        if self.config.logit_scale != 1.0 {
            self.isa.scale(logits, self.config.logit_scale);
        }
        if let Some(cap) = self.config.logit_cap {
            self.isa.soft_cap(logits, cap);
        }
    }
}
