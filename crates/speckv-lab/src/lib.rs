//! The SpecKV laboratory: traces, training, exact replay, evaluation.
