//! The half-crop experiment: data, pictures, curves and files around the network.
#![forbid(unsafe_code)]

pub mod data;
pub mod files;
pub mod picture;
pub mod plot;
