//! Training steps, or forward passes, of ResConv in candle on the CPU.

#[path = "../../timing.rs"]
mod timing;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{
    AdamW, BatchNorm, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Module, ModuleT, Optimizer,
    ParamsAdamW, VarBuilder, VarMap, batch_norm, conv_transpose2d, conv2d, ops,
};
use timing::Arguments;

struct ResConv {
    encoder: Vec<(BatchNorm, Conv2d)>,
    decoder: Vec<(BatchNorm, ConvTranspose2d)>,
}

impl ResConv {
    fn new(a: &Arguments, variables: &VarBuilder) -> Result<ResConv> {
        let padding = a.kernel_size / 2;
        let (mut encoder, mut decoder) = (Vec::new(), Vec::new());
        for i in 0..a.layers {
            let cin = if i == 0 { 1 } else { a.channels };
            let config = Conv2dConfig { padding, ..Conv2dConfig::default() };
            let layer = variables.pp(format!("encoder.layer_{}", i + 1));
            let conv = conv2d(cin, a.channels, a.kernel_size, config, layer.pp("conv"))?;
            encoder.push((batch_norm(cin, 1e-5, layer.pp("bn"))?, conv));
        }
        for i in 0..a.layers {
            let cout = if i + 1 == a.layers { 1 } else { a.channels };
            let config = ConvTranspose2dConfig { padding, ..ConvTranspose2dConfig::default() };
            let layer = variables.pp(format!("decoder.layer_{}", i + 1));
            let conv = conv_transpose2d(a.channels, cout, a.kernel_size, config, layer.pp("conv"))?;
            decoder.push((batch_norm(a.channels, 1e-5, layer.pp("bn"))?, conv));
        }
        Ok(ResConv { encoder, decoder })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.clone();
        let mut outputs = Vec::new();
        for (bn, conv) in &self.encoder {
            x = conv.forward(&bn.forward_t(&x, train)?)?.gelu_erf()?;
            outputs.push(x.clone());
        }
        for (i, (bn, conv)) in self.decoder.iter().enumerate() {
            if i > 0 {
                x = (x + &outputs[outputs.len() - 1 - i])?;
            }
            x = conv.forward(&bn.forward_t(&x, train)?)?;
            x = if i + 1 == self.decoder.len() { ops::sigmoid(&x)? } else { x.gelu_erf()? };
        }
        Ok(x)
    }
}

fn main() -> Result<()> {
    let a = Arguments::parse();
    let device = Device::Cpu;
    let variables = VarMap::new();
    let network = ResConv::new(&a, &VarBuilder::from_varmap(&variables, DType::F32, &device))?;
    let image = || Tensor::rand(0f32, 1f32, (a.batch, 1, a.size, a.size), &device);
    let (x, y) = (image()?, image()?);
    // The running statistics of batch norm are among the variables, and have no gradients.
    let trained: Vec<_> = {
        let data = variables.data().lock().expect("one thread");
        data.iter().filter(|(name, _)| !name.contains("running_")).map(|(_, variable)| variable.clone()).collect()
    };
    let parameters = trained.iter().map(|variable| variable.elem_count()).sum();
    let mut optimizer = AdamW::new(trained, ParamsAdamW { lr: 3e-4, ..ParamsAdamW::default() })?;
    let mut train = || -> Result<f64> {
        let loss = (network.forward(&x, true)? - &y)?.abs()?.mean_all()?;
        optimizer.step(&loss.backward()?)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    };
    let name = timing::version(include_str!("../Cargo.lock"), "candle-core");
    timing::report(&name, parameters, a.steps, || {
        if a.inference {
            // Reads a number, so that no work can be skipped.
            network.forward(&x, false).and_then(|y| y.sum_all()?.to_scalar::<f32>()).expect("a forward pass");
            None
        } else {
            Some(train().expect("a training step"))
        }
    });
    Ok(())
}
