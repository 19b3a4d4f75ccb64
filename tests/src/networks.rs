//! The networks of the golden traces that `golden/make_networks.py` makes: parameters have PyTorch's names.

use engine::{
    Activation, BatchNorm, BatchNormNodes, Conv2d, CrossEntropy, Graph, Group, Init, NodeId, Pool2d, Shape, Upsampling,
};

/// A network with its loss, and the nodes that a test writes and reads.
pub struct Network {
    /// The graph.
    pub graph: Graph,
    /// Images, `[batch, side, side, 1]`.
    pub input: NodeId,
    /// Classes, `[batch]`, or images.
    pub target: NodeId,
    /// Logits, or images.
    pub output: NodeId,
    /// The loss.
    pub loss: NodeId,
}

/// Records layers. Nothing that a test records can fail.
struct Layers(Graph);

impl Layers {
    fn parameter(&mut self, name: &str, shape: impl Into<Shape>) -> NodeId {
        self.0.parameter(name, shape, Init::Zeros).unwrap()
    }

    fn relu(&mut self, x: NodeId) -> NodeId {
        self.0.activation(x, Activation::Relu).unwrap()
    }

    fn pool(&mut self, x: NodeId) -> NodeId {
        self.0.max_pool2d(x, Pool2d::square(2)).unwrap()
    }

    /// Stride 1, with bias.
    fn conv(&mut self, name: &str, x: NodeId, [size, inputs, outputs]: [usize; 3]) -> NodeId {
        let weight = self.parameter(&format!("{name}.weight"), [size, size, inputs, outputs]);
        let bias = self.parameter(&format!("{name}.bias"), [outputs]);
        let params = Conv2d { padding: [size / 2; 2], ..Conv2d::default() };
        self.0.conv2d(x, weight, Some(bias), params).unwrap()
    }

    fn linear(&mut self, name: &str, x: NodeId, [inputs, outputs]: [usize; 2]) -> NodeId {
        let weight = self.parameter(&format!("{name}.weight"), [inputs, outputs]);
        let bias = self.parameter(&format!("{name}.bias"), [outputs]);
        self.0.linear(x, weight, Some(bias)).unwrap()
    }

    /// No bias, and no weight decay for the normalization.
    fn conv_norm(&mut self, name: &str, x: NodeId, [size, inputs, outputs]: [usize; 3], stride: usize) -> NodeId {
        let weight = self.parameter(&format!("{name}.conv.weight"), [size, size, inputs, outputs]);
        let params = Conv2d { stride: [stride; 2], padding: [size / 2; 2], ..Conv2d::default() };
        let x = self.0.conv2d(x, weight, None, params).unwrap();
        let mut state = |name: String| self.0.state(&name, [outputs], Init::Zeros).unwrap();
        let running_mean = state(format!("{name}.bn.running_mean"));
        let running_var = state(format!("{name}.bn.running_var"));
        let [gamma, beta] = ["weight", "bias"].map(|of| self.parameter(&format!("{name}.bn.{of}"), [outputs]));
        self.without_decay(gamma);
        self.without_decay(beta);
        let nodes = BatchNormNodes { gamma, beta, running_mean, running_var };
        self.0.batch_norm(x, nodes, BatchNorm::default()).unwrap()
    }

    fn without_decay(&mut self, parameter: NodeId) {
        self.0.set_group(parameter, Group { weight_decay: 0.0, ..Group::default() }).unwrap();
    }

    fn block(&mut self, name: &str, x: NodeId, [inputs, outputs]: [usize; 2]) -> NodeId {
        let stride = if inputs == outputs { 1 } else { 2 };
        let y = self.conv_norm(&format!("{name}.first"), x, [3, inputs, outputs], stride);
        let y = self.relu(y);
        let y = self.conv_norm(&format!("{name}.second"), y, [3, outputs, outputs], 1);
        let shortcut = match inputs == outputs {
            true => x,
            false => self.conv_norm(&format!("{name}.shortcut"), x, [1, inputs, outputs], stride),
        };
        let sum = self.0.add(y, shortcut, 1.0).unwrap();
        self.relu(sum)
    }

    fn double_conv(&mut self, name: &str, x: NodeId, [inputs, outputs]: [usize; 2]) -> NodeId {
        let x = self.conv(&format!("{name}.first"), x, [3, inputs, outputs]);
        let x = self.relu(x);
        let x = self.conv(&format!("{name}.second"), x, [3, outputs, outputs]);
        self.relu(x)
    }

    /// Twice the size, and the channels of `skip` behind.
    fn up(&mut self, x: NodeId, skip: NodeId) -> NodeId {
        let &[_, height, width, _] = self.0.shape(skip).dims() else { unreachable!("an image") };
        let x = self.0.upsample(x, [height, width], Upsampling::Bilinear).unwrap();
        self.0.concat(&[x, skip]).unwrap()
    }

    fn classifier(mut self, input: NodeId, output: NodeId, params: CrossEntropy) -> Network {
        let batch = self.0.shape(output).dims()[0];
        let target = self.0.input("target", [batch]).unwrap();
        let loss = self.0.softmax_cross_entropy(output, target, params).unwrap();
        Network { graph: self.0, input, target, output, loss }
    }
}

fn begin([batch, height, width, channels]: [usize; 4]) -> (Layers, NodeId) {
    let mut graph = Graph::new();
    let input = graph.input("input", [batch, height, width, channels]).unwrap();
    (Layers(graph), input)
}

/// Two convolutions with max pooling, and three linear layers.
pub fn lenet(image: [usize; 4]) -> Network {
    let (mut layers, input) = begin(image);
    let mut x = input;
    for (name, channels) in [("conv1", [5, 1, 6]), ("conv2", [5, 6, 16])] {
        x = layers.conv(name, x, channels);
        x = layers.relu(x);
        x = layers.pool(x);
    }
    x = layers.0.flatten(x).unwrap();
    x = layers.linear("fc1", x, [256, 24]);
    x = layers.relu(x);
    x = layers.linear("fc2", x, [24, 16]);
    x = layers.relu(x);
    x = layers.linear("fc3", x, [16, 10]);
    layers.classifier(input, x, CrossEntropy::default())
}

/// Three stages of three blocks, of 4, 8 and 16 channels.
pub fn resnet20(image: [usize; 4]) -> Network {
    let (mut layers, input) = begin(image);
    let mut x = layers.conv_norm("stem", input, [3, 1, 4], 1);
    x = layers.relu(x);
    let mut inputs = 4;
    for (stage, outputs) in [4, 8, 16].into_iter().enumerate() {
        for block in 0..3 {
            x = layers.block(&format!("stages.{stage}.{block}"), x, [inputs, outputs]);
            inputs = outputs;
        }
    }
    x = layers.0.global_avg_pool2d(x).unwrap();
    x = layers.0.flatten(x).unwrap();
    x = layers.linear("fc", x, [16, 10]);
    let bias = layers.0.node("fc.bias").unwrap();
    layers.without_decay(bias);
    layers.classifier(input, x, CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() })
}

/// Three scales, of 4, 6 and 8 channels; the residual is predicted.
pub fn unet(image: [usize; 4]) -> Network {
    let (mut layers, input) = begin(image);
    let fine = layers.double_conv("down1", input, [1, 4]);
    let middle = layers.pool(fine);
    let middle = layers.double_conv("down2", middle, [4, 6]);
    let coarse = layers.pool(middle);
    let coarse = layers.double_conv("bottom", coarse, [6, 8]);
    let x = layers.up(coarse, middle);
    let x = layers.double_conv("up2", x, [14, 6]);
    let x = layers.up(x, fine);
    let x = layers.double_conv("up1", x, [10, 4]);
    let residual = layers.conv("head", x, [3, 4, 1]);
    let mut graph = layers.0;
    let output = graph.sub(input, residual).unwrap();
    let target = graph.input("target", image).unwrap();
    let loss = graph.mse_loss(output, target).unwrap();
    Network { graph, input, target, output, loss }
}
