//! Tests of the engine's public interface, on the `Reference` backend.

mod common;
mod custom;
mod distributed;
mod errors;
mod faulty;
mod finite;
mod gradients;
mod random_graphs;
mod sessions;
mod steps;
