//! A small U-Net (Ronneberger et al. 2015) that removes noise from the images of Fashion-MNIST: pooling on the way
//! down, upsampling and concatenated skip connections on the way up.
//!
//! ```text
//! cargo run --release -p resconv --example unet            # one epoch, some minutes on two cores
//! cargo run --release -p resconv --example unet -- 0.02    # a fiftieth of an epoch
//! ```
//!
//! The network predicts the noise, which is subtracted (Zhang et al. 2017, "DnCNN"). `lenet.rs` explains what a graph,
//! a plan and a session are.

use engine::*;
use trainer::data::{self, Dataset, Sampler, Search};

const BATCH: usize = 64;
const EVALUATED: usize = 500;
const TRAINING: PlanId = PlanId(0);
const EVALUATION: PlanId = PlanId(1);
/// Standard deviation of the noise; black is 0, white 1.
const NOISE: f32 = 0.2;
/// Channels at 28x28, 14x14 and 7x7 pixels.
const WIDTHS: [usize; 3] = [16, 32, 64];

pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) noisy: NodeId,
    pub(crate) clean: NodeId,
    pub(crate) restored: NodeId,
    pub(crate) loss: NodeId,
}

/// Two 3x3 convolutions with ReLU.
fn double_conv(graph: &mut Graph, name: &str, mut x: NodeId, inputs: usize, outputs: usize) -> Result<NodeId> {
    for (number, inputs) in [(1, inputs), (2, outputs)] {
        x = conv(graph, &format!("{name}.{number}"), x, inputs, outputs)?;
        x = graph.activation(x, Activation::Relu)?;
    }
    Ok(x)
}

/// A 3x3 convolution that keeps the size.
fn conv(graph: &mut Graph, name: &str, x: NodeId, inputs: usize, outputs: usize) -> Result<NodeId> {
    let init = Init::kaiming_uniform(9 * inputs);
    let weight = graph.parameter(&format!("{name}.weight"), [3, 3, inputs, outputs], init)?;
    let bias = graph.parameter(&format!("{name}.bias"), [outputs], init)?;
    graph.conv2d(x, weight, Some(bias), Conv2d { padding: [1, 1], ..Conv2d::default() })
}

pub(crate) fn network(batch: usize) -> Result<Network> {
    let mut graph = Graph::new();
    let noisy = graph.input("noisy", [batch, 28, 28, 1])?;
    let clean = graph.input("clean", [batch, 28, 28, 1])?;
    let [a, b, c] = WIDTHS;
    let fine = double_conv(&mut graph, "down1", noisy, 1, a)?;
    let middle = graph.max_pool2d(fine, Pool2d::square(2))?;
    let middle = double_conv(&mut graph, "down2", middle, a, b)?;
    let coarse = graph.max_pool2d(middle, Pool2d::square(2))?;
    let coarse = double_conv(&mut graph, "bottom", coarse, b, c)?;
    let up = graph.upsample(coarse, [14, 14], Upsampling::Bilinear)?;
    let up = graph.concat(&[up, middle])?;
    let up = double_conv(&mut graph, "up2", up, b + c, b)?;
    let up = graph.upsample(up, [28, 28], Upsampling::Bilinear)?;
    let up = graph.concat(&[up, fine])?;
    let up = double_conv(&mut graph, "up1", up, a + b, a)?;
    let noise = conv(&mut graph, "head", up, a, 1)?;
    let restored = graph.sub(noisy, noise)?;
    let loss = graph.mse_loss(restored, clean)?;
    Ok(Network { graph, noisy, clean, restored, loss })
}

/// Numbers that are nearly normal: sums of twelve uniform ones. The sampler shuffles 2^16 levels.
struct Noise {
    levels: Sampler,
    position: u64,
}

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise { levels: Sampler::new(1 << 16, seed), position: 0 }
    }

    fn next(&mut self) -> f32 {
        let mut uniform = || {
            self.position += 1;
            self.levels.image(self.position) as f32 / 65536.0
        };
        (0..12).map(|_| uniform()).sum::<f32>() - 6.0
    }

    fn add_to(&mut self, clean: &[f32], noisy: &mut [f32]) {
        clean.iter().zip(noisy).for_each(|(clean, noisy)| *noisy = clean + NOISE * self.next());
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let epochs: f64 = std::env::args().nth(1).map_or(Ok(1.0), |epochs| epochs.parse())?;
    let data = data::load(&Search::new(None), &|status| eprintln!("{status}"))?;
    let [train, test] = [network(BATCH)?, network(EVALUATED)?];
    let plans = vec![
        Plan::training(&train.graph, train.loss)?,
        Plan::inference(&test.graph, &[test.restored], Statistics::Running)?,
    ];
    let mut session = Session::new(Cpu::new(0)?, plans)?;
    session.initialize(0);

    let steps = (epochs * (data.train.len() / BATCH) as f64).ceil() as u64;
    let schedule = Schedule { base_lr: 1e-3, kind: ScheduleKind::Cosine, warmup_steps: 20, total_steps: steps };
    let (mut order, mut noise) = (Sampler::new(data.train.len(), 0), Noise::new(1));
    let (mut clean, mut noisy) = (vec![0.0; BATCH * 784], vec![0.0; BATCH * 784]);
    session.enter(|session| -> Result<()> {
        for step in 0..steps {
            let images = (0..BATCH as u64).map(|i| order.image(step * BATCH as u64 + i));
            data.train.write_batch(images, &mut clean, &mut [0.0; BATCH]);
            noise.add_to(&clean, &mut noisy);
            session.write_input(TRAINING, train.noisy, &noisy)?;
            session.write_input(TRAINING, train.clean, &clean)?;
            session.run(TRAINING)?;
            session.update(&Step::new(AdamW::default(), schedule.lr(step)))?;
            if step % 100 == 99 || step + 1 == steps {
                println!("step {:>5} of {steps}  loss {:.5}", step + 1, session.loss(TRAINING)?);
            }
        }
        let [noisy, restored] = psnr(session, &test, &data.validation)?;
        println!("PSNR of {EVALUATED} test images: noisy {noisy:.2} dB, restored {restored:.2} dB");
        Ok(())
    })?;
    Ok(())
}

/// Peak signal-to-noise ratios of the first test images, before and after.
fn psnr<B: Backend<Element = f32>>(session: &mut Session<B>, test: &Network, data: &Dataset) -> Result<[f64; 2]> {
    let [mut clean, mut noisy, mut restored] = [(); 3].map(|()| vec![0.0; EVALUATED * 784]);
    data.write_batch(0..EVALUATED, &mut clean, &mut [0.0; EVALUATED]);
    Noise::new(2).add_to(&clean, &mut noisy);
    session.write_input(EVALUATION, test.noisy, &noisy)?;
    session.run(EVALUATION)?;
    session.read(EVALUATION, test.restored, &mut restored)?;
    Ok([noisy, restored].map(|images| {
        let squares = images.iter().zip(&clean).map(|(a, b)| f64::from(a.clamp(0.0, 1.0) - b).powi(2));
        -10.0 * (squares.sum::<f64>() / clean.len() as f64).log10()
    }))
}
