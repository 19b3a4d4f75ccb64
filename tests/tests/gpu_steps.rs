//! Training steps on a GPU, or on the driver emulator: which driver calls the host makes, and that results do not
//! depend on timing.

use cuda_emulator::{Emulator, Mode, Order, is_child, required, sources_in};
use engine::collective::Alone;
use engine::{
    Activation, AdamW, Backend, Conv2d, Cpu, Cuda, Graph, Group, Plan, PlanId, PlanOptions, Session, SessionOptions,
    Sgd, Statistics, Step,
};
use kernels::{Region, Span};
use model::ResConvConfig;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tests::fixture::{Fixture, initialize};

const PLAN: PlanId = PlanId(0);
const STEPS: u64 = 12;

/// The variable that names the file for the emulator's list of driver calls.
const CALLS: &str = "CUDA_EMULATOR_CALLS";

fn fixture() -> Fixture {
    Fixture::new(ResConvConfig { layers: 2, channels: 4.into(), ..ResConvConfig::default() }, [2, 6, 7])
}

/// How steps are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// As by the trainer: AdamW, and nothing else.
    Default,
    /// SGD of two groups, and what is frozen; two micro-batches, clipping and averages.
    Everything,
}

impl Kind {
    fn session<B: Backend>(self, backend: B, fixture: &mut Fixture) -> Session<B> {
        let is_set = self == Kind::Everything;
        if is_set {
            let no_decay = Group { lr: 2.0, weight_decay: 0.0 };
            for (name, group) in [("encoder.layer_1.conv.bias", no_decay), ("encoder.layer_2.bn.weight", Group::FROZEN)]
            {
                fixture.graph.set_group(fixture.graph.node(name).unwrap(), group).unwrap();
            }
        }
        let options = SessionOptions { accumulate: is_set, average: is_set };
        // In builds with debug assertions, poison would be launched, too.
        let plan_options = PlanOptions { poison: false, ..PlanOptions::default() };
        let plan = Plan::training_with(&fixture.graph, fixture.loss, &plan_options).unwrap();
        Session::with_options(backend, Arc::new(Alone), vec![plan], options).unwrap()
    }

    /// Writes the inputs of a step, and starts it.
    fn start<B: Backend>(self, session: &mut Session<B>, fixture: &Fixture, step: u64) {
        if self == Kind::Default {
            fixture.write_inputs(session, PLAN, step);
            return session.start_step(PLAN, &Step::new(AdamW::default(), 1e-3)).unwrap();
        }
        for micro in [2 * step, 2 * step + 1] {
            fixture.write_inputs(session, PLAN, micro);
            session.accumulate(PLAN, 0.5).unwrap();
        }
        let sgd = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 };
        let step = Step { clip_norm: Some(0.1), average: Some(0.9), ..Step::new(sgd, 0.1) };
        session.start_accumulated_step(&step).unwrap();
    }
}

/// Runs [`STEPS`] steps, each on other images, and waits after every `ahead` steps. Returns the bits of all losses and
/// of a weight, and of its average. `started` is called after each step is started.
fn train<B>(backend: B, kind: Kind, ahead: u64, mut started: impl FnMut(u64)) -> (Vec<u64>, Vec<u32>)
where
    B: Backend<Element = f32>,
{
    let mut fixture = fixture();
    let mut session = kind.session(backend, &mut fixture);
    initialize(&mut session, 0);
    let (mut losses, mut all) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        kind.start(&mut session, &fixture, step);
        started(step);
        if (step + 1) % ahead == 0 || step + 1 == STEPS {
            assert!(session.finish_steps(&mut losses));
            all.extend(losses.iter().map(|loss| loss.to_bits()));
        }
    }
    assert_eq!(all.len() as u64, STEPS);
    let name = "decoder.layer_1.conv.weight";
    let mut weight = session.tensor(name).unwrap();
    if kind == Kind::Everything {
        assert!(session.gradient_norm().unwrap() > 0.1, "the gradients are clipped");
        weight.extend(session.average(name).unwrap());
    }
    (all, weight.iter().map(|x| x.to_bits()).collect())
}

/// Runs `check` with the first GPU. If there is none, runs the test of this name again on the emulator, once for each
/// of the variables.
fn on_each(test: &str, variables: &[(&str, &str)], check: impl FnOnce(Cuda)) {
    if let Ok(cuda) = Cuda::new(0) {
        return check(cuda);
    }
    assert!(!is_child(), "the emulator has a GPU");
    let sources = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/src")).unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(emulator) = required(Emulator::build(&sources, &[], Mode::Plain, cache)) else { return };
    for variable in variables {
        let output = emulator.rerun_with(test, Order::Forward, &[*variable]).unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success() && out.contains("1 passed"), "with {variable:?}: {out}{err}");
    }
}

/// Steps run as a graph or kernel by kernel, and the host waits after each or after several. The device works at once
/// or as late as it can, and one driver records no graphs.
#[test]
fn steps_give_the_same_bits_however_they_are_started() {
    let [streams, capture] = ["CUDA_EMULATOR_STREAMS", "CUDA_EMULATOR_CAPTURE"];
    let variables = [(streams, "eager"), (streams, "late"), (capture, "refuse")];
    on_each("steps_give_the_same_bits_however_they_are_started", &variables, |cuda| {
        for kind in [Kind::Default, Kind::Everything] {
            let want = train(cuda.clone().without_graphs(), kind, 1, |_| ());
            for ahead in [1, 5, STEPS] {
                let what = format!("{kind:?}, {ahead} steps ahead");
                assert!(train(cuda.clone(), kind, ahead, |_| ()) == want, "with graphs: {what}");
                assert!(train(cuda.clone().without_graphs(), kind, ahead, |_| ()) == want, "without: {what}");
            }
        }
    });
}

/// Both go through the same steps but for rounding: a relative 2^-24 here and there in twelve steps.
#[test]
fn steps_of_a_gpu_are_those_of_a_cpu() {
    on_each("steps_of_a_gpu_are_those_of_a_cpu", &[("CUDA_EMULATOR_STREAMS", "eager")], |cuda| {
        let [(losses, weights), (want_losses, want_weights)] =
            [train(cuda, Kind::Everything, STEPS, |_| ()), train(Cpu::new(1).unwrap(), Kind::Everything, 1, |_| ())];
        for (got, want) in losses.into_iter().zip(want_losses).map(|(a, b)| (f64::from_bits(a), f64::from_bits(b))) {
            assert!((got - want).abs() < 1e-5, "loss {got}, not {want}");
        }
        for (got, want) in weights.into_iter().zip(want_weights).map(|(a, b)| (f32::from_bits(a), f32::from_bits(b))) {
            assert!((got - want).abs() < 1e-5, "weight {got}, not {want}");
        }
    });
}

/// What the kernels do not count is an error when the session is made, and nothing has run.
#[test]
fn sizes_beyond_the_kernels_are_refused() {
    on_each("sizes_beyond_the_kernels_are_refused", &[("CUDA_EMULATOR_STREAMS", "eager")], |cuda| {
        let device = cuda.name();
        for (side, channels, groups, says) in [
            (
                32_764,
                1,
                1,
                "a side of the image, its padding at both ends and the kernel have 32769 pixels together, and CUDA kernels \
                 count to 32767",
            ),
            (1, 65_536, 65_536, "65536 groups, and CUDA kernels count to 65535"),
        ] {
            let plan = |side: usize, channels: usize, groups: usize| {
                let mut graph = Graph::new();
                let x = graph.input("x", [1, side, 1, channels]).unwrap();
                let w = graph.input("w", [3, 3, channels / groups, channels]).unwrap();
                let y = graph.conv2d(x, w, None, Conv2d { padding: [1, 1], groups, ..Conv2d::default() }).unwrap();
                Plan::inference(&graph, &[y], Statistics::Running).unwrap()
            };
            let error = Session::new(cuda.clone(), vec![plan(side, channels, groups)]).err().unwrap();
            assert_eq!(error.to_string(), format!("conv2d `conv2d_2` is too large for {device}: {says}"));
            if groups == 1 {
                Session::new(cuda.clone(), vec![plan(side - 2, 1, 1)]).unwrap();
            }
        }
        // 64 images of 1024 x 1024 pixels, 32 channels
        let mut graph = Graph::new();
        let x = graph.input("x", [64, 1024, 1024, 32]).unwrap();
        let y = graph.activation(x, Activation::Relu).unwrap();
        let plan = Plan::inference(&graph, &[y], Statistics::Running).unwrap();
        let error = Session::new(cuda.clone(), vec![plan]).err().unwrap().to_string();
        assert!(error.ends_with("an operand has 2147483648 elements, and CUDA kernels count to 2147483647"), "{error}");
    });
}

/// Pinned memory is dear: a memory that nothing is copied to takes none, and one copy takes one piece.
#[test]
fn memory_is_pinned_when_it_is_needed() {
    let list = Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver-calls-of-copies");
    let _ = std::fs::remove_file(&list);
    let list = list.to_str().unwrap();
    on_each("memory_is_pinned_when_it_is_needed", &[(CALLS, list)], |cuda| {
        let Ok(list) = std::env::var(CALLS) else { return };
        let pinned =
            || std::fs::read_to_string(&list).unwrap().lines().filter(|call| *call == "cuMemHostAlloc").count();
        let mut memory = cuda.allocate(&[1000]).unwrap();
        assert_eq!(pinned(), 0);
        for copies in 1..=20 {
            cuda.write(&mut memory, Span::new(Region(0), 0, 1000), &[1.0; 1000]);
            assert_eq!(pinned(), copies.min(8));
        }
    });
}

/// Once a step is recorded, it allocates nothing and waits for nothing but pinned memory that an earlier copy still
/// reads.
#[test]
fn a_step_asks_little_of_the_driver() {
    let list = Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver-calls");
    let _ = std::fs::remove_file(&list);
    let list = list.to_str().unwrap();
    on_each("a_step_asks_little_of_the_driver", &[(CALLS, list)], |cuda| {
        let Ok(list) = std::env::var(CALLS) else { return };
        let calls_so_far = || std::fs::read_to_string(&list).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        // For each run of a plan, the inputs: to pinned memory, to the device, and to their destination; forward and
        // backward.
        let runs = |runs: usize| {
            [
                ("cuEventSynchronize", 2 * runs),
                ("cuMemcpyHtoDAsync_v2", 2 * runs),
                ("cuMemcpyDtoDAsync_v2", 2 * runs),
                ("cuEventRecord", 4 * runs),
                ("cuStreamWaitEvent", 4 * runs),
                ("cuGraphLaunch", runs),
            ]
        };
        // A copy of the states, two searches for NaN, the check of the optimizer's step and the step itself, undoing
        // all, and its flag and loss.
        let default = 1 + 2 + 2 + 1 + 2;
        // Sums of loss and gradients for each micro-batch; the norm in two stages, a search for NaN in it, and the
        // scaling to it; the averages; another group.
        let everything = default + 2 * 2 + 4 + 1 + 2;
        for (kind, micro_batches, kernels) in [(Kind::Default, 1, default), (Kind::Everything, 2, everything)] {
            let mut after = Vec::new();
            train(cuda.clone(), kind, STEPS, |_| after.push(calls_so_far().len()));
            let calls = calls_so_far();
            let expected = BTreeMap::from_iter(runs(micro_batches).into_iter().chain([("cuLaunchKernel", kernels)]));
            for step in 2..STEPS as usize {
                let mut counts = BTreeMap::new();
                let of_step = &calls[after[step - 1]..after[step]];
                of_step.iter().for_each(|call| *counts.entry(call.as_str()).or_insert(0) += 1);
                counts.retain(|call, _| !call.starts_with("cuCtx"));
                assert_eq!(counts, expected, "{kind:?}, step {step}");
            }
        }
    });
}
