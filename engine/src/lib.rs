//! A small tensor engine: records a network once, plans its passes, gradients and memory, and replays the plan.
//!
//! ```
//! use engine::*;
//!
//! # fn main() -> Result<()> {
//! // y = w x, trained to fit y = 3 x
//! let mut graph = Graph::new();
//! let x = graph.input("x", [4, 1])?;
//! let target = graph.input("target", [4, 1])?;
//! let w = graph.parameter("w", [1, 1], Init::kaiming_uniform(1))?;
//! let y = graph.linear(x, w, None)?;
//! let loss = graph.mse_loss(y, target)?;
//!
//! let plan = Plan::training(&graph, loss)?;
//! println!("{plan}"); // every step, and the memory it takes
//!
//! let mut session = Session::new(Reference, vec![plan])?;
//! let training = PlanId(0);
//! session.initialize(0);
//! session.write_input(training, x, &[1.0, 2.0, 3.0, 4.0])?;
//! session.write_input(training, target, &[3.0, 6.0, 9.0, 12.0])?;
//! let step = Step::new(AdamW { weight_decay: 0.0, ..AdamW::default() }, 0.1);
//! for _ in 0..200 {
//!     session.run(training)?;
//!     session.update(&step)?;
//! }
//! assert!(session.loss(training)? < 1e-3);
//! assert!((session.tensor("w")?[0] - 3.0).abs() < 0.01);
//! # Ok(())
//! # }
//! ```
//!
//! 1. A [`Graph`] says what to compute. Its nodes are inputs, parameters, states, and operations on earlier nodes.
//!    Recording an operation checks shapes and computes nothing.
//! 2. A [`Plan`] says how: the forward and backward passes in order, and the place of every value in memory.
//! 3. A [`Session`] owns a [`Backend`], the memory, and plans that share parameters, and runs the plans.
//!    [`Session::start_step`] runs a plan and the optimizer: a step that fails changes nothing, and a GPU can be given
//!    several steps in advance. A [`Step`] names the optimizer, [`AdamW`] or [`Sgd`], and may clip gradients and
//!    average parameters; a [`Group`] has factors for some of the parameters; [`Session::accumulate`] makes one step of
//!    several micro-batches. [`Session::save_checkpoint`] writes a file, with PyTorch's layouts, from which
//!    [`Session::load_checkpoint`] continues with the same bits; [`Session::save_weights`] and
//!    [`Session::load_weights`] leave the optimizer out.
//!
//! # In a project of your own
//!
//! The package is `resconv-engine`, and the crate `engine`. Cargo optimises nothing in debug builds, and kernels
//! without optimisation are hundreds of times slower: the last two lines, in the `Cargo.toml` of your workspace,
//! optimise all dependencies, not your own code.
//!
//! ```toml
//! [dependencies]
//! engine = { package = "resconv-engine", path = "../resconv/engine" }
//!
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```
//!
//! Without the default feature `cuda` there is no backend for GPUs, and one dependency less.
//!
//! # Where is my PyTorch feature?
//!
//! | PyTorch | here |
//! | --- | --- |
//! | `nn.Conv2d`, with groups, depthwise | [`Graph::conv2d`] with a [`Conv2d`] |
//! | `nn.ConvTranspose2d` | [`Graph::conv_transpose2d`] with a [`ConvTranspose2d`] |
//! | `nn.Linear` | [`Graph::linear`] |
//! | `nn.BatchNorm2d` | [`Graph::batch_norm`]; [`Graph::frozen_batch_norm`] to train with constant statistics |
//! | `nn.GroupNorm`, `nn.InstanceNorm2d` | [`Graph::group_norm`]: for the latter with a group a channel |
//! | `F.relu`, `F.gelu`, .. | [`Graph::activation`] with one of [`Activation`]; [`Graph::prelu`], [`Graph::rrelu`] |
//! | `nn.Dropout` | [`Graph::dropout`] |
//! | `F.max_pool2d`, `F.avg_pool2d` | [`Graph::max_pool2d`], [`Graph::avg_pool2d`] |
//! | `F.adaptive_avg_pool2d(x, 1)` | [`Graph::global_avg_pool2d`] |
//! | `F.interpolate(mode="nearest" or "bilinear")` | [`Graph::upsample`], [`Graph::upsample_by`] |
//! | `torch.cat(.., dim=1)`, `x[:, a:b]` | [`Graph::concat`], [`Graph::slice_channels`] |
//! | `x.flatten(1)`, `x.reshape(..)` | [`Graph::flatten`], [`Graph::reshape`]: views |
//! | a `Linear` weight behind a `flatten` | [`flattened_linear_weight`] |
//! | `F.pad` | [`Graph::pad`]: zeros at the bottom and right |
//! | `a + w * b`, `a - b`, `a * b`, `w * a` | [`Graph::add`], [`Graph::sub`], [`Graph::mul`], [`Graph::scale`] |
//! | `x.sum()`, `x.mean()` | [`Graph::sum`], [`Graph::mean`] |
//! | `loss_1 + w * loss_2` | [`Graph::weighted_sum`] |
//! | `F.l1_loss`, `F.mse_loss` | [`Graph::l1_loss`], [`Graph::mse_loss`] |
//! | `((p - t) ** 2 + 1e-6).sqrt().mean()` | [`Graph::charbonnier_loss`] |
//! | `pytorch_msssim.ssim`, torchmetrics' SSIM | [`Graph::ssim`], with scikit-image's windows |
//! | `F.cross_entropy`, with `label_smoothing`, `ignore_index` | [`Graph::softmax_cross_entropy`] |
//! | `F.binary_cross_entropy_with_logits` | [`Graph::bce_with_logits`] |
//! | `optim.AdamW`, `optim.SGD` | [`AdamW`], [`Sgd`] in a [`Step`] |
//! | parameter groups, `requires_grad = False` | [`Graph::set_group`] with a [`Group`]; [`Group::FROZEN`] |
//! | `clip_grad_norm_`, `swa_utils.AveragedModel` | [`Step::clip_norm`], [`Step::average`] |
//! | `loss.backward()` several times before a step | [`Session::accumulate`] |
//! | `CosineAnnealingLR`, warm-up | [`Schedule`] |
//! | `nn.init.kaiming_uniform_` | [`Init::kaiming_uniform`] |
//! | `save(model.state_dict())`, `load_state_dict` | [`Session::save_weights`], [`Session::load_weights`] |
//! | a checkpoint with the optimizer | [`Session::save_checkpoint`], [`Session::load_checkpoint`] |
//! | `autograd.gradcheck` | [`gradcheck`] |
//! | `autograd.Function` | [`CustomOp`], on the CPU |
//! | `DistributedDataParallel` | [`Plan::training_part`], [`Session::distributed`] |
//! | `torch.cuda.CUDAGraph` | nothing to do: plans are replayed as graphs |
//!
//! Left out on purpose: shapes that change from step to step, broadcasting, other types than `f32` (and `f64` in
//! [`Reference`]), eager execution, recurrent layers and attention, gradients of gradients.
//!
//! # More
//!
//! [`gradcheck`] compares the gradients of any graph with finite differences. [`CustomOp`] is for operations of your
//! own, on the host alone. `engine/examples/two_spirals.rs` defines and trains a network,
//! `engine/examples/custom_op.rs` an operation; `trainer/examples` has a LeNet, a ResNet-20 and a U-Net on real images.
#![forbid(unsafe_code)]

mod emit;
mod error;
pub mod gradcheck;
mod graph;
mod ids;
mod init;
mod mode;
mod ops;
mod plan;
pub mod pytorch;
mod regions;
mod session;
mod shape;
mod units;

pub use error::{Error, Result};
pub use gradcheck::GradcheckOptions;
pub use graph::{Graph, Group, TensorInfo};
pub use ids::{NodeId, PlanId};
pub use init::Init;
pub use kernels::activation::Activation;
pub use kernels::collective::{self, Distributed, Part};
pub use kernels::conv2d::{Algo, Conv2dParams, Precision};
pub use kernels::loss::Loss;
pub use kernels::simd::Isa;
pub use kernels::upsample::Upsampling;
pub use kernels::{Backend, Cpu, CpuError, Element, Mark, OutOfMemory, Reference, Refusal};
#[cfg(feature = "cuda")]
pub use kernels::{Cuda, CudaError};
pub use mode::{Phase, Statistics};
pub use ops::{
    BackwardInputs, BatchNorm, BatchNormNodes, Conv2d, ConvTranspose2d, Convolution, CrossEntropy, CustomOp, GroupNorm,
    NormConvAct, NormConvActNodes, Pool2d, View, flattened_linear_weight,
};
pub use plan::{MemoryReport, Plan, PlanOptions};
pub use session::{AdamW, NonFinite, Optimizer, Schedule, ScheduleKind, Session, SessionOptions, Sgd, Step, StepTime};
pub use shape::Shape;
pub use units::mib;
