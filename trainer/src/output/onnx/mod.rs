//! ONNX: a trained network as a file that other programs run.
//!
//! Its input `image` is any number of images of any height and width that the network can take, `[batch, channels,
//! height, width]`, with 0 for black and 1 for white, damaged as in training. Its output `restored` is the same images,
//! restored, between 0 and 1 unless the network predicts what to subtract. It needs opset 20, the first one with GELU.
//! A network of a task that ends with `fill` has one more input channel, the last one: 1 where a pixel is missing, 0
//! elsewhere; missing pixels have been filled in.

mod proto;

use crate::apply::ApplyError;
use crate::data::{self, Data};
use crate::settings::Settings;
use crate::system::files;
use crate::system::terminal;
use crate::tasks::{Samples, ValidationBatches};
use crate::train::backend::{self, ImageBackend, with_backend};
use crate::train::checkpoint::{self, Checkpoint, Tensor, Values};
use crate::train::plans::{PlanError, PlanKind, Plans};
use engine::{Activation, BatchNorm, Element, Statistics};
use model::{BatchNormPosition, Layer, LayerActivation, Prediction, ResConv};
use prost::Message;
use proto::{Attribute, Graph, Node, Weights};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Images of an example.
const EXAMPLE_IMAGES: u64 = 16;

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Request {
    /// The ONNX file.
    pub out: PathBuf,
    /// A safetensors file to check other programs with: the first validation images as `input`, and what the network
    /// makes of them as `output`.
    pub example: Option<PathBuf>,
    /// Whether files may be overwritten.
    pub overwrite: bool,
}

/// Exports the network of `settings` with the weights of `checkpoint`.
///
/// # Errors
/// [`ApplyError`]. The weights are loaded first, so that nothing is written that is not a network.
pub fn export(settings: &Settings, checkpoint: &Checkpoint, request: &Request) -> Result<(), ApplyError> {
    let Request { out, example, overwrite } = request;
    files::check_outputs([Some(out), example.as_ref()].into_iter().flatten().map(PathBuf::as_path), *overwrite)?;
    let data = match example {
        Some(_) => Some(data::open(&settings.data_request(), &terminal::print_status)?),
        None => None,
    };
    let chosen = backend::open(&settings.run, &mut |_| ())?;
    with_backend!(chosen, |backend| run(backend, settings, checkpoint, data.as_ref().zip(example.as_deref())))?;
    let network = ResConv::new(settings.network.clone()).map_err(PlanError::from)?;
    let bytes = encode(&network, &checkpoint.tensors);
    Ok(files::write_bytes(out, &bytes)?)
}

/// Loads the weights into the network, and writes an example of what it makes of images.
fn run<B: ImageBackend>(
    backend: B,
    settings: &Settings,
    checkpoint: &Checkpoint,
    example: Option<(&Data, &Path)>,
) -> Result<(), ApplyError> {
    let size = settings.training.size;
    let samples = example.map(|(data, path)| (Samples::of(data, size, &settings.training.task)[1], path));
    let batches = samples.map(|(samples, path)| (ValidationBatches::shown(samples, EXAMPLE_IMAGES), path));
    let count = batches.as_ref().map_or(1, |(batches, _)| batches.len());
    let mut plans = Plans::new(settings)?;
    let plan = plans.add(PlanKind::Inference(Statistics::Running), count)?;
    let mut session = plans.session(backend)?;
    checkpoint::load_weights(&mut session, checkpoint)?;
    let Some((batches, path)) = batches else { return Ok(()) };
    let [mut input, mut target] = batches.elements().map(|elements| vec![B::Element::default(); count * elements]);
    batches.fill(0, &mut input, &mut target, &mut vec![true; count * size * size])?;
    let mut output = target;
    session.enter(|session| plan.infer(session, &input, &mut output))?;
    let tensors = BTreeMap::from([
        ("input".to_owned(), planes(&input, size, count)),
        ("output".to_owned(), planes(&output, size, count)),
    ]);
    Ok(Checkpoint { path: path.to_owned(), tensors, run: None }.write()?)
}

/// Images `[N][size][size][C]` as the tensor `[N][C][size][size]`.
fn planes<E: Element>(images: &[E], size: usize, count: usize) -> Tensor {
    let pixels = size * size;
    let channels = images.len() / (count * pixels);
    let values = images
        .chunks(pixels * channels)
        .flat_map(|image| (0..channels).flat_map(move |channel| image.iter().skip(channel).step_by(channels)));
    let values = values.map(|value| value.to_f64() as f32).collect();
    Tensor { shape: vec![count, channels, size, size], values: Values::F32(values) }
}

/// The file of a network.
fn encode(network: &ResConv, tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let mut builder = Builder { graph: Graph::default(), tensors };
    let config = network.config();
    let layers: Vec<&Layer> = network.layers().collect();
    let (encoder, decoder) = layers.split_at(config.layers);
    let mut y = "image".to_owned();
    let mut inputs = Vec::with_capacity(config.layers);
    for layer in encoder {
        inputs.push(y.clone());
        y = builder.layer(layer, y, None);
    }
    for (i, layer) in decoder.iter().enumerate() {
        let Some(mirrored) = inputs.pop() else { break };
        y = builder.layer(layer, y, Some(&mirrored));
        if i + 1 < decoder.len() {
            let name = format!("decoder.layer_{}.skip", i + 2);
            let weight = builder.constant(&format!("{name}.weight"), config.residual_weight as f32);
            let weighted = builder.node(&format!("{name}.weighted"), "Mul", &[&mirrored, &weight], vec![]);
            y = builder.node(&name, "Add", &[&y, &weighted], vec![]);
        }
    }
    match config.predict {
        Prediction::Image => builder.node_named("restored", "restored", "Identity", &[&y], vec![]),
        Prediction::Residual if config.in_channels == config.out_channels => {
            builder.node_named("restored", "restored", "Sub", &["image", &y], vec![])
        }
        Prediction::Residual => {
            let [begin, end] = [config.out_channels, config.in_channels];
            let image = builder.channels("image.pixels", "image", 0..begin);
            let mask = builder.channels("image.mask", "image", begin..end);
            let masked = builder.node("restored.residual", "Mul", &[&y, &mask], vec![]);
            builder.node_named("restored", "restored", "Sub", &[&image, &masked], vec![])
        }
    };
    let mut graph = builder.graph;
    graph.name = "ResConv".to_owned();
    graph.input = vec![proto::image("image", config.in_channels)];
    graph.output = vec![proto::image("restored", config.out_channels)];
    proto::model(graph, env!("CARGO_PKG_VERSION")).encode_to_vec()
}

/// A graph that grows by a node at a time; values are called as the nodes that give them.
struct Builder<'a> {
    graph: Graph,
    tensors: &'a BTreeMap<String, Tensor>,
}

impl Builder<'_> {
    /// Adds a layer, and returns its output's name. The output is padded up to the height and width of `target`.
    fn layer(&mut self, layer: &Layer, x: String, target: Option<&str>) -> String {
        let name = &layer.name;
        let mut y = self.batch_norm(layer, BatchNormPosition::BeforeConv, x);
        let [w, b] = ["weight", "bias"].map(|field| self.weights(&format!("{name}.conv.{field}")));
        let [k, stride, padding] = [layer.kernel_size, layer.stride, layer.padding].map(|value| value as i64);
        let attributes = vec![
            Attribute::ints("kernel_shape", &[k, k]),
            Attribute::ints("strides", &[stride, stride]),
            Attribute::ints("pads", &[padding; 4]),
            Attribute::int("group", layer.groups as i64),
        ];
        let operation = if layer.transposed { "ConvTranspose" } else { "Conv" };
        y = self.node(&format!("{name}.conv"), operation, &[&y, &w, &b], attributes);
        // With stride 1, a transposed convolution gives exactly the size that its mirror had.
        if let Some(target) = target.filter(|_| layer.stride > 1) {
            y = self.pad(&format!("{name}.pad"), &y, target);
        }
        y = self.batch_norm(layer, BatchNormPosition::AfterConv, y);
        if let Some(activation) = layer.activation {
            y = self.activation(&format!("{name}.act"), activation, &y);
        }
        self.batch_norm(layer, BatchNormPosition::AfterActivation, y)
    }

    /// Some of an image's channels.
    fn channels(&mut self, name: &str, image: &str, channels: Range<usize>) -> String {
        let numbers = [("begin", channels.start), ("end", channels.end), ("axis", 1)];
        let [begin, end, axis] =
            numbers.map(|(what, value)| self.initializer(Weights::of_i64(&format!("{name}.{what}"), &[value as i64])));
        self.node(name, "Slice", &[image, &begin, &end, &axis], vec![])
    }

    /// Adds zeros at the bottom and right, up to the height and width of `target`.
    fn pad(&mut self, name: &str, x: &str, target: &str) -> String {
        let [of_x, of_target] = [("x", x), ("target", target)].map(|(what, value)| {
            let attributes = vec![Attribute::int("start", 2)];
            self.node(&format!("{name}.{what}_size"), "Shape", &[value], attributes)
        });
        let more = self.node(&format!("{name}.more"), "Sub", &[&of_target, &of_x], vec![]);
        let before = self.initializer(Weights::of_i64(&format!("{name}.before"), &[0; 6]));
        let pads = self.node(&format!("{name}.pads"), "Concat", &[&before, &more], vec![Attribute::int("axis", 0)]);
        self.node(name, "Pad", &[x, &pads], vec![])
    }

    fn batch_norm(&mut self, layer: &Layer, position: BatchNormPosition, x: String) -> String {
        if layer.batch_norm != position {
            return x;
        }
        let name = format!("{}.bn", layer.name);
        let fields = ["weight", "bias", "running_mean", "running_var"];
        let [scale, bias, mean, variance] = fields.map(|field| self.weights(&format!("{name}.{field}")));
        let epsilon = vec![Attribute::float("epsilon", BatchNorm::default().eps as f32)];
        self.node(&name, "BatchNormalization", &[&x, &scale, &bias, &mean, &variance], epsilon)
    }

    fn activation(&mut self, name: &str, activation: LayerActivation, x: &str) -> String {
        match activation {
            LayerActivation::Function(f) => self.function(name, f, x),
            LayerActivation::Prelu => {
                let slope = self.weights(&format!("{name}.weight"));
                self.node(name, "PRelu", &[x, &slope], vec![])
            }
            // As in evaluation.
            LayerActivation::Rrelu => {
                self.node(name, "LeakyRelu", &[x], vec![Attribute::float("alpha", kernels::rrelu::MEAN as f32)])
            }
        }
    }

    fn function(&mut self, name: &str, activation: Activation, x: &str) -> String {
        let (operation, attributes) = match activation {
            Activation::Gelu => ("Gelu", vec![Attribute::text("approximate", "none")]),
            Activation::Sigmoid => ("Sigmoid", vec![]),
            Activation::Tanh => ("Tanh", vec![]),
            Activation::Relu => ("Relu", vec![]),
            Activation::LeakyRelu => ("LeakyRelu", vec![Attribute::float("alpha", 0.01)]),
            Activation::Mish => ("Mish", vec![]),
            Activation::Hardswish => ("HardSwish", vec![]),
            Activation::Hardsigmoid => {
                ("HardSigmoid", vec![Attribute::float("alpha", 1.0 / 6.0), Attribute::float("beta", 0.5)])
            }
            Activation::Softplus => ("Softplus", vec![]),
            Activation::Celu => ("Celu", vec![Attribute::float("alpha", 1.0)]),
            Activation::Selu => ("Selu", vec![]),
            Activation::Softsign => ("Softsign", vec![]),
            Activation::Softshrink => ("Shrink", vec![Attribute::float("lambd", 0.5), Attribute::float("bias", 0.5)]),
            Activation::Hardshrink => ("Shrink", vec![Attribute::float("lambd", 0.5), Attribute::float("bias", 0.0)]),
            Activation::Relu6 => return self.clip(name, x, 0.0, 6.0),
            Activation::Hardtanh => return self.clip(name, x, -1.0, 1.0),
            Activation::Silu => {
                let gate = self.node(&format!("{name}.gate"), "Sigmoid", &[x], vec![]);
                return self.node(name, "Mul", &[x, &gate], vec![]);
            }
            Activation::LogSigmoid => {
                let negative = self.node(&format!("{name}.negative"), "Neg", &[x], vec![]);
                let softplus = self.node(&format!("{name}.softplus"), "Softplus", &[&negative], vec![]);
                return self.node(name, "Neg", &[&softplus], vec![]);
            }
            Activation::Tanhshrink => {
                let tanh = self.node(&format!("{name}.tanh"), "Tanh", &[x], vec![]);
                return self.node(name, "Sub", &[x, &tanh], vec![]);
            }
        };
        self.node(name, operation, &[x], attributes)
    }

    fn clip(&mut self, name: &str, x: &str, low: f32, high: f32) -> String {
        let low = self.constant(&format!("{name}.low"), low);
        let high = self.constant(&format!("{name}.high"), high);
        self.node(name, "Clip", &[x, &low, &high], vec![])
    }

    /// Adds a node whose one output has the node's name.
    fn node(&mut self, name: &str, operation: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.node_named(name, name, operation, inputs, attributes)
    }

    fn node_named(
        &mut self,
        name: &str,
        output: &str,
        operation: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.to_owned()],
            name: name.to_owned(),
            op_type: operation.to_owned(),
            attribute: attributes,
        });
        output.to_owned()
    }

    /// Adds a tensor of the network; PyTorch's layouts of weights are ONNX's.
    fn weights(&mut self, name: &str) -> String {
        let tensor = &self.tensors[name];
        let values: Vec<f32> = match &tensor.values {
            Values::F32(values) => values.clone(),
            Values::F64(values) => values.iter().map(|value| *value as f32).collect(),
            Values::I64(values) => values.iter().map(|value| *value as f32).collect(),
        };
        self.initializer(Weights::of_f32(name, &tensor.shape, &values))
    }

    fn constant(&mut self, name: &str, value: f32) -> String {
        self.initializer(Weights::of_f32(name, &[], &[value]))
    }

    fn initializer(&mut self, weights: Weights) -> String {
        let name = weights.name.clone();
        self.graph.initializer.push(weights);
        name
    }
}
