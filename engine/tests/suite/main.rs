//! Tests of the engine's public interface.

mod common;
mod custom;
mod device;
mod distributed;
mod errors;
mod files;
mod finite;
mod gradients;
mod optimizers;
mod random_graphs;
mod sessions;
mod steps;
