//! Training steps, or forward passes, of ResConv in burn with its flex backend.

#[path = "../../timing.rs"]
mod timing;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Tensor, activation};
use timing::Arguments;

#[derive(Module, Debug)]
struct Encoder {
    bn: BatchNorm,
    conv: Conv2d,
}

#[derive(Module, Debug)]
struct Decoder {
    bn: BatchNorm,
    conv: ConvTranspose2d,
}

#[derive(Module, Debug)]
struct ResConv {
    encoder: Vec<Encoder>,
    decoder: Vec<Decoder>,
}

impl ResConv {
    fn new(a: &Arguments, device: &Device) -> ResConv {
        let (ks, padding) = (a.kernel_size, a.kernel_size / 2);
        let encoder = (0..a.layers).map(|i| {
            let cin = if i == 0 { 1 } else { a.channels };
            let padding = PaddingConfig2d::Explicit(padding, padding, padding, padding);
            let conv = Conv2dConfig::new([cin, a.channels], [ks, ks]).with_padding(padding);
            Encoder { bn: BatchNormConfig::new(cin).init(device), conv: conv.init(device) }
        });
        let decoder = (0..a.layers).map(|i| {
            let cout = if i + 1 == a.layers { 1 } else { a.channels };
            let conv = ConvTranspose2dConfig::new([a.channels, cout], [ks, ks]).with_padding([padding, padding]);
            Decoder { bn: BatchNormConfig::new(a.channels).init(device), conv: conv.init(device) }
        });
        ResConv { encoder: encoder.collect(), decoder: decoder.collect() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = x;
        let mut outputs = Vec::new();
        for layer in &self.encoder {
            x = activation::gelu(layer.conv.forward(layer.bn.forward(x)));
            outputs.push(x.clone());
        }
        for (i, layer) in self.decoder.iter().enumerate() {
            if i > 0 {
                x = x + outputs[outputs.len() - 1 - i].clone();
            }
            x = layer.conv.forward(layer.bn.forward(x));
            x = if i + 1 == self.decoder.len() { activation::sigmoid(x) } else { activation::gelu(x) };
        }
        x
    }
}

fn main() {
    let a = Arguments::parse();
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let network = ResConv::new(&a, &device);
    let image = |device: &Device| {
        Tensor::<4>::random([a.batch, 1, a.size, a.size], Distribution::Uniform(0.0, 1.0), device)
    };
    // In burn, the running statistics of batch norm count, too: two numbers for every channel that a layer reads.
    let read = 1 + (2 * a.layers - 1) * a.channels;
    let parameters = network.num_params() - 2 * read;
    let name = timing::version(include_str!("../Cargo.lock"), "burn");
    if a.inference {
        let (network, x) = (network.valid(), image(&plain));
        timing::report(&name, parameters, a.steps, || {
            // Reads a number, so that no work can be skipped.
            let _: f32 = network.forward(x.clone()).sum().into_scalar();
            None
        });
        return;
    }
    let (x, y) = (image(&device), image(&device));
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.01).with_epsilon(1e-8).init();
    let mut network = Some(network);
    timing::report(&name, parameters, a.steps, || {
        let current = network.take().expect("put back by every step");
        let loss = (current.forward(x.clone()) - y.clone()).abs().mean();
        let value: f32 = loss.clone().into_scalar();
        let gradients = GradientsParams::from_grads(loss.backward(), &current);
        network = Some(optimizer.step(3e-4, current, gradients));
        device.sync().expect("the device");
        Some(f64::from(value))
    });
}
