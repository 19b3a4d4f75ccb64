//! Fashion-MNIST: finding, fetching and reading it.
//!
//! `load` gives the images, wherever they are.

mod dataset;
mod error;
mod fetch;
pub mod idx;
mod known;
mod load;
mod locate;
pub(crate) mod random;
mod report;
mod sampler;

pub(crate) use dataset::Dataset;
pub use error::DataError;
pub use fetch::FetchError;
pub use known::FoundBy;
pub(crate) use known::{SIDE, TEST_IMAGES};
pub(crate) use load::{FashionMnist, load};
pub use locate::Search;
pub use report::{DatasetReport, check};
pub(crate) use sampler::Sampler;
