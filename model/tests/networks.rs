//! The network against published numbers and against PyTorch; `data/README.md` says where both are from.

use engine::{Graph, Init, pytorch};
use model::{Error, Padding, Ramp, ResConv, ResConvConfig};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What PyTorch reports for one network.
#[derive(Deserialize)]
struct Network {
    config: ResConvConfig,
    parameters: usize,
    /// Height and width.
    image: [usize; 2],
    /// NCHW.
    output: [usize; 4],
    tensors: BTreeMap<String, Tensor>,
    tree: Vec<String>,
}

#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    bound: Option<f64>,
}

fn networks() -> Vec<Network> {
    serde_json::from_str(include_str!("data/networks.json")).unwrap()
}

#[test]
fn it_prints_and_counts_as_pytorch() {
    let networks = networks();
    assert_eq!(networks[1].config, ResConvConfig::original(3));
    for network in networks {
        let resconv = ResConv::new(network.config).unwrap();
        assert_eq!(resconv.to_string().lines().collect::<Vec<_>>(), network.tree);
        assert_eq!(resconv.parameter_count(), network.parameters, "{resconv}");
    }
}

#[test]
fn it_prints_the_studys_tree() {
    let tree = ResConv::new(ResConvConfig::default()).unwrap().to_string();
    for excerpt in [
        "\
ResConv(
  (encoder): ModuleDict(
    (layer_1): ConvLayer(
      (bn): BatchNorm2d(1, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
      (conv): Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (act): GELU(approximate='none')
    )
",
        "
      (bn): BatchNorm2d(32, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
      (conv): Conv2d(32, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (act): GELU(approximate='none')
    )
  )
  (decoder): ModuleDict(
",
        "
      (bn): BatchNorm2d(32, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
      (conv): ConvTranspose2d(32, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (act): GELU(approximate='none')
    )
    (layer_15): ConvLayer(
      (bn): BatchNorm2d(32, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
      (conv): ConvTranspose2d(32, 1, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (act): Sigmoid()
    )
  )
)",
    ] {
        assert!(tree.contains(excerpt), "{tree}");
    }
}

#[test]
fn it_records_the_tensors_and_sizes_of_pytorch() {
    for network in networks() {
        let resconv = ResConv::new(network.config).unwrap();
        let mut graph = Graph::new();
        let [height, width] = network.image;
        let x = graph.input("image", [2, height, width, resconv.config().in_channels]).unwrap();
        let y = resconv.record(&mut graph, x).unwrap();
        let [n, c, h, w] = network.output;
        assert_eq!(graph.shape(y), [n, h, w, c].into(), "{resconv}");

        let mut tensors = network.tensors;
        tensors.retain(|name, _| !name.ends_with(".num_batches_tracked"));
        let mut trained = 0;
        for tensor in graph.tensors() {
            let Tensor { shape, bound } = tensors.remove(&tensor.name).unwrap_or_else(|| panic!("{}", tensor.name));
            assert_eq!(pytorch::weight_shape(tensor.shape.dims()), shape, "{}", tensor.name);
            match (tensor.init, bound) {
                (Init::Uniform { bound }, Some(want)) => assert!((bound - want).abs() < 1e-15, "{}", tensor.name),
                (Init::Ones, None) => assert!(tensor.name.ends_with(".bn.weight") || tensor.name.ends_with("_var")),
                (Init::Zeros, None) => assert!(tensor.name.ends_with(".bn.bias") || tensor.name.ends_with("_mean")),
                (Init::Constant(0.25), None) => assert!(tensor.name.ends_with(".act.weight")),
                (init, bound) => panic!("{}: {init:?}, but PyTorch has {bound:?}", tensor.name),
            }
            assert_eq!(tensor.trained, !tensor.name.contains(".running_"), "{}", tensor.name);
            trained += if tensor.trained { tensor.shape.len() } else { 0 };
        }
        assert!(tensors.is_empty(), "not recorded: {:?}", tensors.keys());
        assert_eq!(trained, network.parameters);
    }
}

#[test]
fn parameter_counts_are_the_published_ones() {
    let table = include_str!("data/published_parameters.csv");
    let mut rows = table.lines();
    let columns: Vec<&str> = rows.next().unwrap().split(',').collect();
    for row in rows {
        let cells: BTreeMap<&str, &str> = columns.iter().copied().zip(row.split(',')).collect();
        let number = |column: &str| cells[column].parse::<usize>().unwrap();
        let config = ResConvConfig {
            layers: number("layers"),
            channels: Ramp { first: number("channels_first"), last: number("channels_last") }.into(),
            kernel_size: Ramp { first: number("kernel_size_first"), last: number("kernel_size_last") }.into(),
            batch_norm_encoder: cells["batch_norm_encoder"].parse().unwrap(),
            batch_norm_decoder: cells["batch_norm_decoder"].parse().unwrap(),
            batch_norm_last_layers: cells["batch_norm_last_layers"].parse().unwrap(),
            ..ResConvConfig::default()
        };
        assert_eq!(ResConv::new(config).unwrap().parameter_count(), number("parameters"), "{row}");
    }
    assert_eq!(table.lines().count(), 1 + 86);
}

/// The sizes of the study author's own test of the network, and larger kernels with automatic padding.
#[test]
fn the_output_has_the_size_of_the_input() {
    let fixed = [1, 2, 3].map(|kernel| [0, 1, 2].map(|padding| (kernel, Padding::Fixed(padding))));
    let automatic = [1, 2, 3, 4, 7, 8].map(|kernel| (kernel, Padding::Auto));
    for (kernel_size, padding) in fixed.into_iter().flatten().chain(automatic) {
        for (first, last) in [(1, 1), (2, 2), (3, 3), (2, 1)] {
            for [height, width] in [[32, 32], [31, 33]] {
                let (channels, sizes, stride) = (4.into(), kernel_size.into(), Ramp { first, last });
                let config = ResConvConfig {
                    layers: 3,
                    channels,
                    kernel_size: sizes,
                    stride: stride.into(),
                    padding,
                    ..ResConvConfig::default()
                };
                let mut graph = Graph::new();
                let x = graph.input("image", [1, height, width, 1]).unwrap();
                let y = ResConv::new(config).unwrap().record(&mut graph, x).unwrap();
                assert_eq!(graph.shape(y), [1, height, width, 1].into(), "{kernel_size}, {stride:?}, {padding}");
            }
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let resconv = ResConv::new(ResConvConfig { padding: Padding::Fixed(0), ..ResConvConfig::default() }).unwrap();
    let mut graph = Graph::new();
    let x = graph.input("image", [1, 28, 30, 1]).unwrap();
    let error = resconv.record(&mut graph, x).unwrap_err();
    assert_eq!(error.to_string(), "encoder.layer_14 cannot take an input of 2x4 pixels");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("kernel's height 3"), "{error:?}");

    let mut graph = Graph::new();
    let x = graph.input("image", [1, 28, 28, 3]).unwrap();
    let error = resconv.record(&mut graph, x).unwrap_err();
    assert_eq!(error.to_string(), "input: expected [batch, height, width, 1], got [1, 28, 28, 3]");
    let x = graph.input("vector", [28]).unwrap();
    let error = resconv.record(&mut graph, x).unwrap_err();
    assert_eq!(error.to_string(), "input: expected [batch, height, width, 1], got [28]");

    let mut graph = Graph::new();
    let x = graph.input("image", [1, 40, 40, 1]).unwrap();
    resconv.record(&mut graph, x).unwrap();
    let error = resconv.record(&mut graph, x).unwrap_err();
    assert!(matches!(error, Error::Layer { .. }), "{error}");
}
