//! Training runs of PyTorch, replayed: `golden/README.md` says what they are.
//!
//! # Tolerances
//! PyTorch computed in f64, as `Reference` does. They may differ by the rounding of the files to f32, and by the noise
//! of f64 in numbers that are sums of much larger ones.
//!
//! The rounding errors of the f32 backends are up to `u = 2^-24` of each value and add up like a random walk: a sum of
//! `n` products has an error of about `u sqrt(n)` of its largest partial sum. The bounds are 8 times that, since a
//! value goes through all layers. PyTorch's own f32 run of the same traces stays within them, too.
//!
//! - Outputs (below 1), the loss, and running statistics: `n` is the number of products in an output of a
//!   convolution.
//! - Gradients: `n` is the number of pixels in the batch, over which a weight's gradient is summed. The bound is
//!   relative to the tensor's largest element, plus `u` itself: the loss spreads a total gradient of 1 over the pixels,
//!   and where its terms cancel, their rounding errors do not.
//! - Trained weights: see [`drift`].
//!
//! Winograd's 4x4 tiles, which the default picks for the wider layers, have about four times the rounding errors of a
//! direct convolution (`Algo::error_factor`). With them, the bounds on outputs, loss and gradients are four times as
//! wide.

use cuda_emulator::Order;
use engine::{
    AdamW, Backend, Cpu, Plan, PlanId, PlanOptions, Reference, Schedule, ScheduleKind, Session, Statistics, Step,
    TensorInfo,
};
use kernels::conv2d::{Algo, Tile};
use kernels::simd::Isa;
use std::sync::LazyLock;
use tests::compare::{Comparison, F32_ROUNDOFF, largest};
use tests::cuda::on_cuda;
use tests::fixture::{Fixture, elements, to_f64};
use tests::golden::Golden;

/// Our replay of a training run, converted to f64.
struct Trace {
    title: String,
    tensors: Vec<TensorInfo>,
    /// Output of the first step.
    output: Vec<f64>,
    /// Gradients of the first step, for every trained tensor.
    gradients: Vec<Vec<f64>>,
    losses: Vec<f64>,
    /// For every step, the learning rate and, for every trained tensor, the square root of its corrected second moment.
    scales: Vec<(f64, Vec<Vec<f64>>)>,
    /// Every tensor after the last step.
    finals: Vec<Vec<f64>>,
    evaluated: Vec<f64>,
}

/// Rounding errors of Winograd's 4x4 tiles, relative to those of a direct convolution.
const WINOGRAD_4X3: f64 = 4.0;

const TRAINING: PlanId = PlanId(0);
const EVALUATION: PlanId = PlanId(1);

fn replay<B: Backend>(backend: B, golden: &Golden) -> Trace {
    let [n, height, width, _] = golden.image;
    let fixture = Fixture::new(golden.config.clone(), [n, height, width]);
    let keep = PlanOptions { keep: vec![fixture.output], ..PlanOptions::default() };
    let plans = vec![
        Plan::training_with(&fixture.graph, fixture.loss, &keep).unwrap(),
        Plan::inference(&fixture.graph, &[fixture.output], Statistics::Running).unwrap(),
    ];
    let title = format!("{} on {} threads, {}", backend.name(), backend.threads(), golden.name);
    let mut session = Session::new(backend, plans).unwrap();
    let tensors = session.tensors().to_vec();
    for tensor in &tensors {
        let values = golden.weight(&format!("init.{}", tensor.name), tensor.shape);
        session.set_tensor(&tensor.name, &elements::<B>(&values)).unwrap();
    }
    let input = elements::<B>(&golden.image("input"));
    session.write_input(TRAINING, fixture.image, &input).unwrap();
    session.write_input(TRAINING, fixture.target, &elements::<B>(&golden.image("target"))).unwrap();

    let trained: Vec<&TensorInfo> = tensors.iter().filter(|tensor| tensor.trained).collect();
    let (mut output, mut gradients, mut losses, mut scales) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let schedule = Schedule { base_lr: 3e-4, kind: ScheduleKind::Cosine, warmup_steps: 0, total_steps: golden.steps };
    let adamw = AdamW::default();
    for step in 0..golden.steps {
        session.run(TRAINING).unwrap();
        losses.push(session.loss(TRAINING).unwrap());
        if step == 0 {
            output = read(&session, TRAINING, &fixture);
            gradients = trained.iter().map(|tensor| to_f64(&session.gradient(&tensor.name).unwrap())).collect();
        }
        let lr = schedule.lr(step);
        session.update(&Step::new(adamw, lr)).unwrap();
        let correction = 1.0 - adamw.beta2.powf((step + 1) as f64);
        let root = |v: &f64| (v / correction).sqrt();
        let second_moment = |tensor: &&TensorInfo| to_f64(&session.optimizer_state(&tensor.name).unwrap()[1]);
        scales.push((lr, trained.iter().map(|tensor| second_moment(tensor).iter().map(root).collect()).collect()));
    }
    let finals = tensors.iter().map(|tensor| to_f64(&session.tensor(&tensor.name).unwrap())).collect();
    session.write_input(EVALUATION, fixture.image, &input).unwrap();
    session.run(EVALUATION).unwrap();
    let evaluated = read(&session, EVALUATION, &fixture);
    Trace { title, output, gradients, losses, scales, finals, evaluated, tensors }
}

fn read<B: Backend>(session: &Session<B>, plan: PlanId, fixture: &Fixture) -> Vec<f64> {
    let mut values = elements::<B>(&vec![0.0; fixture.graph.shape(fixture.output).len()]);
    session.read(plan, fixture.output, &mut values).unwrap();
    to_f64(&values)
}

/// How much an element may differ: the sum of three terms.
#[derive(Clone, Copy)]
struct Tolerance {
    /// Relative to the element.
    element: f64,
    /// Relative to the largest element of its tensor.
    tensor: f64,
    absolute: f64,
}

impl Tolerance {
    fn bound(self, want: &[f64]) -> impl Fn(usize) -> f64 {
        let shared = self.tensor * largest(want) + self.absolute;
        move |i| self.element * want[i].abs() + shared
    }
}

struct Tolerances {
    output: Tolerance,
    loss: Tolerance,
    gradient: Tolerance,
    statistics: Tolerance,
    /// Without the term that [`drift`] adds.
    weight: Tolerance,
}

impl Tolerances {
    fn of_f64() -> Tolerances {
        let all = Tolerance { element: 1e-6, tensor: 1e-12, absolute: 0.0 };
        Tolerances { output: all, loss: all, gradient: all, statistics: all, weight: all }
    }

    fn of_f32(golden: &Golden, amplification: f64) -> Tolerances {
        let [n, height, width, _] = golden.image;
        let products = golden.config.kernel_size_of(0).pow(2) * golden.config.channels_of(0);
        let error = |terms: usize| 8.0 * amplification * F32_ROUNDOFF * (terms as f64).sqrt();
        let none = Tolerance { element: 0.0, tensor: 0.0, absolute: 0.0 };
        Tolerances {
            output: Tolerance { absolute: error(products), ..none },
            loss: Tolerance { element: error(products), ..none },
            gradient: Tolerance { tensor: error(n * height * width), absolute: F32_ROUNDOFF, ..none },
            statistics: Tolerance { tensor: error(products), ..none },
            // Every step rounds a weight twice: when it decays and when it moves.
            weight: Tolerance { element: 2.0 * golden.steps as f64 * F32_ROUNDOFF, ..none },
        }
    }
}

/// How much the elements of trained tensor `tensor` may differ because its gradients do.
///
/// A step of AdamW moves a weight by `lr m / sqrt v`, whatever the size of its gradients: a weight whose gradients are
/// nothing but rounding errors moves as far as any other, in an arbitrary direction. If the gradients have errors of up
/// to `d`, so have `m` and `sqrt v` (both are means). The error of the step is then `2 lr d / sqrt v`, if `|m| <= sqrt
/// v`, and never more than `2 lr`.
fn drift(reference: &Trace, tensor: usize, tolerance: Tolerance) -> Vec<f64> {
    let gradient = &reference.gradients[tensor];
    let error = tolerance.bound(gradient);
    let step = |i: usize, (lr, scales): &(f64, Vec<Vec<f64>>)| 2.0 * lr * (error(i) / scales[tensor][i]).min(1.0);
    (0..gradient.len()).map(|i| reference.scales.iter().map(|scales| step(i, scales)).sum()).collect()
}

fn compare(trace: &Trace, golden: &Golden, tolerances: &Tolerances, drift: impl Fn(usize) -> Vec<f64>) {
    let mut comparison = Comparison::new(&trace.title);
    let output = golden.image("out0");
    comparison.tensor("out0", &trace.output, &output, tolerances.output.bound(&output));
    let first = golden.numbers("loss0");
    comparison.tensor("loss0", &trace.losses[..1], first, tolerances.loss.bound(first));
    let losses = golden.numbers("losses");
    comparison.tensor("losses", &trace.losses, losses, tolerances.loss.bound(losses));

    let trained = trace.tensors.iter().filter(|tensor| tensor.trained);
    for (tensor, got) in trained.zip(&trace.gradients) {
        let name = format!("grad0.{}", tensor.name);
        let want = golden.weight(&name, tensor.shape);
        comparison.tensor(&name, got, &want, tolerances.gradient.bound(&want));
    }
    assert_eq!(trace.gradients.len(), golden.count("grad0."));

    let mut number_trained = 0;
    for (tensor, got) in trace.tensors.iter().zip(&trace.finals) {
        let name = format!("final.{}", tensor.name);
        let want = golden.weight(&name, tensor.shape);
        if tensor.trained {
            let (rounding, drift) = (tolerances.weight.bound(&want), drift(number_trained));
            comparison.tensor(&name, got, &want, |i| rounding(i) + drift[i]);
            number_trained += 1;
        } else {
            comparison.tensor(&name, got, &want, tolerances.statistics.bound(&want));
        }
    }
    assert_eq!(trace.finals.len(), golden.count("final."));
    let evaluated = golden.image("eval_out");
    comparison.tensor("eval_out", &trace.evaluated, &evaluated, tolerances.output.bound(&evaluated));
    comparison.finish();
}

/// The golden traces, and `Reference`'s replays of them: slow, so made once for all tests.
static TRACES: LazyLock<Vec<(Golden, Trace)>> = LazyLock::new(|| {
    let replays = Golden::all().map(|golden| {
        let trace = replay(Reference, &golden);
        (golden, trace)
    });
    replays.into()
});

#[test]
fn reference_reproduces_pytorch() {
    for (golden, trace) in TRACES.iter() {
        compare(trace, golden, &Tolerances::of_f64(), |tensor| vec![0.0; trace.gradients[tensor].len()]);
    }
}

/// Replays every trace on every instruction set, with the default algorithm or a forced one.
fn check_cpu(algo: Option<Algo>, amplification: f64) {
    for (golden, reference) in TRACES.iter() {
        let tolerances = Tolerances::of_f32(golden, amplification);
        for isa in Isa::available() {
            for threads in [1, 2] {
                let cpu = Cpu::with_isa(isa, threads).unwrap();
                let cpu = if let Some(algo) = algo { cpu.with_conv2d_algo(algo) } else { cpu };
                let trace = replay(cpu, golden);
                compare(&trace, golden, &tolerances, |tensor| drift(reference, tensor, tolerances.gradient));
            }
        }
    }
}

#[test]
fn cpu_reproduces_pytorch_on_every_isa() {
    check_cpu(None, WINOGRAD_4X3);
}

#[test]
fn direct_convolution_reproduces_pytorch_on_every_isa() {
    check_cpu(Some(Algo::Direct), 1.0);
}

#[test]
fn the_small_tiles_of_winograd_reproduce_pytorch_on_every_isa() {
    check_cpu(Some(Algo::Winograd(Tile::F2x3)), 1.0);
}

/// On a GPU, or on the driver emulator.
#[test]
fn cuda_reproduces_pytorch() {
    on_cuda("cuda_reproduces_pytorch", env!("CARGO_TARGET_TMPDIR"), Order::Random(1), |cuda| {
        for (golden, reference) in TRACES.iter() {
            let tolerances = Tolerances::of_f32(golden, 1.0);
            let trace = replay(cuda.clone(), golden);
            compare(&trace, golden, &tolerances, |tensor| drift(reference, tensor, tolerances.gradient));
        }
    });
}

/// Assumptions of the bounds. The gradient of L1 jumps where the prediction equals the target: every prediction must be
/// further away than its rounding errors. And only a weight with hardly any gradient may drift far: if many could, the
/// comparison would show little.
#[test]
fn the_traces_can_be_compared_closely() {
    for (golden, reference) in TRACES.iter() {
        let tolerances = Tolerances::of_f32(golden, WINOGRAD_4X3);
        let distances: Vec<f64> = golden
            .image("out0")
            .iter()
            .zip(golden.image("target"))
            .map(|(output, target)| (output - target).abs())
            .collect();
        let rounding = tolerances.output.bound(&distances);
        assert!(distances.iter().all(|distance| *distance > rounding(0)), "{}: a sign is in doubt", golden.name);

        let tolerances = Tolerances::of_f32(golden, 1.0);
        let tensors = 0..reference.gradients.len();
        let drifts: Vec<f64> = tensors.flat_map(|tensor| drift(reference, tensor, tolerances.gradient)).collect();
        let path: f64 = reference.scales.iter().map(|(lr, _)| lr).sum();
        let far = drifts.iter().filter(|drift| **drift > 0.01 * path).count();
        assert!(far * 20 < drifts.len(), "{}: {far} of {} weights may drift far", golden.name, drifts.len());
    }
}
