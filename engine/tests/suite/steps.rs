//! Training steps that are started before the results of earlier ones are known.

use super::common::{Network, network, numbers, snapshot};
use super::device::Device;
use engine::collective::Alone;
use engine::*;
use std::sync::Arc;

const PLAN: PlanId = PlanId(0);

/// A step with this learning rate.
fn adamw(lr: f64) -> Step {
    Step::new(AdamW::default(), lr)
}

fn sgd(lr: f64) -> Step {
    Step::new(Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 }, lr)
}

/// Norms of the gradients are on both sides of the largest.
fn clipped(lr: f64) -> Step {
    Step { clip_norm: Some(0.05), average: Some(0.75), ..adamw(lr) }
}

/// Steps of all kinds, by their learning rate.
const KINDS: [fn(f64) -> Step; 3] = [adamw, sgd, clipped];

fn session(network: &Network) -> Session<Device> {
    let training = Plan::training(&network.graph, network.loss).unwrap();
    let inference = Plan::inference(&network.graph, &[network.output], Statistics::Running).unwrap();
    let options = SessionOptions { accumulate: true, average: true };
    let mut session = Session::with_options(Device, Arc::new(Alone), vec![training, inference], options).unwrap();
    session.initialize(1);
    session
}

/// Writes the inputs of a step, which fails if `is_bad`.
fn write(session: &mut Session<Device>, network: &Network, step: u64, is_bad: bool) {
    let mut x = numbers(60, step);
    if is_bad {
        x[59] = f64::NAN;
    }
    session.write_input(PLAN, network.x, &x).unwrap();
    session.write_input(PLAN, network.target, &numbers(36, 100 + step)).unwrap();
}

fn lr(step: u64) -> f64 {
    1e-2 / (step + 1) as f64
}

/// The session and the losses after `steps` steps, one at a time.
fn one_by_one(network: &Network, kind: fn(f64) -> Step, steps: u64) -> (Session<Device>, Vec<f64>) {
    let mut session = session(network);
    let losses = (0..steps).map(|step| {
        write(&mut session, network, step, false);
        session.run(PLAN).unwrap();
        session.update(&kind(lr(step))).unwrap();
        session.loss(PLAN).unwrap()
    });
    let losses = losses.collect();
    (session, losses)
}

#[test]
fn steps_that_are_started_ahead_come_to_the_same() {
    let network = network(1);
    for (kind, ahead) in KINDS.into_iter().flat_map(|kind| (1..=3).map(move |ahead| (kind, ahead))) {
        let (want, want_losses) = one_by_one(&network, kind, 6);
        let mut session = session(&network);
        let (mut all, mut losses) = (Vec::new(), Vec::new());
        for step in 0..6 {
            write(&mut session, &network, step, false);
            session.start_step(PLAN, &kind(lr(step))).unwrap();
            if (step + 1) % ahead == 0 {
                assert!(session.finish_steps(&mut losses));
                assert_eq!(losses.len() as u64, ahead);
                all.extend_from_slice(&losses);
            }
        }
        assert_eq!(all, want_losses);
        assert_eq!(snapshot(&session), snapshot(&want));
        assert_eq!(session.optimizer_step(), 6);
        assert!(session.finish_steps(&mut losses) && losses.is_empty(), "none has been started since");
    }
}

/// The first, second or third of three started steps fails. It and the steps after it change nothing, and training can
/// go on as if they had not been started.
#[test]
fn a_step_that_fails_and_those_after_it_change_nothing() {
    let network = network(1);
    for (kind, failing) in KINDS.into_iter().flat_map(|kind| (0..3).map(move |failing| (kind, failing))) {
        let (mut want, want_losses) = one_by_one(&network, kind, failing);
        let mut session = session(&network);
        for step in 0..3 {
            write(&mut session, &network, step, step == failing);
            session.start_step(PLAN, &kind(lr(step))).unwrap();
        }
        let mut losses = Vec::new();
        assert!(!session.finish_steps(&mut losses));
        let (failed, taken) = losses.split_last().unwrap();
        assert_eq!(taken, want_losses);
        assert!(failed.is_nan());
        assert_eq!(session.optimizer_step(), failing);
        assert_eq!(snapshot(&session), snapshot(&want), "step {failing} failed");

        write(&mut session, &network, failing, true);
        assert_eq!(session.find_non_finite(PLAN).unwrap(), Some(NonFinite::Given { name: "x".to_owned() }));
        assert_eq!(snapshot(&session), snapshot(&want));
        for session in [&mut session, &mut want] {
            write(session, &network, 7, false);
            session.start_step(PLAN, &kind(1e-2)).unwrap();
            assert!(session.finish_steps(&mut losses));
        }
        assert_eq!(snapshot(&session), snapshot(&want), "the step after");
    }
}

/// Starts a step of two micro-batches, of which the second fails if `is_bad`.
fn start_accumulated(session: &mut Session<Device>, network: &Network, kind: fn(f64) -> Step, step: u64, is_bad: bool) {
    for half in 0..2 {
        write(session, network, 2 * step + half, is_bad && half == 1);
        session.accumulate(PLAN, if half == 0 { 0.75 } else { 0.25 }).unwrap();
    }
    session.start_accumulated_step(&kind(lr(step))).unwrap();
}

/// As above, for steps of two micro-batches: what the first one did to the states is undone, too.
#[test]
fn an_accumulated_step_that_fails_and_those_after_it_change_nothing() {
    let network = network(1);
    for (kind, failing) in KINDS.into_iter().flat_map(|kind| (0..3).map(move |failing| (kind, failing))) {
        let (mut want, mut session) = (session(&network), session(&network));
        let (mut want_losses, mut losses) = (Vec::new(), Vec::new());
        for step in 0..failing {
            start_accumulated(&mut want, &network, kind, step, false);
            assert!(want.finish_steps(&mut losses));
            want_losses.extend_from_slice(&losses);
        }
        for step in 0..3 {
            start_accumulated(&mut session, &network, kind, step, step == failing);
        }
        // A micro-batch of a step that has not been started is dropped.
        write(&mut session, &network, 9, false);
        session.accumulate(PLAN, 0.5).unwrap();
        assert!(!session.finish_steps(&mut losses));
        let (failed, taken) = losses.split_last().unwrap();
        assert_eq!(taken, want_losses);
        assert!(failed.is_nan());
        assert_eq!((session.optimizer_step(), session.training_runs()), (failing, 2 * failing));
        assert_eq!(snapshot(&session), snapshot(&want), "step {failing} failed");
        assert_eq!(session.find_non_finite(PLAN).unwrap(), None, "the last inputs are fine");
        for session in [&mut session, &mut want] {
            start_accumulated(session, &network, kind, 7, false);
            assert!(session.finish_steps(&mut losses));
        }
        assert_eq!(snapshot(&session), snapshot(&want), "the step after");
    }
}

/// The loss of a step is the weighted sum of those of its micro-batches, which draw random numbers of their own.
#[test]
fn a_step_has_the_weighted_loss_of_its_micro_batches() {
    let network = network(1);
    let (mut session, mut plain) = (session(&network), session(&network));
    let mut want = 0.0;
    for (half, weight) in [(0, 0.75), (1, 0.25)] {
        write(&mut plain, &network, half, false);
        plain.run(PLAN).unwrap();
        want += weight * plain.loss(PLAN).unwrap();
    }
    start_accumulated(&mut session, &network, adamw, 0, false);
    let mut losses = Vec::new();
    assert!(session.finish_steps(&mut losses));
    assert_eq!((losses, session.training_runs()), (vec![want], 2));
}

/// A gradient of 1e25, whose square f32 does not hold, is clipped.
#[test]
fn clipping_saves_a_step_whose_gradients_are_large() {
    let (mut session, _) = one_weight(1e25, 1.0);
    let step = Step { clip_norm: Some(1.0), ..adamw(1e-2) };
    session.start_step(PLAN, &step).unwrap();
    assert!(session.finish_steps(&mut Vec::new()));
    assert_eq!(session.gradient_norm().unwrap(), f64::from(1e25f32));
    assert!((session.tensor("w").unwrap()[0] - 0.9899).abs() < 1e-4);
}

/// Two gradients of 3e38, which have a norm of 4.2e38.
#[test]
fn a_norm_that_is_infinite_fails_the_step() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 2]).unwrap();
    let target = graph.input("target", [1, 1]).unwrap();
    let w = graph.parameter("w", [2, 1], Init::Constant(1e-38)).unwrap();
    let y = graph.linear(x, w, None).unwrap();
    let loss = graph.l1_loss(y, target).unwrap();
    let mut session = Session::new(Cpu::new(1).unwrap(), vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    session.initialize(0);
    session.write_input(PLAN, x, &[3e38; 2]).unwrap();
    session.write_input(PLAN, target, &[0.0]).unwrap();
    let (step, mut losses) = (Step { clip_norm: Some(1.0), ..sgd(1e-2) }, Vec::new());
    session.start_step(PLAN, &step).unwrap();
    assert!(!session.finish_steps(&mut losses) && losses[0].is_finite());
    assert_eq!(session.tensor("w").unwrap(), [1e-38; 2]);
    assert_eq!(session.find_non_finite(PLAN).unwrap(), Some(NonFinite::Norm));
    session.write_input(PLAN, x, &[2e38; 2]).unwrap();
    session.start_step(PLAN, &step).unwrap();
    assert!(session.finish_steps(&mut losses));
}

#[test]
fn steps_from_before_a_new_beginning_are_forgotten() {
    let network = network(1);
    let mut session = session(&network);
    for is_bad in [true, false] {
        write(&mut session, &network, 0, is_bad);
        session.start_step(PLAN, &adamw(lr(0))).unwrap();
    }
    session.initialize(1);
    let mut losses = Vec::new();
    assert!(session.finish_steps(&mut losses) && losses.is_empty());
    assert_eq!(session.optimizer_step(), 0);
    // Their results are not mistaken for those of later steps.
    write(&mut session, &network, 0, false);
    session.start_step(PLAN, &adamw(lr(0))).unwrap();
    assert!(session.finish_steps(&mut losses));
    let (want, want_losses) = one_by_one(&network, adamw, 1);
    assert_eq!(losses, want_losses);
    assert_eq!(snapshot(&session), snapshot(&want));
}

/// The loss of a weight of 0 is finite, and its gradient, the product of two large numbers, is not.
#[test]
fn a_gradient_alone_can_fail_a_step() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 1]).unwrap();
    let target = graph.input("target", [1, 1]).unwrap();
    let w = graph.parameter("w", [1, 1], Init::Zeros).unwrap();
    let scaled = graph.linear(x, w, None).unwrap();
    let scaled = graph.add(scaled, scaled, 1e10).unwrap();
    let loss = graph.l1_loss(scaled, target).unwrap();
    let mut session = Session::new(Reference, vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    session.initialize(0);
    session.write_input(PLAN, x, &[1e300]).unwrap();
    session.write_input(PLAN, target, &[1.0]).unwrap();
    let mut losses = Vec::new();
    session.start_step(PLAN, &adamw(1e-2)).unwrap();
    assert!(!session.finish_steps(&mut losses));
    assert_eq!(losses, [1.0]);
    assert_eq!(session.tensor("w").unwrap(), [0.0]);
}

/// `loss = |x w|` on the CPU, in f32.
fn one_weight(x: f32, w: f32) -> (Session<Cpu>, NodeId) {
    let mut graph = Graph::new();
    let node = graph.input("x", [1, 1]).unwrap();
    let target = graph.input("target", [1, 1]).unwrap();
    let weight = graph.parameter("w", [1, 1], Init::Zeros).unwrap();
    let y = graph.linear(node, weight, None).unwrap();
    let loss = graph.l1_loss(y, target).unwrap();
    let mut session = Session::new(Cpu::new(1).unwrap(), vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    session.initialize(0);
    session.set_tensor("w", &[w]).unwrap();
    session.write_input(PLAN, node, &[x]).unwrap();
    session.write_input(PLAN, target, &[0.0]).unwrap();
    (session, node)
}

/// The momentum buffer, or the weight, would be more than f32 holds.
#[test]
fn a_step_of_sgd_that_would_leave_infinity_is_not_taken() {
    for (x, w, lr, buffer) in [(1e38, 1.0, 1e-2, 3e38), (100.0, 1.0, 1e37, 0.0), (1e20, 1.0, 1e20, 0.0)] {
        let (mut session, node) = one_weight(x, w);
        let step = |lr: f64| Step::new(Sgd { momentum: 0.9, ..Sgd::default() }, lr);
        session.set_optimizer_state("w", [&[buffer], &[0.0]]).unwrap();
        let mut losses = Vec::new();
        session.start_step(PLAN, &step(lr)).unwrap();
        assert!(!session.finish_steps(&mut losses), "{x} {w}");
        assert!(losses[0].is_finite());
        assert_eq!(session.tensor("w").unwrap(), [w]);
        assert_eq!(session.optimizer_state("w").unwrap(), [[buffer], [0.0]]);
        let updated = NonFinite::Updated { name: "w".to_owned() };
        assert_eq!(session.find_non_finite(PLAN).unwrap(), Some(updated));
        session.set_tensor("w", &[1.0]).unwrap();
        session.write_input(PLAN, node, &[1.0]).unwrap();
        session.start_step(PLAN, &step(1e-2)).unwrap();
        assert!(session.finish_steps(&mut losses));
        assert_eq!(session.find_non_finite(PLAN).unwrap(), None);
    }
}

/// Loss and gradient are finite, but the optimizer's second moment, or the weight, would not be.
#[test]
fn an_optimizer_step_that_would_leave_infinity_is_not_taken() {
    for (x, w, lr) in [(1e25, 1.0, 1e-2), (1.0, -3e38, 1e38)] {
        let (mut session, node) = one_weight(x, w);
        let mut losses = Vec::new();
        session.start_step(PLAN, &adamw(lr)).unwrap();
        assert!(!session.finish_steps(&mut losses), "{x} {w}");
        assert!(losses[0].is_finite());
        assert_eq!(session.tensor("w").unwrap(), [w]);
        assert_eq!(session.optimizer_state("w").unwrap(), [[0.0], [0.0]]);
        assert_eq!(session.optimizer_step(), 0);
        let updated = NonFinite::Updated { name: "w".to_owned() };
        assert_eq!(session.find_non_finite(PLAN).unwrap(), Some(updated));
        // With other numbers it goes on.
        session.set_tensor("w", &[1.0]).unwrap();
        session.write_input(PLAN, node, &[1.0]).unwrap();
        session.start_step(PLAN, &adamw(1e-2)).unwrap();
        assert!(session.finish_steps(&mut losses));
        assert_eq!(session.find_non_finite(PLAN).unwrap(), None);
    }
}

/// The batch's variance is more than f32 holds, and what is normalized with it is finite.
#[test]
fn a_running_statistic_that_would_become_infinite_fails_the_step() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 1]).unwrap();
    let target = graph.input("target", [2, 1]).unwrap();
    let gamma = graph.parameter("gamma", [1], Init::Ones).unwrap();
    let beta = graph.parameter("beta", [1], Init::Zeros).unwrap();
    let running_mean = graph.state("running_mean", [1], Init::Zeros).unwrap();
    let running_var = graph.state("running_var", [1], Init::Ones).unwrap();
    let nodes = BatchNormNodes { gamma, beta, running_mean, running_var };
    let y = graph.batch_norm(x, nodes, BatchNorm::default()).unwrap();
    let loss = graph.l1_loss(y, target).unwrap();
    let mut session = Session::new(Cpu::new(1).unwrap(), vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    session.initialize(0);
    session.write_input(PLAN, target, &[0.0, 0.0]).unwrap();
    let mut losses = Vec::new();
    session.write_input(PLAN, x, &[1e25, -1e25]).unwrap();
    session.start_step(PLAN, &adamw(1e-2)).unwrap();
    assert!(!session.finish_steps(&mut losses));
    assert!(losses[0].is_finite(), "{losses:?}");
    assert_eq!(session.tensor("running_mean").unwrap(), [0.0]);
    assert_eq!(session.tensor("running_var").unwrap(), [1.0]);
    let updated = NonFinite::Updated { name: "running_var".to_owned() };
    assert_eq!(session.find_non_finite(PLAN).unwrap(), Some(updated));
    session.write_input(PLAN, x, &[1.0, -1.0]).unwrap();
    session.start_step(PLAN, &adamw(1e-2)).unwrap();
    assert!(session.finish_steps(&mut losses));
}

#[test]
fn what_cannot_be_started_is_refused_and_changes_nothing() {
    let network = network(1);
    let mut session = session(&network);
    let before = snapshot(&session);
    let error = session.start_step(PLAN, &adamw(1e-2)).unwrap_err();
    assert_eq!(error.to_string(), "input `x` of plan 0 has not been written");
    let error = session.start_step(PlanId(1), &adamw(1e-2)).unwrap_err();
    assert_eq!(error.to_string(), "plan 1 takes no training steps, as it is not made by `Plan::training`");
    assert!(session.start_step(PlanId(2), &adamw(1e-2)).is_err());
    assert_eq!(snapshot(&session), before);

    write(&mut session, &network, 0, false);
    for _ in 0..3 {
        session.start_step(PLAN, &adamw(1e-2)).unwrap();
    }
    let error = session.start_step(PLAN, &adamw(1e-2)).unwrap_err();
    assert_eq!(error.to_string(), "3 training steps have been started, the most there can be: finish them first");
    assert!(session.finish_steps(&mut Vec::new()));
    assert_eq!(session.optimizer_step(), 3);
}
