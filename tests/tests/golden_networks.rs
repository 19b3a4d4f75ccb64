//! Training runs of a LeNet, a ResNet-20 and a U-Net in PyTorch, replayed: `golden/make_networks.py` says what they
//! are.
//!
//! # Tolerances
//! PyTorch computed in f64, as `Reference` does, which must agree to 1e-9.
//!
//! The f32 backends may differ by [`error`]`(n)`, 8 times what a sum of `n` terms loses by rounding, as in `golden.rs`:
//! outputs and losses with the `n` products of the largest sum, gradients with the `n` pixels or rows that they are
//! summed over, relative to the largest element of the tensor. A network whose layers divide by deviations of few
//! pixels amplifies errors: [`Case::amplification`] is its factor. No value comes so close to a kink of ReLU or max
//! pooling that an error of this size could send a gradient another way: the script makes sure of it.
//!
//! What is computed with trained weights, running statistics and the evaluation, may differ by four times as much.
//!
//! A weight may drift by the sum of what the steps make of the errors of its gradients: `lr / (1 - momentum)` times the
//! error with SGD; what `golden.rs` says with AdamW.

use cuda_emulator::Order;
use engine::*;
use tests::compare::{Comparison, F32_ROUNDOFF, largest};
use tests::cuda::on_cuda;
use tests::fixture::{elements, to_f64};
use tests::golden::Trace;
use tests::networks::{Network, lenet, resnet20, unet};

/// A trace, and how it was made.
struct Case {
    name: &'static str,
    record: fn([usize; 4]) -> Network,
    step: Step,
    /// Products of the largest sum of a forward pass.
    products: usize,
    /// Found by trying, not derived: ResNet-20 passes with 8, not with 4, on the instruction sets without AVX-512.
    amplification: f64,
}

const CLIP: f64 = 0.33;
const DECAY: f64 = 0.9;

fn cases() -> [Case; 3] {
    let sgd = Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    let adamw = Step { clip_norm: Some(CLIP), average: Some(DECAY), ..Step::new(AdamW::default(), 1e-3) };
    [
        Case { name: "lenet", record: lenet, step: Step::new(Sgd::default(), 0.05), products: 256, amplification: 1.0 },
        Case { name: "resnet20", record: resnet20, step: Step::new(sgd, 0.05), products: 144, amplification: 16.0 },
        Case { name: "unet", record: unet, step: adamw, products: 126, amplification: 1.0 },
    ]
}

/// What 8 times the rounding errors of a sum of so many terms of size 1 are.
fn error(terms: usize) -> f64 {
    8.0 * F32_ROUNDOFF * (terms as f64).sqrt()
}

/// A tensor in the engine's layout.
fn tensor(golden: &Trace, name: &str, shape: Shape) -> Vec<f64> {
    if name.ends_with("fc1.weight") {
        return flattened_linear_weight(golden.numbers(name), [4, 4, 16], 24).unwrap();
    }
    golden.weight(name, shape)
}

/// A replay, in f64.
struct Replay {
    title: String,
    tensors: Vec<TensorInfo>,
    output: Vec<f64>,
    losses: Vec<f64>,
    norms: Vec<f64>,
    /// Gradients of the first step.
    gradients: Vec<Vec<f64>>,
    /// For AdamW: the square roots of the corrected second moments in every step.
    scales: Vec<Vec<Vec<f64>>>,
    finals: Vec<Vec<f64>>,
    averages: Vec<Vec<f64>>,
    evaluated: Vec<f64>,
}

fn replay<B: Backend>(backend: B, golden: &Trace, case: &Case) -> Replay {
    let network = (case.record)(golden.image);
    let keep = PlanOptions { keep: vec![network.output], ..PlanOptions::default() };
    let plans = vec![
        Plan::training_with(&network.graph, network.loss, &keep).unwrap(),
        Plan::inference(&network.graph, &[network.output], Statistics::Running).unwrap(),
    ];
    let (training, evaluation) = (PlanId(0), PlanId(1));
    let title = format!("{} on {} threads, {}", backend.name(), backend.threads(), golden.name);
    let options = SessionOptions { average: case.step.average.is_some(), ..SessionOptions::default() };
    let mut session = Session::with_options(backend, std::sync::Arc::new(collective::Alone), plans, options).unwrap();
    let tensors = session.tensors().to_vec();
    session.initialize(0);
    for info in &tensors {
        let values = elements::<B>(&tensor(golden, &format!("init.{}", info.name), info.shape));
        session.set_tensor(&info.name, &values).unwrap();
        if options.average && info.trained {
            session.set_average(&info.name, &values).unwrap();
        }
    }
    for (node, name) in [(network.input, "input"), (network.target, "target")] {
        session.write_input(training, node, &elements::<B>(golden.numbers(name))).unwrap();
    }
    session.write_input(evaluation, network.input, &elements::<B>(golden.numbers("input"))).unwrap();
    let read = |session: &Session<B>, plan| {
        let mut values = elements::<B>(&vec![0.0; network.graph.shape(network.output).len()]);
        session.read(plan, network.output, &mut values).unwrap();
        to_f64(&values)
    };
    let trained = || tensors.iter().filter(|info| info.trained);
    let (mut output, mut gradients, mut losses, mut norms, mut scales) = Default::default();
    for number in 1..=golden.steps {
        session.run(training).unwrap();
        Vec::push(&mut losses, session.loss(training).unwrap());
        if number == 1 {
            output = read(&session, training);
            gradients = trained().map(|info| to_f64(&session.gradient(&info.name).unwrap())).collect();
        }
        session.update(&case.step).unwrap();
        if case.step.clip_norm.is_some() {
            Vec::push(&mut norms, session.gradient_norm().unwrap());
        }
        let correction = 1.0 - AdamW::default().beta2.powf(number as f64);
        let moments = |info: &TensorInfo| to_f64(&session.optimizer_state(&info.name).unwrap()[1]);
        let roots = trained().map(|info| moments(info).iter().map(|v| (v / correction).sqrt()).collect());
        Vec::push(&mut scales, roots.collect());
    }
    let finals = tensors.iter().map(|info| to_f64(&session.tensor(&info.name).unwrap())).collect();
    let averages = match options.average {
        true => trained().map(|info| to_f64(&session.average(&info.name).unwrap())).collect(),
        false => Vec::new(),
    };
    session.run(evaluation).unwrap();
    let evaluated = read(&session, evaluation);
    Replay { title, output, losses, norms, gradients, scales, finals, averages, evaluated, tensors }
}

/// How much each element of the trained tensor number `i` may differ after all steps, if its gradients have an error of
/// `error`.
fn drift(case: &Case, reference: &Replay, i: usize, error: f64) -> Vec<f64> {
    let steps = reference.losses.len() as f64;
    let elements = 0..reference.gradients[i].len();
    match case.step.optimizer {
        Optimizer::Sgd(sgd) => elements.map(|_| steps * case.step.lr / (1.0 - sgd.momentum) * error).collect(),
        Optimizer::AdamW(_) => {
            let step = |roots: &Vec<Vec<f64>>, j: usize| 2.0 * case.step.lr * (error / roots[i][j]).min(1.0);
            elements.map(|j| reference.scales.iter().map(|roots| step(roots, j)).sum()).collect()
        }
    }
}

/// Compares a replay with PyTorch's numbers. `relative` is the error that a sum of so many terms may have, relative to
/// its largest value.
fn compare(got: &Replay, reference: &Replay, golden: &Trace, case: &Case, relative: impl Fn(usize) -> f64) {
    let [batch, height, width, _] = golden.image;
    let of_output = relative(case.products);
    let of_gradient = relative(batch * height * width);
    let mut comparison = Comparison::new(&got.title);
    comparison.tensor_within("out0", &got.output, golden.numbers("out0"), of_output, 0.0);
    comparison.tensor_within("losses", &got.losses, golden.numbers("losses"), of_output, 0.0);
    if case.step.clip_norm.is_some() {
        comparison.tensor_within("norms", &got.norms, golden.numbers("norms"), of_gradient, 0.0);
        assert!(got.norms.iter().any(|norm| *norm > CLIP) && got.norms.iter().any(|norm| *norm < CLIP));
    }
    let trained: Vec<&TensorInfo> = got.tensors.iter().filter(|info| info.trained).collect();
    let mut drifts = Vec::new();
    for (i, info) in trained.iter().enumerate() {
        let name = format!("grad0.{}", info.name);
        let want = tensor(golden, &name, info.shape);
        let bound = of_gradient * largest(&want) + relative(1);
        comparison.tensor(&name, &got.gradients[i], &want, |_| bound);
        drifts.push(drift(case, reference, i, bound));
    }
    let mut of_trained = drifts.iter();
    for (info, values) in got.tensors.iter().zip(&got.finals) {
        let name = format!("final.{}", info.name);
        let want = tensor(golden, &name, info.shape);
        let rounding = if info.trained { 2.0 * golden.steps as f64 * relative(1) / 8.0 } else { 4.0 * of_output };
        let shared = if info.trained { 0.0 } else { rounding * largest(&want) };
        let drift = if info.trained { of_trained.next() } else { None };
        let bound = |i: usize| rounding * want[i].abs() + drift.map_or(shared, |drift| drift[i]);
        comparison.tensor(&name, values, &want, bound);
    }
    for ((info, values), drift) in trained.iter().zip(&got.averages).zip(&drifts) {
        let name = format!("average.{}", info.name);
        let want = tensor(golden, &name, info.shape);
        let rounding = 2.0 * golden.steps as f64 * relative(1) / 8.0;
        comparison.tensor(&name, values, &want, |i| rounding * want[i].abs() + drift[i]);
    }
    comparison.tensor_within("eval_out", &got.evaluated, golden.numbers("eval_out"), 4.0 * of_output, 0.0);
    for (prefix, count) in [("grad0.", trained.len()), ("final.", got.finals.len()), ("average.", got.averages.len())] {
        assert_eq!(golden.count(prefix), count, "tensors {prefix}");
    }
    comparison.finish();
}

fn references() -> impl Iterator<Item = (Case, Trace, Replay)> {
    cases().into_iter().map(|case| {
        let golden = Trace::load(case.name);
        let reference = replay(Reference, &golden, &case);
        (case, golden, reference)
    })
}

#[test]
fn reference_reproduces_pytorch() {
    for (case, golden, reference) in references() {
        compare(&reference, &reference, &golden, &case, |_| 1e-9);
    }
}

#[test]
fn cpu_reproduces_pytorch_on_every_isa() {
    for (case, golden, reference) in references() {
        for isa in Isa::available() {
            for threads in [1, 2] {
                let got = replay(Cpu::with_isa(isa, threads).unwrap(), &golden, &case);
                compare(&got, &reference, &golden, &case, |terms| case.amplification * error(terms));
            }
        }
    }
}

/// On a GPU, or on the driver emulator.
#[test]
fn cuda_reproduces_pytorch() {
    on_cuda("cuda_reproduces_pytorch", env!("CARGO_TARGET_TMPDIR"), Order::Random(1), |cuda| {
        for (case, golden, reference) in references() {
            let got = replay(cuda.clone(), &golden, &case);
            compare(&got, &reference, &golden, &case, |terms| case.amplification * error(terms));
        }
    });
}
