//! Validation: the mean L1 loss over the validation images (of Fashion-MNIST, its 10,000 test images), each with its
//! fixed damage, and other measures of how close the restored images are to the true ones.
//!
//! There are two losses. With *running statistics*, as a network is used, the loss of an image does not depend on the
//! others. With *batch statistics*, batch norm normalizes every batch by its own statistics, and the slopes of RReLU
//! are drawn at random (the same ones for every batch and in every validation). That is how the study validated, which
//! was in training mode: the images go in order, in batches of the training's size, and those left over at the end are
//! a smaller batch, as in PyTorch's loops.
//!
//! The loss of an image is the mean over its pixels, in f64. The loss of many is the mean over the images, so that
//! every image counts the same.

mod errors;
mod mean;
mod measure_sums;
mod preview;
mod validator;

pub use errors::{ClassErrors, Errors, HalfErrors};
pub use measure_sums::Measures;
pub(crate) use preview::Preview;
pub(crate) use validator::Validator;
pub use validator::{Losses, ValidateError, Validation};
