//! What can go wrong between a configuration and a recorded graph.

/// Why a network cannot be made or recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of its range, or contradicts another one.
    #[error("{field}: expected {expected}, got {got}")]
    Config {
        /// Name of the setting, as in a configuration file.
        field: &'static str,
        /// What would be right.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The text of a setting cannot be read.
    #[error("expected {expected}, got `{got}`")]
    Syntax {
        /// What would be right.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// The network cannot take this input.
    #[error("input: expected [batch, height, width, {channels}], got {got}")]
    Input {
        /// Channels that the network takes.
        channels: usize,
        /// Shape that it was given.
        got: engine::Shape,
    },
    /// The engine refuses a layer, mostly because the image that arrives there is too small.
    #[error("{layer} cannot take an input of {height}x{width} pixels")]
    Layer {
        /// `encoder.layer_3`
        layer: String,
        /// Height of the layer's input.
        height: usize,
        /// Width of the layer's input.
        width: usize,
        /// The engine's reason.
        source: Box<engine::Error>,
    },
    /// The engine refuses an operation.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
