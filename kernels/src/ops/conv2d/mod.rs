//! 2-D convolution (cross-correlation, as every deep-learning framework defines it) and its adjoint, the transposed
//! convolution.
//!
//! With stride `(u, v)`, padding `(a, b)` and one group:
//!
//! ```text
//! forward      y[n,p,q,k]  = bias[k] + sum_{r,s,c} x[n, p u + r - a, q v + s - b, c] w[r,s,c,k]       (0 outside x)
//! grad_input   dx[n,h,w,c] = bias[c] + sum_{r,s,k} dy[n,p,q,k] w[r,s,c,k]
//!              over all p, q with p u + r - a = h, q v + s - b = w
//! grad_weight  dw[r,s,c,k] = sum_{n,p,q} x[n, p u + r - a, q v + s - b, c] dy[n,p,q,k]
//! grad_bias    db[k]       = sum_{n,p,q} dy[n,p,q,k]
//! ```
//!
//! With `groups` G, input channel `c` and output channel `k` are connected only if `c / (C/G) == k / (K/G)`; the weight
//! is then `w[R,S,C/G,K]`, its third index counting inside the group.
//!
//! **A transposed convolution is the adjoint of a convolution**, so it has no kernels of its own. A transposed
//! convolution from `[N,P,Q,K]` to `[N,H,W,C]` is described by the [`Conv2dParams`] of the convolution from `[N,H,W,C]`
//! to `[N,P,Q,K]` and has that convolution's weight `w[R,S,C,K]` (in its own terms `[kh][kw][cout][cin]`):
//!
//! | transposed convolution | is the convolution's |
//! | --- | --- |
//! | forward | `grad_input`, with a bias over C |
//! | gradient of its input | `forward`, without bias |
//! | gradient of its weight | `grad_weight`: its input is `dy`, and the gradient of its output is `x` |
//!
//! All but `grad_bias` may read an input through an [`Affine`] map of its channels. Aliasing: outputs are disjoint from
//! all operands. Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", 2016; PyTorch's
//! `Conv2d` and `ConvTranspose2d` define the shapes.
//!
//! # The life of a convolution call
//!
//! From a line of a model to a fused multiply-add; paths without a crate are in this folder.
//!
//! 1. **Recorded.** `Graph::conv2d` (`engine/src/ops/conv2d.rs`) checks the shapes and records a node.
//! 2. **Planned.** When the graph is planned (`engine/src/plan`), the node emits its passes
//!    (`engine/src/ops/conv_passes.rs`): [`Forward`], and for training [`GradBias`], [`GradWeight`] and [`GradInput`].
//!    Each is a struct of spans in this folder (`forward.rs` and so on), with a [`Conv2dParams`] (`params.rs`), and
//!    becomes a [`Call`](crate::Call) (`kernels/src/passes.rs`). The plan orders the calls and finds a place in memory
//!    for every span.
//! 3. **Prepared.** A session (`engine/src/session`) gives every call to [`Backend::prepare`](crate::Backend::prepare)
//!    once. On the CPU the pass then chooses its [`Algo`] (`algo.rs`, from the estimates in `cost.rs`) and says how
//!    much scratch that takes.
//! 4. **Run.** In every step the session gives the call to [`Backend::run`](crate::Backend::run)
//!    (`kernels/src/backends`), which checks lengths and overlaps, and calls the pass's [`cpu`](crate::Pass::cpu),
//!    `cuda` or [`reference`](crate::Pass::reference). The pass makes slices or addresses of its spans (`operands.rs`).
//! 5. **On the CPU**, `cpu/mod.rs` hands over to the algorithm: `cpu/im2col.rs`, `cpu/direct` or `cpu/winograd`.
//!    - Direct (`cpu/direct/mod.rs`): `correlate.rs` packs the weight (`pack.rs`), cuts the images into strips, and
//!      gives each strip as a task to the threads (`kernels/src/parallel.rs`). A task enters code for the CPU's
//!      instruction set (`Isa::dispatch`, `kernels/src/simd/mod.rs`), copies its input (`strip.rs`) and walks the rows
//!      of its outputs. The innermost loop is `RegisterBlock::run` in `register_block.rs`: `sum = mul_add(a, w, sum)`.
//!      The weight gradient goes by `grad_weight.rs` to `RegisterBlock::run` in `outer.rs`.
//!      Depthwise convolutions have loops of their own (`cpu/depthwise/mod.rs`).
//!    - Winograd (`cpu/winograd/mod.rs`): `weight.rs` transforms the weight, then a task takes a block of tiles
//!      (`forward.rs`, `grad_weight.rs`), transforms its input (`columns.rs`, `transform.rs`), and multiplies in the
//!      frequency domain. The innermost loops are `Multiply::block` and `Accumulate::block` in `gemm.rs`.
//! 6. **On a GPU**, `cuda/mod.rs` picks a kernel that fits the channels and the alignment, and launches it. The kernels
//!    are in `cuda/conv2d.cu`, those on tensor cores in `cuda/conv2d_tf32.cu`; the innermost loop is `multiply`. For
//!    3x3 kernels of stride 1, there are `cuda/conv2d_halo.cu` and, on tensor cores, `cuda/halo_mma.cuh`.
//! 7. **In the reference**, `reference.rs` loops over all products.

mod affine;
mod algo;
mod conv;
mod cost;
pub(in crate::ops) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod forward;
mod grad_bias;
mod grad_input;
mod grad_weight;
mod operands;
mod params;
mod passes;
mod precision;
mod reference;
#[cfg(test)]
mod tests;
mod tile;

pub use affine::Affine;
pub use algo::{Algo, PassKind, UnknownAlgo};
pub use conv::Conv;
pub use forward::Forward;
pub use grad_bias::GradBias;
pub use grad_input::GradInput;
pub use grad_weight::GradWeight;
pub use params::{Conv2dParams, ShapeError};
pub use passes::ConvPasses;
pub use precision::Precision;
pub use tile::Tile;
