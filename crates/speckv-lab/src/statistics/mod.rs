//! Intervals and tests for differences. Pure arithmetic: random numbers come in as a stream, and
//! nothing here depends on what the numbers mean.

mod area;
mod bootstrap;
mod effect;
mod estimate;
mod holm;
mod mersenne;
mod moments;
mod permutation;
mod proportion;
pub mod throughput;
mod wilcoxon;

pub use area::{Scored, area_under_curve};
pub use bootstrap::{Interval, PairedTest, mean_interval, paired_bootstrap};
pub use effect::{cohens_dz, hodges_lehmann, rank_biserial};
pub use estimate::{Estimate, FEWEST_UNITS};
pub use holm::holm;
pub use mersenne::MersenneTwister;
pub use moments::{correlation, mean, mean_squared_error, median, quantile, sample_deviation};
pub use permutation::sign_flip;
pub use proportion::{grouped_share, wilson};
pub use wilcoxon::{SignedRank, signed_rank};
