//! Images to train and to validate with.
//!
//! [`open`] reads them, in whichever format they come: each has a file in `formats`. A `Patches` tells which square of
//! an image the network sees, and a [`Sampler`] in which order a training visits them. [`load`] finds, fetches and
//! checks Fashion-MNIST.

pub mod cifar;
mod dataset;
mod error;
mod fetch;
mod formats;
pub mod idx;
mod image;
mod known;
mod load;
mod locate;
mod patches;
pub mod picture_file;
pub(crate) mod random;
mod report;
mod sampler;
mod split;

pub use dataset::Dataset;
pub use error::DataError;
pub use fetch::FetchError;
pub(crate) use formats::picture_files;
pub use formats::{Data, DataRequest, Format, open};
pub use image::Image;
pub use known::FoundBy;
pub(crate) use known::{SIDE, TEST_IMAGES};
pub use load::{FashionMnist, load};
pub use locate::Search;
pub use patches::Fit;
pub(crate) use patches::Patches;
pub use report::{DatasetReport, check};
pub use sampler::Sampler;
