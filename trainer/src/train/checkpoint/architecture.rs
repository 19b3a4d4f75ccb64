//! The network that a `state_dict` belongs to, as far as the shapes of its tensors show it.

use super::error::{CheckpointError, Problem};
use super::file::Checkpoint;
use crate::settings::NetworkFlags;
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Ramp};

/// The network of a bare `state_dict`, as its tensors show it.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The settings that follow from the tensors' names and shapes.
    pub network: NetworkFlags,
    /// What had to be assumed, for the user to read.
    pub assumptions: Vec<String>,
}

/// A convolution's place and size.
struct Layer {
    name: String,
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
            return Err(self.not_ours(format!("it has no tensor `{}`", weight_name("encoder", 1))));
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
        let mut assumptions = vec![
            "the weights alone do not show residual weight, activations, stride and padding: taking the flags' or preset's"
                .to_owned(),
        ];
        // A layer with a slope has PReLU. The last encoder layer may differ from the others.
        let [has_slope, ends_with_slope] = [decoder[0].has_slope && layers > 1, encoder[layers - 1].has_slope];
        let bottleneck_activation = match (has_slope, ends_with_slope) {
            (false, true) => Some(BottleneckActivation::Other(LayerActivation::Prelu)),
            (true, false) => {
                assumptions
                    .push(format!("{} has no slope as the others: taking no activation", encoder[layers - 1].name));
                Some(BottleneckActivation::None)
            }
            _ => None,
        };
        let ramp = |of: fn(&Layer) -> usize| Ramp { first: of(&encoder[0]), last: of(&encoder[layers - 1]) };
        let last_layers = [&encoder, &decoder].iter().any(|side| side[layers - 1].batch_norm.is_some());
        let network = NetworkFlags {
            layers: Some(layers),
            channels: Some(ramp(|layer| layer.out_channels)),
            kernel_size: Some(ramp(|layer| layer.kernel_size)),
            groups: Some(groups),
            activation: has_slope.then_some(LayerActivation::Prelu),
            bottleneck_activation,
            batch_norm_encoder: Some(position("encoder", &encoder, &mut assumptions)),
            batch_norm_decoder: Some(position("decoder", &decoder, &mut assumptions)),
            batch_norm_last_layers: Some(last_layers),
            ..NetworkFlags::default()
        };
        Ok(Architecture { network, assumptions })
    }

    fn layer(&self, side: &str, i: usize, [in_channels, out_channels, kernel_size]: [usize; 3]) -> Layer {
        let name = format!("{side}.layer_{i}");
        let batch_norm = self.tensors.get(&format!("{name}.bn.weight")).map(|weight| weight.values.len());
        let has_slope = self.tensors.contains_key(&format!("{name}.act.weight"));
        Layer { name, in_channels, out_channels, kernel_size, batch_norm, has_slope }
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

/// The position of the batch norms of one side. Their lengths show it if a layer has different numbers of channels
/// before and after its convolution.
fn position(side: &str, layers: &[Layer], assumptions: &mut Vec<String>) -> BatchNormPosition {
    if layers.iter().all(|layer| layer.batch_norm.is_none()) {
        return BatchNormPosition::None;
    }
    let telling = layers.iter().find(|layer| layer.batch_norm.is_some() && layer.in_channels != layer.out_channels);
    match telling {
        Some(layer) if layer.batch_norm == Some(layer.out_channels) => {
            assumptions.push(format!(
                "the batch norm of {} may be after the convolution or after the activation: taking after_conv",
                layer.name
            ));
            BatchNormPosition::AfterConv
        }
        Some(_) => BatchNormPosition::BeforeConv,
        None => {
            assumptions.push(format!("the batch norms of the {side} may be anywhere: taking before_conv"));
            BatchNormPosition::BeforeConv
        }
    }
}
