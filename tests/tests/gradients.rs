//! Gradients of whole networks: on `Reference` against finite differences, and on `Cpu` and `Cuda` against `Reference`.

use cuda_emulator::Order;
use engine::{
    Backend, Cpu, GradcheckOptions, NodeId, Plan, PlanId, PlanOptions, Reference, Session, Statistics, gradcheck,
};
use kernels::simd::Isa;
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Padding, Ramp, ResConvConfig};
use tests::compare::{Comparison, F32_ROUNDOFF, largest};
use tests::cuda::on_cuda;
use tests::fixture::{Fixture, elements, initialize, to_f64, uniform};

/// Small networks that together cover every setting, with the height and width of their images.
fn cases() -> Vec<(ResConvConfig, [usize; 2])> {
    let base = ResConvConfig { layers: 2, channels: 4.into(), ..ResConvConfig::default() };
    let mut cases = Vec::new();
    for layers in [1, 2, 3] {
        cases.push((ResConvConfig { layers, ..base.clone() }, [6, 5]));
        // Odd sizes: every layer of the decoder has to be padded up to its mirror's size in at least one direction.
        cases.push((ResConvConfig { layers, stride: 2.into(), ..base.clone() }, [8, 9]));
        cases.push((ResConvConfig { channels: 3.into(), ..ResConvConfig::original(layers) }, [5, 6]));
    }
    for encoder in BatchNormPosition::ALL {
        for decoder in BatchNormPosition::ALL {
            for batch_norm_last_layers in [false, true] {
                let (batch_norm_encoder, batch_norm_decoder) = (encoder, decoder);
                let config =
                    ResConvConfig { batch_norm_encoder, batch_norm_decoder, batch_norm_last_layers, ..base.clone() };
                cases.push((ResConvConfig { stride: 2.into(), ..config.clone() }, [6, 7]));
                cases.push((config, [5, 6]));
            }
        }
    }
    for activation in LayerActivation::all() {
        cases.push((ResConvConfig { activation, ..base.clone() }, [5, 6]));
        let bottleneck_activation = BottleneckActivation::Other(activation);
        cases.push((ResConvConfig { bottleneck_activation, ..base.clone() }, [6, 5]));
    }
    cases.push((
        ResConvConfig { layers: 3, groups: 2, channels: Ramp { first: 4, last: 8 }.into(), ..base.clone() },
        [5, 6],
    ));
    cases.push((ResConvConfig { layers: 3, groups: 4, stride: 2.into(), ..base.clone() }, [9, 7]));
    cases.push((ResConvConfig { layers: 3, stride: Ramp { first: 2, last: 1 }.into(), ..base.clone() }, [9, 7]));
    cases.push((ResConvConfig { layers: 3, kernel_size: Ramp { first: 5, last: 1 }.into(), ..base.clone() }, [7, 8]));
    cases.push((ResConvConfig { kernel_size: 4.into(), stride: 3.into(), ..base.clone() }, [11, 13]));
    cases.push((ResConvConfig { kernel_size: 2.into(), padding: Padding::Fixed(0), ..base.clone() }, [5, 6]));
    cases.push((
        ResConvConfig { kernel_size: 1.into(), padding: Padding::Fixed(2), stride: 3.into(), ..base.clone() },
        [7, 8],
    ));
    cases.push((ResConvConfig { in_channels: 3, out_channels: 2, residual_weight: -0.5, ..base }, [5, 6]));
    cases
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for (config, [height, width]) in cases() {
        let fixture = Fixture::new(config, [2, height, width]);
        let options = GradcheckOptions { samples: Some(48), ..GradcheckOptions::default() };
        let report = gradcheck::check(&fixture.graph, fixture.loss, &options).unwrap();
        assert!(report.passed(), "{:?}\n{report}", fixture.network.config());
        let parameters = report.rows.iter().filter(|row| row.kind == "parameter").count();
        assert_eq!(parameters, fixture.graph.tensors().iter().filter(|tensor| tensor.trained).count());
    }
}

/// Fused layers compute the same function as one node per operation: in f64, up to rounding.
#[test]
fn fused_layers_compute_what_their_parts_compute() {
    let mut fused_nodes = 0;
    for (config, [height, width]) in cases() {
        let image = [3, height, width];
        let [fused, unfused] = [Fixture::new(config.clone(), image), Fixture::unfused(config.clone(), image)];
        assert!(fused.graph.len() <= unfused.graph.len());
        fused_nodes += unfused.graph.len() - fused.graph.len();
        let mut comparison = Comparison::new(format!("{config:?}"));
        let [got, want] = [outcome(Reference, &fused), outcome(Reference, &unfused)];
        for (got, want) in [(got.values, want.values), (got.gradients, want.gradients)] {
            let largest = want.iter().map(|(_, values)| largest(values)).fold(0.0, f64::max);
            for ((name, got), (_, want)) in got.iter().zip(&want) {
                comparison.tensor_within(name, got, want, 0.0, 1e-11 * largest);
            }
        }
        for statistics in [Statistics::Running, Statistics::Batch] {
            let [got, want] = [&fused, &unfused].map(|fixture| evaluate(fixture, statistics));
            comparison.tensor_within(&format!("{statistics:?} output"), &got, &want, 0.0, 1e-11);
        }
        comparison.finish();
    }
    assert!(fused_nodes > 0, "no layer is fused");
}

/// The output of an inference plan on `Reference`.
fn evaluate(fixture: &Fixture, statistics: Statistics) -> Vec<f64> {
    let options = PlanOptions { poison: true, ..PlanOptions::default() };
    let plan = Plan::inference_with(&fixture.graph, &[fixture.output], statistics, &options).unwrap();
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    initialize(&mut session, 1);
    let pixels = fixture.graph.shape(fixture.image).len();
    session.write_input(PlanId(0), fixture.image, &uniform(3, pixels, 0.0, 1.0)).unwrap();
    session.run(PlanId(0)).unwrap();
    let mut output = vec![0.0; fixture.graph.shape(fixture.output).len()];
    session.read(PlanId(0), fixture.output, &mut output).unwrap();
    output
}

/// What a backend computes for a network: values (the output, and the running statistics after it), and the gradients
/// of a random weighted sum of the output's elements, with respect to the image and to every trained tensor.
struct Outcome {
    values: Vec<(String, Vec<f64>)>,
    gradients: Vec<(String, Vec<f64>)>,
}

fn outcome<B: Backend>(backend: B, fixture: &Fixture) -> Outcome {
    let options = PlanOptions { poison: true, ..PlanOptions::default() };
    let plan = Plan::gradients(&fixture.graph, fixture.output, true, &options).unwrap();
    let (mut session, id) = (Session::new(backend, vec![plan]).unwrap(), PlanId(0));
    initialize(&mut session, 1);
    let [mut image, mut output] =
        [fixture.image, fixture.output].map(|node| vec![0.0; fixture.graph.shape(node).len()]);
    let cotangent = uniform(2, output.len(), -1.0, 1.0);
    session.write_cotangent(id, &elements::<B>(&cotangent)).unwrap();
    session.write_input(id, fixture.image, &elements::<B>(&uniform(3, image.len(), 0.0, 1.0))).unwrap();
    session.run(id).unwrap();

    let read = |node, read: Read<B>, values: &mut Vec<f64>| {
        let mut elements = elements::<B>(values);
        read(&session, id, node, &mut elements).unwrap();
        *values = to_f64(&elements);
    };
    read(fixture.output, Session::read, &mut output);
    read(fixture.image, Session::read_gradient, &mut image);
    let (mut values, mut gradients) = (vec![("output".to_owned(), output)], vec![("image".to_owned(), image)]);
    for tensor in session.tensors() {
        let name = tensor.name.clone();
        if tensor.trained {
            gradients.push((name, to_f64(&session.gradient(&tensor.name).unwrap())));
        } else {
            values.push((name, to_f64(&session.tensor(&tensor.name).unwrap())));
        }
    }
    Outcome { values, gradients }
}

/// [`Session::read`] and [`Session::read_gradient`].
type Read<B> = fn(&Session<B>, PlanId, NodeId, &mut [<B as Backend>::Element]) -> engine::Result<()>;

/// Compares a backend with the reference, whose outcome is `want`.
///
/// The bounds are 64 times the rounding errors of a sum over all pixels. That is twice as much as in `golden.rs`,
/// because a batch norm over the few pixels of a small image can have a large scale. For values they are relative to
/// the tensor's largest element, for gradients to the largest of the network: where a gradient is small because its
/// terms cancel (that of a bias before a batch norm is 0), its rounding errors are not.
fn check_agreement<B: Backend>(backend: B, fixture: &Fixture, want: &Outcome) {
    let pixels: usize = fixture.graph.shape(fixture.image).dims()[..3].iter().product();
    let largest_gradient = want.gradients.iter().map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max);
    let rounding = 64.0 * F32_ROUNDOFF * (pixels as f64).sqrt();
    let mut comparison = Comparison::new(format!("{}, {:?}", backend.name(), fixture.network.config()));
    let got = outcome(backend, fixture);
    for ((name, got), (_, want)) in got.values.iter().zip(&want.values) {
        comparison.tensor_within(name, got, want, rounding, 0.0);
    }
    for ((name, got), (_, want)) in got.gradients.iter().zip(&want.gradients) {
        comparison.tensor_within(&format!("gradient of {name}"), got, want, 0.0, rounding * largest_gradient);
    }
    comparison.finish();
}

/// Networks as wide as real ones.
fn wide_cases() -> [(ResConvConfig, [usize; 2]); 3] {
    let wide = ResConvConfig { layers: 3, ..ResConvConfig::default() };
    [
        (wide.clone(), [16, 16]),
        (ResConvConfig { channels: Ramp { first: 33, last: 48 }.into(), stride: 2.into(), ..wide.clone() }, [13, 11]),
        (ResConvConfig { groups: 8, kernel_size: Ramp { first: 3, last: 7 }.into(), ..wide }, [12, 10]),
    ]
}

#[test]
fn cpu_agrees_with_reference_on_every_isa() {
    for (config, [height, width]) in cases().into_iter().chain(wide_cases()) {
        let fixture = Fixture::new(config, [3, height, width]);
        let want = outcome(Reference, &fixture);
        for isa in Isa::available() {
            check_agreement(Cpu::with_isa(isa, 2).unwrap(), &fixture, &want);
        }
    }
}

/// On a GPU, or on the driver emulator.
#[test]
fn cuda_agrees_with_reference() {
    on_cuda("cuda_agrees_with_reference", env!("CARGO_TARGET_TMPDIR"), Order::Reverse, |cuda| {
        for (config, [height, width]) in cases().into_iter().chain(wide_cases()) {
            let fixture = Fixture::new(config, [3, height, width]);
            check_agreement(cuda.clone(), &fixture, &outcome(Reference, &fixture));
        }
    });
}

/// On a GPU, or on the driver emulator: every operation that runs there, alone and with a fan-out of two.
#[test]
fn cuda_passes_gradcheck() {
    on_cuda("cuda_passes_gradcheck", env!("CARGO_TARGET_TMPDIR"), Order::Random(2), |cuda| {
        let options = GradcheckOptions::default();
        let cases = gradcheck::cases().into_iter().chain(gradcheck::random_cases(0));
        let mut checked = 0;
        for case in cases.filter(|case| case.op != "custom") {
            let report = gradcheck::check_backend(cuda.clone(), &case.graph, case.output, &options).unwrap();
            assert!(report.passed() && !report.rows.is_empty(), "{}\n{report}", case.name);
            checked += 1;
        }
        assert!(checked > 100, "{checked} cases");
    });
}
