//! Emission of passes: how an operation tells a plan how to compute a node.
//!
//! A plan asks the operation of every node for its forward passes, and then, from the last node to the first, for its
//! backward passes. The operation answers through an [`Emitter`]. The result is a [`Program`]: steps over values that
//! have no place in memory yet.

mod action;
mod emission;
mod emitter;
mod fused;
mod fused_facts;
mod program;

pub(crate) use action::Action;
pub(crate) use emission::{Emission, NodeFacts};
pub(crate) use emitter::Emitter;
pub(crate) use fused::Fused;
pub(crate) use fused_facts::Gradient;
pub(crate) use program::{Effort, Program, Recomputable, Step, VALUE, Value};
