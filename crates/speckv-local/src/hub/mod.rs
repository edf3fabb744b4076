//! Models by the name of their repository on the Hugging Face Hub, in the Hub's own cache, so that
//! other programs find what this one has fetched, and this one what they have.

mod api;
mod choice;
mod error;
mod name;
mod pull;

pub use choice::DEFAULT_QUANT;
pub use error::HubError;
pub use name::HubName;
pub use pull::{Pulled, pull};
