//! ResConv: the network of the half-crop experiment, recorded on the [`engine`].
//!
//! [`ResConvConfig`] has all settings. [`ResConv`] is the network of a configuration: it records itself into a
//! [`Graph`](engine::Graph), prints itself as PyTorch does, and computes its number of parameters and its receptive
//! field.
//!
//! ```
//! use engine::Graph;
//! use model::{ResConv, ResConvConfig};
//!
//! let network = ResConv::new(ResConvConfig { layers: 2, ..ResConvConfig::default() })?;
//! assert_eq!(network.parameter_count(), 19_299);
//!
//! let mut graph = Graph::new();
//! let x = graph.input("image", [64, 32, 32, 1])?;
//! let restored = network.record(&mut graph, x)?;
//! assert_eq!(graph.shape(restored), [64, 32, 32, 1].into());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: the study "Parameter tuning for a residual CNN" (2024-02-21), and its author's later logbook of residual
//! convolution (2024-02-24), both of github.com/defgsus/nn-experiments.
#![forbid(unsafe_code)]

mod activation;
mod config;
mod error;
mod layer;
mod per_layer;
mod resconv;
mod text;

pub use activation::{LayerActivation, UnknownActivation};
pub use config::{BatchNormPosition, BottleneckActivation, Padding, Prediction, ResConvConfig};
pub use error::{Error, Result};
pub use layer::Layer;
pub use per_layer::{PerLayer, Ramp};
pub use resconv::ResConv;
