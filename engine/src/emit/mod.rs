//! The emission of passes: what an operation sees while it says how a node is computed.
//!
//! A plan asks the operation of every node for its forward passes, and then, from the last node to the first, for its
//! backward ones. The operation answers with an [`Emitter`]. The result is a [`Program`]: steps over values that have
//! no place yet.

mod action;
mod emission;
mod emitter;
mod fused;
mod node_parts;
mod program;

pub(crate) use action::Action;
pub(crate) use emission::{Emission, NodeFacts};
pub(crate) use emitter::Emitter;
pub(crate) use fused::Fused;
pub(crate) use node_parts::Gradient;
pub(crate) use program::{Effort, Program, Recomputable, Step, VALUE, Value};
