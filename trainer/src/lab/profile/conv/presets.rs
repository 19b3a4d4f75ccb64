//! Convolutions to measure.

use kernels::conv2d::{Conv2dParams, ShapeError};

/// A named convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name: `resconv 32->32`.
    pub name: String,
    /// Its shape.
    pub shape: Conv2dParams,
}

/// A list of convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// The first, inner and last layers of ResConv at 32x32, batch 64
    Step,
    /// The same at 28x28, 32x32 and 64x64, batch 1, 8, 64 and 256
    Resconv,
    /// The 3x3 convolutions of ResNet-50 (He et al. 2016), batch 8
    Resnet50,
    /// The convolutions of VGG-16 (Simonyan & Zisserman 2015), batch 1
    Vgg,
    /// Other kernels, strides and channel counts
    Others,
    /// Outputs of 1x1 to 4x4: without padding, and as at the end of a classifier
    Small,
    /// Depthwise: groups of one channel
    Depthwise,
    /// All of these
    All,
}

impl Preset {
    /// The convolutions.
    pub fn layers(self) -> Vec<Layer> {
        match self {
            Preset::Step => resconv(&[32], &[64]),
            Preset::Resconv => resconv(&[28, 32, 64], &[1, 8, 64, 256]),
            Preset::Resnet50 => [(56, 64), (28, 128), (14, 256), (7, 512)]
                .map(|(size, channels)| layer("resnet50", [8, size, size, channels], channels, 3, 1))
                .into(),
            Preset::Vgg => [
                (224, 3, 64),
                (224, 64, 64),
                (112, 64, 128),
                (112, 128, 128),
                (56, 128, 256),
                (56, 256, 256),
                (28, 256, 512),
                (28, 512, 512),
                (14, 512, 512),
            ]
            .map(|(size, c, k)| layer("vgg", [1, size, size, c], k, 3, 1))
            .into(),
            Preset::Others => vec![
                layer("stride 2", [64, 32, 32, 32], 32, 3, 2),
                layer("few channels", [64, 32, 32, 8], 8, 3, 1),
                layer("few channels", [64, 32, 32, 16], 16, 3, 1),
                layer("odd channels", [64, 32, 32, 20], 20, 3, 1),
                layer("growing", [64, 32, 32, 16], 64, 3, 1),
                layer("1x1", [64, 32, 32, 32], 32, 1, 1),
                layer("5x5", [32, 32, 32, 32], 32, 5, 1),
                layer("7x7", [16, 32, 32, 32], 32, 7, 1),
                layer("9x9", [8, 32, 32, 32], 32, 9, 1),
                layer("linear", [64, 1, 1, 512], 128, 1, 1),
            ],
            Preset::Small => small(),
            Preset::Depthwise => depthwise(),
            Preset::All => {
                [Preset::Resconv, Preset::Resnet50, Preset::Vgg, Preset::Others, Preset::Small, Preset::Depthwise]
                    .into_iter()
                    .flat_map(Preset::layers)
                    .collect()
            }
        }
    }
}

fn small() -> Vec<Layer> {
    let mut layers = Vec::new();
    for kernel in [3, 5, 7] {
        for output in 1..=4 {
            for batch in [1, 64] {
                let size = output + kernel - 1;
                layers.push(unpadded("small", [batch, size, size, 32], 32, kernel));
            }
        }
    }
    // Flattening and a linear layer.
    layers.extend([64, 128].map(|channels| unpadded("flatten", [64, 7, 7, channels], channels, 7)));
    layers.extend([(1, 256), (2, 256), (4, 128)].map(|(size, c)| layer("deep", [64, size, size, c], c, 3, 1)));
    layers
}

fn depthwise() -> Vec<Layer> {
    let mut layers = vec![
        grouped("depthwise", [64, 28, 28, 32], 3, 1, 1),
        grouped("depthwise", [64, 28, 28, 32], 3, 2, 1),
        grouped("depthwise", [64, 28, 28, 32], 5, 1, 2),
        grouped("depthwise", [64, 28, 28, 32], 7, 1, 3),
        grouped("depthwise", [64, 32, 32, 3], 3, 1, 1),
        grouped("depthwise", [64, 28, 28, 20], 3, 1, 1),
        // A kernel as large as the image: an average with weights.
        grouped("average", [64, 28, 28, 32], 28, 1, 0),
    ];
    // MobileNetV2 (Sandler et al. 2018) and ConvNeXt-T (Liu et al. 2022).
    layers.extend(
        [(112, 32, 1), (56, 144, 2), (14, 576, 1)]
            .map(|(size, c, stride)| grouped("mobilenet", [8, size, size, c], 3, stride, 1)),
    );
    layers.extend([(56, 96), (14, 384), (7, 768)].map(|(size, c)| grouped("convnext", [8, size, size, c], 7, 1, 3)));
    layers
}

fn resconv(sizes: &[usize], batches: &[usize]) -> Vec<Layer> {
    let mut layers = Vec::new();
    for &size in sizes {
        for &batch in batches {
            for (c, k) in [(1, 32), (32, 32), (32, 1)] {
                layers.push(layer(&format!("resconv {c}->{k}"), [batch, size, size, c], k, 3, 1));
            }
        }
    }
    layers
}

/// A convolution with the padding that keeps the size of the image at stride 1.
fn layer(name: &str, x: [usize; 4], k: usize, kernel: usize, stride: usize) -> Layer {
    named(name, Conv2dParams::new(x, k, [kernel; 2], [stride; 2], [kernel / 2; 2], 1))
}

/// A convolution without padding.
fn unpadded(name: &str, x: [usize; 4], k: usize, kernel: usize) -> Layer {
    named(name, Conv2dParams::new(x, k, [kernel; 2], [1; 2], [0; 2], 1))
}

/// A depthwise convolution.
fn grouped(name: &str, x: [usize; 4], kernel: usize, stride: usize, padding: usize) -> Layer {
    named(name, Conv2dParams::new(x, x[3], [kernel; 2], [stride; 2], [padding; 2], x[3]))
}

fn named(name: &str, shape: Result<Conv2dParams, ShapeError>) -> Layer {
    Layer { name: name.to_owned(), shape: shape.expect("the shapes of presets are valid") }
}

/// Reads `N,H,W,C,K,R,S,stride,pad` or `N,H,W,C,K,R,S,stride,pad,groups`.
///
/// # Errors
/// What is wrong, and what was expected.
pub fn parse_shape(text: &str) -> Result<Layer, String> {
    let number = |part: &str| part.trim().parse::<usize>().map_err(|_| format!("`{part}` is no number"));
    let numbers = text.split(',').map(number).collect::<Result<Vec<usize>, String>>()?;
    let &[n, h, w, c, k, r, s, stride, pad, ref groups @ ..] = &numbers[..] else {
        return Err(wrong_count(numbers.len()));
    };
    let groups = match *groups {
        [] => 1,
        [groups] => groups,
        _ => return Err(wrong_count(numbers.len())),
    };
    if n == 0 || h == 0 || w == 0 {
        return Err("N, H and W must be at least 1".to_owned());
    }
    let shape = Conv2dParams::new([n, h, w, c], k, [r, s], [stride; 2], [pad; 2], groups);
    // A larger pass would run for minutes, and its sizes could overflow.
    let work = [n, h, w, c, k, r, s].iter().map(|&size| size as f64).product::<f64>();
    match shape.map_err(|error| error.to_string())? {
        _ if work > 1e13 => Err("the convolution is too large to measure: more than 10^13 products".to_owned()),
        shape => Ok(Layer { name: "shape".to_owned(), shape }),
    }
}

fn wrong_count(count: usize) -> String {
    format!("expected 9 numbers N,H,W,C,K,R,S,stride,pad, or a tenth for the groups, got {count}")
}

/// `N,H,W,C,K,R,S,stride,pad`, and the groups if there are several.
pub(super) fn shape_text(p: &Conv2dParams) -> String {
    let numbers = [p.n, p.h, p.w, p.c, p.k, p.r, p.s, p.stride_h, p.pad_h, p.groups];
    let shown = if p.groups == 1 { &numbers[..9] } else { &numbers };
    shown.iter().map(|size| size.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn shapes_are_read_as_they_are_written() {
        for preset in Preset::value_variants() {
            for layer in preset.layers() {
                assert_eq!(parse_shape(&shape_text(&layer.shape)).unwrap().shape, layer.shape);
            }
        }
        assert_eq!(Preset::Resconv.layers().len(), 36);
        assert_eq!(Preset::All.layers().len(), 36 + 4 + 9 + 10 + 29 + 13);
    }

    #[test]
    fn wrong_shapes_say_what_was_expected() {
        let error = |text| parse_shape(text).unwrap_err();
        assert_eq!(error("1,2,3"), "expected 9 numbers N,H,W,C,K,R,S,stride,pad, or a tenth for the groups, got 3");
        assert!(error("1,2,2,3,3,3,3,1,1,1,1").ends_with("got 11"), "{}", error("1,2,2,3,3,3,3,1,1,1,1"));
        assert!(error("1,8,8,6,6,3,3,1,1,4").contains("4 groups must divide the channels"));
        assert_eq!(error("1,2,x,3,3,3,3,1,1"), "`x` is no number");
        assert_eq!(error("0,2,2,3,3,3,3,1,1"), "N, H and W must be at least 1");
        assert!(error("1,2,2,3,3,9,9,1,1").contains("exceeds the padded input's"), "{}", error("1,2,2,3,3,9,9,1,1"));
        assert!(error("1,99999999,99999999,9,9,3,3,1,1").contains("too large"));
        assert!(error("1,9,9,9,9,3,3,0,1").contains("must be at least 1"));
    }
}
