//! SIMD implementation of the [module documentation](super)'s equations.
