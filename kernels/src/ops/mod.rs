//! The operations, a folder each: `mod.rs` opens with the equations and says everything about its passes; beside it are
//! their implementations, `reference.rs`, `cpu.rs` (or `cpu/`) and `cuda/`, and their tests.

pub mod activation;
pub mod adamw;
pub mod add;
pub mod batch_norm;
pub mod clip_norm;
pub mod concat;
pub mod conv2d;
pub mod conv_epilogue;
pub mod cross_entropy;
pub mod custom;
pub mod dropout;
pub mod ema;
pub mod epilogue;
pub mod fill;
pub mod finite;
pub mod group_norm;
pub mod loss;
pub mod mul;
pub mod norm_act;
pub mod pad;
pub mod pool2d;
pub mod prelu;
mod prelude;
pub mod rrelu;
pub mod sgd;
pub mod ssim;
pub mod sum;
pub mod upsample;
