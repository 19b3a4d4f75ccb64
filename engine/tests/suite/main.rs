//! Tests of the engine's public interface, on the `Reference` backend.

mod common;
mod custom;
mod device;
mod distributed;
mod errors;
mod finite;
mod gradients;
mod random_graphs;
mod sessions;
mod steps;
