//! The activation, or the identity if it is absent.

use crate::ops::activation::cpu::{Function, Visitor, visit};
use crate::ops::epilogue::params::EpilogueParams;
use crate::simd::Simd;

/// Takes the place of an activation that is absent.
#[derive(Clone, Copy)]
struct Identity;

impl Function for Identity {
    #[inline(always)]
    fn value<S: Simd>(self, _: S, x: S::F32) -> S::F32 {
        x
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, _: S::F32) -> S::F32 {
        s.splat(1.0)
    }
}

/// Calls the visitor with the activation.
pub(super) fn visit_activation(p: &EpilogueParams, visitor: impl Visitor) {
    match p.activation {
        Some(f) => visit(f, visitor),
        None => visitor.visit(Identity),
    }
}
