//! The network that a `state_dict` belongs to, as far as the shapes of its tensors show it.

use super::error::{CheckpointError, Problem, Unknown};
use super::file::Checkpoint;
use crate::settings::NetworkFlags;
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, PerLayer, Ramp, ResConvConfig};

/// The network of a `state_dict` without settings, as its tensors show it.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The settings that follow from the tensors' names and shapes.
    pub network: NetworkFlags,
    /// Those that change what the network computes, and do not follow.
    pub unknown: Vec<Unknown>,
}

/// A convolution's size, and what is beside it.
struct Layer {
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    /// Length of the batch norm's weight, if there is one.
    batch_norm: Option<usize>,
    /// Whether its activation has a trained slope.
    has_slope: bool,
}

impl Checkpoint {
    /// The network of these tensors. Whether it has exactly these tensors is checked when they are loaded.
    ///
    /// # Errors
    /// [`Problem::Architecture`] if there are no encoder and decoder layers, or they contradict each other.
    pub fn architecture(&self) -> Result<Architecture, CheckpointError> {
        let layers = (1..).take_while(|i| self.tensors.contains_key(&weight_name("encoder", *i))).count();
        if layers == 0 {
            let instead = self.tensors.keys().next().map(|name| format!(", but `{name}`")).unwrap_or_default();
            return Err(self.not_ours(format!("it has no tensor `{}`{instead}", weight_name("encoder", 1))));
        }
        let [_, image, ..] = self.weight_shape("encoder", 1)?;
        let mut encoder: Vec<Layer> = Vec::with_capacity(layers);
        let mut groups = 1;
        for i in 1..=layers {
            let [out_channels, in_per_group, kernel_size, _] = self.weight_shape("encoder", i)?;
            let in_channels = encoder.last().map_or(image, |layer| layer.out_channels);
            if i == 2 {
                groups = in_channels / in_per_group;
            }
            encoder.push(self.layer("encoder", i, [in_channels, out_channels, kernel_size]));
        }
        let mut decoder = Vec::with_capacity(layers);
        for i in 1..=layers {
            let mirrored = &encoder[layers - i];
            let channels = [mirrored.out_channels, mirrored.in_channels, mirrored.kernel_size];
            decoder.push(self.layer("decoder", i, channels));
        }
        let mut unknown = vec![Unknown::any("stride"), Unknown::any("padding")];
        if layers > 1 {
            unknown.push(Unknown::any("residual_weight"));
        }
        // A layer with a slope has PReLU. The last encoder layer may differ from the others, of which there are none in
        // a network of one layer.
        let [has_slope, ends_with_slope] = [decoder[0].has_slope && layers > 1, encoder[layers - 1].has_slope];
        let bottleneck_activation = match (has_slope, ends_with_slope) {
            (true, true) => Some(BottleneckActivation::Same),
            (false, true) => Some(BottleneckActivation::Other(LayerActivation::Prelu)),
            (_, false) => {
                unknown.push(Unknown::any("bottleneck_activation"));
                None
            }
        };
        if !(has_slope || ends_with_slope && layers == 1) {
            unknown.push(Unknown::any("activation"));
        }
        let ramp = |of: fn(&Layer) -> usize| Ramp { first: of(&encoder[0]), last: of(&encoder[layers - 1]) }.into();
        let list = |of: fn(&Layer) -> usize| PerLayer::List(encoder.iter().map(of).collect());
        let (channels, kernel_size) = (ramp(|layer| layer.out_channels), ramp(|layer| layer.kernel_size));
        let ramps = ResConvConfig { layers, channels, kernel_size, ..ResConvConfig::default() };
        let is_ramp = |of: fn(&Layer) -> usize, at: fn(&ResConvConfig, usize) -> usize| {
            encoder.iter().enumerate().all(|(i, layer)| of(layer) == at(&ramps, i))
        };
        let channels = match is_ramp(|layer| layer.out_channels, ResConvConfig::channels_of) {
            true => ramps.channels.clone(),
            false => list(|layer| layer.out_channels),
        };
        let kernel_size = match is_ramp(|layer| layer.kernel_size, ResConvConfig::kernel_size_of) {
            true => ramps.kernel_size.clone(),
            false => list(|layer| layer.kernel_size),
        };
        let last_layers = [&encoder, &decoder].iter().any(|side| side[layers - 1].batch_norm.is_some());
        let network = NetworkFlags {
            layers: Some(layers),
            channels: Some(channels),
            kernel_size: Some(kernel_size),
            groups: Some(groups),
            activation: has_slope.then_some(LayerActivation::Prelu),
            bottleneck_activation,
            batch_norm_encoder: position("batch_norm_encoder", &encoder, &mut unknown),
            batch_norm_decoder: position("batch_norm_decoder", &decoder, &mut unknown),
            batch_norm_last_layers: Some(last_layers),
            ..NetworkFlags::default()
        };
        Ok(Architecture { network, unknown })
    }

    fn layer(&self, side: &str, i: usize, [in_channels, out_channels, kernel_size]: [usize; 3]) -> Layer {
        let name = format!("{side}.layer_{i}");
        let batch_norm = self.tensors.get(&format!("{name}.bn.weight")).map(|weight| weight.values.len());
        let has_slope = self.tensors.contains_key(&format!("{name}.act.weight"));
        Layer { in_channels, out_channels, kernel_size, batch_norm, has_slope }
    }

    /// Shape of a convolution's weight; no dimension is 0, and the kernel is square.
    fn weight_shape(&self, side: &str, i: usize) -> Result<[usize; 4], CheckpointError> {
        let name = weight_name(side, i);
        let got = self.tensors.get(&name).map_or(&[][..], |tensor| &tensor.shape);
        match *got {
            [k, c, r, s] if r == s && k * c * r > 0 => Ok([k, c, r, s]),
            _ => Err(self.not_ours(format!("tensor `{name}`: expected a square kernel [K, C, R, R], got {got:?}"))),
        }
    }

    fn not_ours(&self, reason: String) -> CheckpointError {
        Problem::Architecture(reason).of(&self.path)
    }
}

fn weight_name(side: &str, i: usize) -> String {
    format!("{side}.layer_{i}.conv.weight")
}

/// The position of the batch norms of one side, or that it is unknown under the name `key`. Their lengths show it if a
/// layer has different numbers of channels before and after its convolution.
fn position(key: &'static str, layers: &[Layer], unknown: &mut Vec<Unknown>) -> Option<BatchNormPosition> {
    if layers.iter().all(|layer| layer.batch_norm.is_none()) {
        return Some(BatchNormPosition::None);
    }
    let telling = layers.iter().find(|layer| layer.batch_norm.is_some() && layer.in_channels != layer.out_channels);
    // After the convolution, or after the activation: presets have neither.
    let is_after = telling.is_some_and(|layer| layer.batch_norm == Some(layer.out_channels));
    if telling.is_some() && !is_after {
        return Some(BatchNormPosition::BeforeConv);
    }
    unknown.push(Unknown { key, may_be_preset: !is_after });
    None
}
