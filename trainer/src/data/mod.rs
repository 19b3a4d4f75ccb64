//! Fashion-MNIST: finding, fetching and reading it.
//!
//! [`load`] gives the images, wherever they are.

mod dataset;
mod error;
mod fetch;
mod folder;
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
pub use folder::{DatasetFolder, FoundBy};
pub use known::{FILES, KnownFile, SIDE, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
pub use load::{FashionMnist, load};
pub use locate::Search;
pub use report::{FileReport, Report, report};
pub use sampler::Sampler;
