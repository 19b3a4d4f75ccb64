//! Fashion-MNIST: finding, fetching and reading it.
//!
//! [`load`] gives the images, wherever they are, and a [`Sampler`] the order in which a training visits them.

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

pub use dataset::Dataset;
pub use error::DataError;
pub use fetch::FetchError;
pub use known::FoundBy;
pub(crate) use known::{SIDE, TEST_IMAGES};
pub use load::{FashionMnist, load};
pub use locate::Search;
pub use report::{DatasetReport, check};
pub use sampler::Sampler;
