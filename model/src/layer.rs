//! One layer of the encoder or decoder: batch norm, convolution, zeros at the bottom and right, activation.

use crate::{BatchNormPosition, LayerActivation};
use engine::{
    Activation, BatchNorm, BatchNormNodes, Conv2d, ConvTranspose2d, Convolution, Graph, Init, NodeId, NormConvAct,
    NormConvActNodes,
};
use std::fmt;

/// The settings of a layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// PyTorch's name of the module: `encoder.layer_1`.
    pub name: String,
    /// Whether the convolution is transposed.
    pub transposed: bool,
    /// Channels of its input.
    pub in_channels: usize,
    /// Channels of its output.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel_size: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zeros around the image; if transposed, the padding of the convolution that this is the adjoint of.
    pub padding: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Where its batch norm is.
    pub batch_norm: BatchNormPosition,
    /// Its activation, if it has one.
    pub activation: Option<LayerActivation>,
}

/// What surrounds a layer in the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Height and width to which the convolution's output is padded.
    pub(crate) size: Option<[usize; 2]>,
    /// What is added to the output, and its weight.
    pub(crate) skip: Option<(NodeId, f64)>,
    /// Whether the layer becomes one node where that is possible.
    pub(crate) fused: bool,
}

impl Layer {
    /// Records the layer and what is added to its output.
    pub(crate) fn record(&self, graph: &mut Graph, x: NodeId, place: Place) -> engine::Result<NodeId> {
        let norm_is_first = matches!(self.batch_norm, BatchNormPosition::BeforeConv | BatchNormPosition::None);
        let fused = place.fused && norm_is_first && !self.needs_padding(graph, x, place.size);
        let mut y = match self.activation {
            None if fused => return self.record_fused(graph, x, None, place.skip),
            Some(LayerActivation::Function(f)) if fused => return self.record_fused(graph, x, Some(f), place.skip),
            // One node for everything before the activation.
            Some(_) if fused => self.record_fused(graph, x, None, None)?,
            _ => self.record_parts(graph, x, place.size)?,
        };
        if let Some(activation) = self.activation {
            y = activation.record(graph, y, &format!("{}.act", self.name))?;
        }
        y = self.batch_norm_at(BatchNormPosition::AfterActivation, graph, y)?;
        if let Some((skip, weight)) = place.skip {
            y = graph.add(y, skip, weight)?;
            graph.set_name(y, &format!("{}.skip", self.name));
        }
        Ok(y)
    }

    /// Records everything before the activation, with one node per operation.
    fn record_parts(&self, graph: &mut Graph, x: NodeId, size: Option<[usize; 2]>) -> engine::Result<NodeId> {
        let mut y = self.batch_norm_at(BatchNormPosition::BeforeConv, graph, x)?;
        y = self.conv(graph, y)?;
        if let Some([height, width]) = size {
            y = self.pad(graph, y, height, width)?;
        }
        self.batch_norm_at(BatchNormPosition::AfterConv, graph, y)
    }

    /// Records batch norm and convolution, and activation and skip if given, as one node.
    fn record_fused(
        &self,
        graph: &mut Graph,
        x: NodeId,
        activation: Option<Activation>,
        skip: Option<(NodeId, f64)>,
    ) -> engine::Result<NodeId> {
        let norm = match self.batch_norm {
            BatchNormPosition::None => None,
            _ => Some(self.batch_norm_nodes(graph)?),
        };
        let (w, bias) = self.conv_nodes(graph)?;
        let (skip, skip_weight) = skip.map_or((None, 0.0), |(skip, weight)| (Some(skip), weight));
        let nodes = NormConvActNodes { norm, w, bias: Some(bias), skip };
        let (conv, norm) = (self.convolution(), BatchNorm::default());
        let y = graph.norm_conv_act(x, nodes, NormConvAct { conv, norm, activation, skip_weight })?;
        graph.set_name(y, &self.name);
        Ok(y)
    }

    /// Whether the convolution's output for `x` is smaller than `size`.
    fn needs_padding(&self, graph: &Graph, x: NodeId, size: Option<[usize; 2]>) -> bool {
        let shape = graph.shape(x);
        let image = &shape.dims()[1..3];
        let output = |len: &usize| ((len - 1) * self.stride + self.kernel_size).saturating_sub(2 * self.padding);
        size.is_some_and(|size| image.iter().map(output).ne(size))
    }

    fn convolution(&self) -> Convolution {
        let (stride, padding, groups) = ([self.stride; 2], [self.padding; 2], self.groups);
        match self.transposed {
            true => Convolution::Transposed(ConvTranspose2d { stride, padding, groups, ..ConvTranspose2d::default() }),
            false => Convolution::Conv2d(Conv2d { stride, padding, groups }),
        }
    }

    /// Records weight and bias.
    fn conv_nodes(&self, graph: &mut Graph) -> engine::Result<(NodeId, NodeId)> {
        let Layer { in_channels, out_channels, kernel_size: k, groups, .. } = *self;
        // A transposed convolution has the weight of the convolution that it is the adjoint of, from out_channels to
        // in_channels.
        let (c, k_out) = if self.transposed { (out_channels, in_channels) } else { (in_channels, out_channels) };
        let shape = [k, k, c / groups, k_out];
        // PyTorch's fan-in counts the second dimension of its weight (OIHW, or IOHW if transposed). Ours is the third.
        let init = Init::kaiming_uniform(k * k * (c / groups));
        let w = graph.parameter(&format!("{}.conv.weight", self.name), shape, init)?;
        let bias = graph.parameter(&format!("{}.conv.bias", self.name), [out_channels], init)?;
        Ok((w, bias))
    }

    fn conv(&self, graph: &mut Graph, x: NodeId) -> engine::Result<NodeId> {
        let (w, bias) = self.conv_nodes(graph)?;
        let y = match self.convolution() {
            Convolution::Conv2d(conv) => graph.conv2d(x, w, Some(bias), conv)?,
            Convolution::Transposed(conv) => graph.conv_transpose2d(x, w, Some(bias), conv)?,
        };
        graph.set_name(y, &format!("{}.conv", self.name));
        Ok(y)
    }

    fn pad(&self, graph: &mut Graph, x: NodeId, height: usize, width: usize) -> engine::Result<NodeId> {
        if graph.shape(x).dims()[1..3] == [height, width] {
            return Ok(x);
        }
        let y = graph.pad(x, height, width)?;
        graph.set_name(y, &format!("{}.pad", self.name));
        Ok(y)
    }

    fn batch_norm_at(&self, position: BatchNormPosition, graph: &mut Graph, x: NodeId) -> engine::Result<NodeId> {
        if self.batch_norm != position {
            return Ok(x);
        }
        let nodes = self.batch_norm_nodes(graph)?;
        let y = graph.batch_norm(x, nodes, BatchNorm::default())?;
        graph.set_name(y, &format!("{}.bn", self.name));
        Ok(y)
    }

    fn batch_norm_nodes(&self, graph: &mut Graph) -> engine::Result<BatchNormNodes> {
        let name = |field: &str| format!("{}.bn.{field}", self.name);
        let shape = [self.batch_norm_channels()];
        Ok(BatchNormNodes {
            gamma: graph.parameter(&name("weight"), shape, Init::Ones)?,
            beta: graph.parameter(&name("bias"), shape, Init::Zeros)?,
            running_mean: graph.state(&name("running_mean"), shape, Init::Zeros)?,
            running_var: graph.state(&name("running_var"), shape, Init::Ones)?,
        })
    }

    /// Channels of the batch norm; 0 if there is none.
    fn batch_norm_channels(&self) -> usize {
        match self.batch_norm {
            BatchNormPosition::BeforeConv => self.in_channels,
            BatchNormPosition::AfterConv | BatchNormPosition::AfterActivation => self.out_channels,
            BatchNormPosition::None => 0,
        }
    }

    /// Number of trained parameters: scale and offset of the batch norm, weight and bias of the convolution, those of
    /// the activation.
    pub(crate) fn parameter_count(&self) -> usize {
        let weight = self.kernel_size * self.kernel_size * self.in_channels * self.out_channels / self.groups;
        let activation = self.activation.map_or(0, LayerActivation::parameter_count);
        2 * self.batch_norm_channels() + weight + self.out_channels + activation
    }
}

/// As PyTorch prints the module, indented to its place in the network, without a newline at the end.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, number) = self.name.split_once('.').expect("names are encoder.layer_N or decoder.layer_N");
        writeln!(f, "    ({number}): ConvLayer(")?;
        self.fmt_batch_norm_at(BatchNormPosition::BeforeConv, f)?;
        self.fmt_conv(f)?;
        self.fmt_batch_norm_at(BatchNormPosition::AfterConv, f)?;
        if let Some(activation) = self.activation {
            writeln!(f, "      (act): {}", activation.pytorch_repr())?;
        }
        self.fmt_batch_norm_at(BatchNormPosition::AfterActivation, f)?;
        f.write_str("    )")
    }
}

impl Layer {
    fn fmt_conv(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layer { in_channels, out_channels, kernel_size: k, stride, padding, groups, .. } = *self;
        let class = if self.transposed { "ConvTranspose2d" } else { "Conv2d" };
        write!(f, "      (conv): {class}({in_channels}, {out_channels}")?;
        write!(f, ", kernel_size=({k}, {k}), stride=({stride}, {stride})")?;
        if padding != 0 {
            write!(f, ", padding=({padding}, {padding})")?;
        }
        if groups != 1 {
            write!(f, ", groups={groups}")?;
        }
        f.write_str(")\n")
    }

    fn fmt_batch_norm_at(&self, position: BatchNormPosition, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.batch_norm != position {
            return Ok(());
        }
        let channels = self.batch_norm_channels();
        writeln!(
            f,
            "      (bn): BatchNorm2d({channels}, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
        )
    }
}
