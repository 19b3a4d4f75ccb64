//! What every operation's file needs.

pub(super) use super::case::{Case, Cases, Random};
pub(super) use crate::emit::{Effort, Emitter};
pub(super) use crate::graph::{Arguments, Graph, Operation};
pub(super) use crate::ids::NodeId;
pub(super) use crate::{Result, Shape};
