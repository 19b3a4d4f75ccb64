//! Training steps on a GPU, or on the driver emulator: which driver calls the host makes, and that results do not
//! depend on timing.

use cuda_emulator::{Emulator, Mode, Order, is_child, required, sources_in};
use engine::{AdamW, Cuda, Plan, PlanId, Session, Step};
use model::ResConvConfig;
use std::collections::BTreeMap;
use std::path::Path;
use tests::fixture::{Fixture, initialize};

const PLAN: PlanId = PlanId(0);
const STEPS: u64 = 12;

/// The variable that names the file for the emulator's list of driver calls.
const CALLS: &str = "CUDA_EMULATOR_CALLS";

fn fixture() -> Fixture {
    Fixture::new(ResConvConfig { layers: 2, channels: 4.into(), ..ResConvConfig::default() }, [2, 6, 7])
}

/// Runs [`STEPS`] steps, each on other images, and waits after every `ahead` steps. Returns the bits of all losses and
/// of a weight. `started` is called after each step is started.
fn train(cuda: Cuda, ahead: u64, mut started: impl FnMut(u64)) -> (Vec<u64>, Vec<u32>) {
    let fixture = fixture();
    let mut session = Session::new(cuda, vec![Plan::training(&fixture.graph, fixture.loss).unwrap()]).unwrap();
    initialize(&mut session, 0);
    let (mut losses, mut all) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        fixture.write_inputs(&mut session, PLAN, step);
        session.start_step(PLAN, &Step::new(AdamW::default(), 1e-3)).unwrap();
        started(step);
        if (step + 1) % ahead == 0 || step + 1 == STEPS {
            assert!(session.finish_steps(&mut losses));
            all.extend(losses.iter().map(|loss| loss.to_bits()));
        }
    }
    assert_eq!(all.len() as u64, STEPS);
    let weight = session.tensor("decoder.layer_1.conv.weight").unwrap();
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
        let want = train(cuda.clone().without_graphs(), 1, |_| ());
        for ahead in [1, 5, STEPS] {
            assert!(train(cuda.clone(), ahead, |_| ()) == want, "with graphs, {ahead} steps ahead");
            assert!(train(cuda.clone().without_graphs(), ahead, |_| ()) == want, "without, {ahead} steps ahead");
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
        let mut after = Vec::new();
        train(cuda, STEPS, |_| after.push(calls_so_far().len()));
        let calls = calls_so_far();
        for step in 2..STEPS as usize {
            let mut counts = BTreeMap::new();
            calls[after[step - 1]..after[step]].iter().for_each(|call| *counts.entry(call.as_str()).or_insert(0) += 1);
            counts.retain(|call, _| !call.starts_with("cuCtx"));
            let expected = [
                // The inputs: to pinned memory, to the device, and to their destination.
                ("cuEventSynchronize", 2),
                ("cuMemcpyHtoDAsync_v2", 2),
                ("cuMemcpyDtoDAsync_v2", 2),
                ("cuEventRecord", 4),
                ("cuStreamWaitEvent", 4),
                // Forward and backward.
                ("cuGraphLaunch", 1),
                // A copy of the states, two searches for NaN, the check of the optimizer's step and the step itself,
                // undoing all, and its flag and loss.
                ("cuLaunchKernel", 8),
            ];
            assert_eq!(counts, BTreeMap::from(expected), "step {step}");
        }
    });
}
