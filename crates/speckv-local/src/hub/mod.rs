//! Models by the name of their repository on the Hugging Face Hub, in the Hub's own cache, so that
//! other programs find what this one has fetched, and this one what they have.

mod api;
mod choice;
mod name;
mod pull;

pub use choice::DEFAULT_QUANT;
pub use name::HubName;
pub use pull::{HubError, Pulled, pull};
