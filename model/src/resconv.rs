//! The network: how layers and skip connections are put together.

use crate::layer::{Layer, Place};
use crate::{BatchNormPosition, Error, Prediction, ResConvConfig, Result};
use engine::{Activation, Graph, NodeId};
use std::fmt;

/// A residual convolutional encoder and decoder.
///
/// The decoder mirrors the encoder: its layer `i` of `L` undoes encoder layer `L + 1 - i`. Input and output channels
/// are swapped, and the convolution is transposed, with the same kernel, stride and padding. Before each decoder layer
/// `i` but the first, the output of encoder layer `L + 1 - i` is added, multiplied by the residual weight. So the
/// output of encoder `layer_1` enters decoder `layer_L`.
///
/// Its `Display` is the tree that PyTorch prints for the same network.
#[derive(Clone, Debug)]
pub struct ResConv {
    config: ResConvConfig,
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
}

impl ResConv {
    /// The network of a configuration.
    ///
    /// # Errors
    /// As [`ResConvConfig::validate`].
    pub fn new(config: ResConvConfig) -> Result<ResConv> {
        config.validate()?;
        let encoder = (0..config.layers).map(|i| encoder_layer(&config, i)).collect();
        let decoder = (0..config.layers).map(|i| decoder_layer(&config, i)).collect();
        Ok(ResConv { config, encoder, decoder })
    }

    /// The configuration of the network.
    pub fn config(&self) -> &ResConvConfig {
        &self.config
    }

    /// Records the network on images `x[N,H,W,in_channels]`, and returns its output `[N,H,W,out_channels]`: between 0
    /// and 1 if it predicts the image, or `x` minus what its layers compute if that is the residual
    /// ([`Prediction::Residual`]).
    ///
    /// Parameters and running statistics have the names of PyTorch's `state_dict`, such as
    /// `encoder.layer_1.bn.running_mean`, and PyTorch's default initialization. A layer that has its batch norm before
    /// the convolution, or none, and needs no zeros at the bottom and right, is one node together with the addition
    /// that follows it: [`Graph::norm_conv_act`], named `encoder.layer_1` and so on. If the activation has trained or
    /// random slopes, the node ends before it. The operations of other layers are named `decoder.layer_2.conv`,
    /// `decoder.layer_2.skip` and so on.
    ///
    /// # Errors
    /// If `x` has another shape, an image that arrives at a layer is too small for its kernel, or the graph has a
    /// network already.
    pub fn record(&self, graph: &mut Graph, x: NodeId) -> Result<NodeId> {
        self.record_with(graph, x, true)
    }

    /// As [`record`](Self::record), with one node per operation: the same function up to rounding, but slower.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn record_unfused(&self, graph: &mut Graph, x: NodeId) -> Result<NodeId> {
        self.record_with(graph, x, false)
    }

    fn record_with(&self, graph: &mut Graph, x: NodeId, fused: bool) -> Result<NodeId> {
        match graph.shape(x).dims() {
            [_, _, _, channels] if *channels == self.config.in_channels => {}
            _ => return Err(Error::Input { channels: self.config.in_channels, got: graph.shape(x) }),
        }
        let mut y = x;
        // The inputs of the encoder layers. The decoder takes them in reverse: it needs their sizes and, except for
        // `x`, their values.
        let mut inputs = Vec::with_capacity(self.encoder.len());
        for layer in &self.encoder {
            inputs.push(y);
            y = record_layer(layer, graph, y, Place { size: None, skip: None, fused })?;
        }
        for (i, layer) in self.decoder.iter().enumerate() {
            let mirrored = inputs.pop().expect("encoder and decoder have equally many layers");
            // A convolution loses the last (size + 2 padding - kernel) mod stride rows, and its mirror does not restore
            // them. So the output is never larger than the mirrored input, and zeros fill the rest.
            let size = Some(image_size(graph, mirrored));
            let skip = (i + 1 < self.decoder.len()).then_some((mirrored, self.config.residual_weight));
            y = record_layer(layer, graph, y, Place { size, skip, fused })?;
        }
        if self.config.predict == Prediction::Residual {
            let ResConvConfig { in_channels, out_channels, .. } = self.config;
            let mut image = x;
            if in_channels > out_channels {
                image = graph.slice_channels(x, 0..out_channels)?;
                let mask = graph.slice_channels(x, out_channels..in_channels)?;
                let mask = graph.concat(&vec![mask; out_channels])?;
                y = graph.mul(y, mask)?;
            }
            y = graph.sub(image, y)?;
            graph.set_name(y, "restored");
        }
        Ok(y)
    }

    /// Number of trained parameters. As in PyTorch, running statistics are not counted.
    pub fn parameter_count(&self) -> usize {
        self.layers().map(Layer::parameter_count).sum()
    }

    /// Side in pixels of the square of input pixels that an output pixel can depend on, through the encoder and the
    /// decoder: `1 + 2 sum (kernel - 1)` with stride 1.
    ///
    /// With a stride, neighbouring output pixels see squares of different sizes, and this is the largest. It is only an
    /// upper bound if a kernel is smaller than the stride, because then there are gaps between windows.
    pub fn receptive_field(&self) -> usize {
        let mut side: usize = 1;
        for layer in self.decoder.iter().rev() {
            // The inputs of `side` neighbouring output pixels are those whose windows begin at one of
            // `side + kernel - 1` pixels, and a window begins at every `stride`-th pixel.
            side = (side + layer.kernel_size - 1).div_ceil(layer.stride);
        }
        for (i, layer) in self.encoder.iter().enumerate().rev() {
            side = (side - 1).saturating_mul(layer.stride).saturating_add(layer.kernel_size);
            if i > 0 {
                // The skip connection adds pixels of the gaps on both sides.
                side = side.saturating_add(2 * layer.stride.saturating_sub(layer.kernel_size));
            }
        }
        side
    }

    /// The encoder's layers, and then the decoder's.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.encoder.iter().chain(&self.decoder)
    }
}

/// As PyTorch prints the module.
impl fmt::Display for ResConv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResConv(\n")?;
        for (name, layers) in [("encoder", &self.encoder), ("decoder", &self.decoder)] {
            writeln!(f, "  ({name}): ModuleDict(")?;
            layers.iter().try_for_each(|layer| writeln!(f, "{layer}"))?;
            f.write_str("  )\n")?;
        }
        f.write_str(")")
    }
}

/// Encoder layer `i`, counted from 0.
fn encoder_layer(config: &ResConvConfig, i: usize) -> Layer {
    let last = i + 1 == config.layers;
    let kernel_size = config.kernel_size_of(i);
    Layer {
        name: format!("encoder.layer_{}", i + 1),
        transposed: false,
        in_channels: if i == 0 { config.in_channels } else { config.channels_of(i - 1) },
        out_channels: config.channels_of(i),
        kernel_size,
        stride: config.stride_of(i),
        padding: config.padding.of(kernel_size),
        groups: if i == 0 { 1 } else { config.groups },
        batch_norm: if last && !config.batch_norm_last_layers {
            BatchNormPosition::None
        } else {
            config.batch_norm_encoder
        },
        activation: if last {
            config.bottleneck_activation.resolve(config.activation)
        } else {
            Some(config.activation)
        },
    }
}

/// Decoder layer `i`, counted from 0.
fn decoder_layer(config: &ResConvConfig, i: usize) -> Layer {
    let last = i + 1 == config.layers;
    let mirrored = encoder_layer(config, config.layers - 1 - i);
    Layer {
        name: format!("decoder.layer_{}", i + 1),
        transposed: true,
        in_channels: mirrored.out_channels,
        out_channels: if last { config.out_channels } else { mirrored.in_channels },
        batch_norm: if last && !config.batch_norm_last_layers {
            BatchNormPosition::None
        } else {
            config.batch_norm_decoder
        },
        activation: match config.predict {
            Prediction::Image if last => Some(Activation::Sigmoid.into()),
            Prediction::Residual if last => None,
            _ => Some(config.activation),
        },
        ..mirrored
    }
}

fn record_layer(layer: &Layer, graph: &mut Graph, x: NodeId, place: Place) -> Result<NodeId> {
    let [height, width] = image_size(graph, x);
    let layer_error = |source| Error::Layer { layer: layer.name.clone(), height, width, source: Box::new(source) };
    layer.record(graph, x, place).map_err(layer_error)
}

/// Height and width of an image node `[N,H,W,C]`.
fn image_size(graph: &Graph, x: NodeId) -> [usize; 2] {
    let shape = graph.shape(x);
    [shape.dims()[1], shape.dims()[2]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Padding, Ramp};

    /// First and last input pixel that a pixel depends on, if there is any.
    type Reach = Option<(usize, usize)>;

    fn union(reaches: impl Iterator<Item = Reach>) -> Reach {
        reaches.flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The widest reach of the output pixels of a row, by following every tap of every pixel. Those that the border
    /// could cut off are left out.
    fn widest_reach(network: &ResConv, width: usize, margin: usize) -> usize {
        let mut row: Vec<Reach> = (0..width).map(|i| Some((i, i))).collect();
        let mut inputs = Vec::new();
        for layer in &network.encoder {
            let outputs = (row.len() + 2 * layer.padding - layer.kernel_size) / layer.stride + 1;
            let taps = |q: usize| {
                (0..layer.kernel_size).filter_map(move |s| (q * layer.stride + s).checked_sub(layer.padding))
            };
            let next = (0..outputs).map(|q| union(taps(q).filter_map(|i| row.get(i).copied()))).collect();
            inputs.push(std::mem::replace(&mut row, next));
        }
        for (n, layer) in network.decoder.iter().enumerate() {
            let mirrored = inputs.pop().unwrap();
            let reaches = |i: usize, q: usize| {
                (q * layer.stride..q * layer.stride + layer.kernel_size).contains(&(i + layer.padding))
            };
            let from_row =
                |i: usize| union(row.iter().enumerate().filter(|(q, _)| reaches(i, *q)).map(|(_, reach)| *reach));
            let skip = n + 1 < network.decoder.len();
            let next = (0..mirrored.len()).map(|i| union([from_row(i), mirrored[i].filter(|_| skip)].into_iter()));
            row = next.collect();
        }
        let inside = &row[margin..width - margin];
        inside.iter().flatten().map(|(first, last)| last - first + 1).max().unwrap()
    }

    #[test]
    fn the_output_of_a_network_with_a_mask_has_the_channels_of_the_image() {
        let predict = Prediction::Residual;
        for in_channels in [3, 4] {
            let config = ResConvConfig { layers: 2, in_channels, out_channels: 3, predict, ..ResConvConfig::default() };
            let mut graph = Graph::new();
            let x = graph.input("x", [2, 8, 8, in_channels]).unwrap();
            let y = ResConv::new(config).unwrap().record(&mut graph, x).unwrap();
            assert_eq!(graph.shape(y).dims(), [2, 8, 8, 3]);
        }
    }

    #[test]
    fn the_receptive_field_is_what_an_output_pixel_can_see() {
        let mut exact = 0;
        for layers in [1, 2, 3] {
            for strides in [[1, 1], [2, 2], [3, 3], [2, 1], [1, 3]] {
                for (first, last) in [(1, 1), (2, 2), (3, 3), (4, 4), (3, 7), (7, 3)] {
                    for padding in [Padding::Auto, Padding::Fixed(0), Padding::Fixed(2)] {
                        let kernel_size = Ramp { first, last }.into();
                        let stride = Ramp { first: strides[0], last: strides[1] }.into();
                        let config = ResConvConfig { layers, kernel_size, stride, padding, ..ResConvConfig::default() };
                        let network = ResConv::new(config).unwrap();
                        let (computed, reach) = (network.receptive_field(), widest_reach(&network, 400, 100));
                        let message = format!("{computed} for {reach}: {:?}", network.config);
                        if first.min(last) >= strides[0].max(strides[1]) {
                            assert_eq!(computed, reach, "{message}");
                            exact += 1;
                        } else {
                            assert!(computed >= reach, "{message}");
                        }
                    }
                }
            }
        }
        assert!(exact > 100);
        let field =
            |layers| ResConv::new(ResConvConfig { layers, ..ResConvConfig::default() }).unwrap().receptive_field();
        assert_eq!([1, 11, 15].map(field), [5, 45, 61]);
    }
}
