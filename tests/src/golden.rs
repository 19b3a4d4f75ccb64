//! The golden training traces in `tests/golden/`; the README there says what they hold.
//!
//! A test program that runs where there are no sources finds them in the folder that the environment variable
//! `TESTS_GOLDEN_DIR` names.

use engine::{Shape, pytorch};
use model::{BottleneckActivation, Padding, ResConvConfig};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// What PyTorch computed in one training run.
pub struct Trace {
    /// File name without its ending.
    pub name: &'static str,
    /// Optimizer steps.
    pub steps: u64,
    /// Shape of the input, NHWC.
    pub image: [usize; 4],
    /// Arguments of the script.
    arguments: HashMap<String, String>,
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
}

/// A trace of ResConv.
pub struct Golden {
    /// The network.
    pub config: ResConvConfig,
    trace: Trace,
}

impl Deref for Golden {
    type Target = Trace;
    fn deref(&self) -> &Trace {
        &self.trace
    }
}

impl Golden {
    /// Every trace of ResConv.
    pub fn all() -> [Golden; 3] {
        ["resconv_l1", "resconv_l3", "resconv_l3_stride2_odd"].map(Golden::load)
    }

    fn load(name: &'static str) -> Golden {
        let trace = Trace::load(name);
        let number = |name: &str| trace.arguments[name].parse::<usize>().unwrap();
        let bottleneck =
            if number("bottleneck_act") == 1 { BottleneckActivation::Same } else { BottleneckActivation::None };
        let config = ResConvConfig {
            layers: number("layers"),
            channels: number("channels").into(),
            kernel_size: number("ks").into(),
            stride: number("stride").into(),
            padding: trace.arguments["pad"].parse().map_or(Padding::Auto, Padding::Fixed),
            residual_weight: trace.arguments["residual_weight"].parse().unwrap(),
            bottleneck_activation: bottleneck,
            ..ResConvConfig::default()
        };
        Golden { config, trace }
    }
}

impl Trace {
    /// The trace in `NAME.safetensors`.
    pub fn load(name: &'static str) -> Trace {
        let folder = std::env::var_os("TESTS_GOLDEN_DIR").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("golden"));
        let path = folder.join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let arguments = header.metadata().clone().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors: HashMap<_, _> = file
            .iter()
            .map(|(name, view)| {
                let data = match view.dtype() {
                    Dtype::F32 => view
                        .data()
                        .chunks_exact(4)
                        .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                        .collect(),
                    Dtype::F64 => {
                        view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
                    }
                    other => panic!("{name} is {other:?}"),
                };
                (name.to_owned(), (view.shape().to_vec(), data))
            })
            .collect();
        let [n, c, h, w] = tensors["input"].0[..] else { panic!("the input is not NCHW") };
        let steps = arguments["steps"].parse().unwrap();
        Trace { name, steps, image: [n, h, w, c], arguments, tensors }
    }

    /// Numbers without a layout: `loss0`, `losses`, logits.
    pub fn numbers(&self, name: &str) -> &[f64] {
        &self.tensors[name].1
    }

    /// An image in NHWC: `input`, `target`, `out0`, `eval_out`.
    pub fn image(&self, name: &str) -> Vec<f64> {
        pytorch::image_from_pytorch(self.image, &self.tensors[name].1)
    }

    /// A parameter or running statistic in the engine's layout: `init.encoder.layer_1.conv.weight` and so on.
    pub fn weight(&self, name: &str, shape: Shape) -> Vec<f64> {
        let (dims, data) = &self.tensors[name];
        assert_eq!(*dims, pytorch::weight_shape(shape.dims()), "shape of {name}");
        pytorch::weight_from_pytorch(shape.dims(), data)
    }

    /// Number of tensors whose names begin with `prefix`.
    pub fn count(&self, prefix: &str) -> usize {
        self.tensors.keys().filter(|name| name.starts_with(prefix)).count()
    }
}
