//! What sessions compute: the same bits for all memory options, statistics, shared parameters, the optimizer.

use crate::common::{Network, network, norm_nodes, numbers};
use crate::device::{Device, WORKSPACE_LEN};
use crate::distributed::fused;
use engine::*;

const PLAN: PlanId = PlanId(0);

/// Writes numbers that look random to both inputs of a network, different ones for every batch size.
fn write_inputs(session: &mut Session<Reference>, plan: PlanId, network: &Network) {
    for (seed, input) in [(1, network.x), (2, network.target)] {
        let len = network.graph.shape(input).len();
        session.write_input(plan, input, &numbers(len, seed * len as u64)).unwrap();
    }
}

/// Every parameter, state and gradient, and the optimizer state.
fn everything(session: &Session<Reference>) -> Vec<f64> {
    let mut all = Vec::new();
    for tensor in session.tensors() {
        all.extend(session.tensor(&tensor.name).unwrap());
        if tensor.trained {
            all.extend(session.gradient(&tensor.name).unwrap());
            all.extend(session.optimizer_state(&tensor.name).unwrap().concat());
        }
    }
    all
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The losses of some training steps, and all that the session holds after them.
fn train(network: &Network, options: &PlanOptions) -> (Vec<f64>, Vec<f64>) {
    let plan = Plan::training_with(&network.graph, network.loss, options).unwrap();
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    session.initialize(7);
    write_inputs(&mut session, PLAN, network);
    let mut losses = Vec::new();
    for _ in 0..3 {
        session.run(PLAN).unwrap();
        losses.push(session.loss(PLAN).unwrap());
        session.update(&Step::new(AdamW::default(), 1e-2)).unwrap();
    }
    (losses, everything(&session))
}

#[test]
fn memory_options_change_no_bit() {
    let network = network(3);
    let base = PlanOptions { reuse: false, recompute: false, poison: false, ..PlanOptions::default() };
    let (losses, all) = train(&network, &base);
    assert!(losses[2] < losses[0] && losses.iter().chain(&all).all(|x| x.is_finite()));
    for reuse in [false, true] {
        for recompute in [false, true] {
            for poison in [false, true] {
                for keep in [vec![], vec![network.output]] {
                    let options = PlanOptions { reuse, recompute, poison, keep, ..PlanOptions::default() };
                    let (other_losses, other) = train(&network, &options);
                    assert_eq!(bits(&other_losses), bits(&losses), "{options:?}");
                    assert_eq!(bits(&other), bits(&all), "{options:?}");
                }
            }
        }
    }
}

#[test]
fn kept_nodes_can_be_read_after_training() {
    let network = network(1);
    let options = PlanOptions { keep: vec![network.output], ..PlanOptions::default() };
    let training = Plan::training_with(&network.graph, network.loss, &options).unwrap();
    let batch = Plan::inference(&network.graph, &[network.output], Statistics::Batch).unwrap();
    let mut session = Session::new(Reference, vec![training, batch]).unwrap();
    session.initialize(0);
    write_inputs(&mut session, PLAN, &network);
    session.run(PLAN).unwrap();
    let mut kept = vec![0.0; 36];
    session.read(PLAN, network.output, &mut kept).unwrap();
    session.write_input(PlanId(1), network.x, &numbers(60, 60)).unwrap();
    session.run(PlanId(1)).unwrap();
    let mut output = vec![0.0; 36];
    session.read(PlanId(1), network.output, &mut output).unwrap();
    assert_eq!(kept, output, "training normalizes with the statistics of the batch");
    let mut input = vec![0.0; 60];
    session.read(PLAN, network.x, &mut input).unwrap();
    assert_eq!(input, numbers(60, 60));
}

#[test]
fn the_workspace_is_that_of_the_neediest_pass() {
    let network = network(1);
    let plan = Plan::training(&network.graph, network.loss).unwrap();
    assert_eq!(plan.memory(&Reference).workspace, 0);
    assert_eq!(plan.memory(&Device).workspace, 8 * WORKSPACE_LEN);
    let report = plan.memory(&Device);
    assert_eq!(report.total() - report.workspace, plan.memory(&Reference).total());
    let total = format!("total {:>20.2} MiB", report.total() as f64 / f64::from(1 << 20));
    assert!(report.to_string().ends_with(&total), "{report}");
}

/// Two rows of one channel, 1 and 3: mean 2, variance 1, unbiased 2.
#[test]
fn statistics_of_training_and_inference() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 1]).unwrap();
    let nodes = norm_nodes(&mut graph, "bn", 1);
    let y = graph.batch_norm(x, nodes, BatchNorm { eps: 1e-12, momentum: 0.1 }).unwrap();
    let loss = graph.mse_loss(y, x).unwrap();
    let options = PlanOptions { keep: vec![y], ..PlanOptions::default() };
    let plans = vec![
        Plan::training_with(&graph, loss, &options).unwrap(),
        Plan::inference(&graph, &[y], Statistics::Batch).unwrap(),
        Plan::inference(&graph, &[y], Statistics::Running).unwrap(),
    ];
    let mut session = Session::new(Reference, plans).unwrap();
    session.initialize(0);
    let run = |session: &mut Session<Reference>, plan: PlanId| {
        session.write_input(plan, x, &[1.0, 3.0]).unwrap();
        session.run(plan).unwrap();
        let mut values = [0.0; 2];
        session.read(plan, y, &mut values).unwrap();
        let state = ["bn.running_mean", "bn.running_var"].map(|name| session.tensor(name).unwrap()[0]);
        (values, state)
    };
    let close = |a: [f64; 2], b: [f64; 2]| (0..2).all(|i| (a[i] - b[i]).abs() < 1e-9);
    let (values, state) = run(&mut session, PlanId(2));
    assert!(close(values, [1.0, 3.0]) && state == [0.0, 1.0], "{values:?} {state:?}");
    let (values, state) = run(&mut session, PlanId(1));
    assert!(close(values, [-1.0, 1.0]) && state == [0.0, 1.0], "{values:?} {state:?}");
    let (values, state) = run(&mut session, PlanId(0));
    assert!(close(values, [-1.0, 1.0]) && close(state, [0.2, 1.1]), "{values:?} {state:?}");
    let (values, _) = run(&mut session, PlanId(2));
    let want = [1.0, 3.0].map(|x| (x - 0.2) / 1.1f64.sqrt());
    assert!(close(values, want), "{values:?}");
}

#[test]
fn plans_of_different_batch_size_share_parameters_and_memory() {
    let (large, small) = (network(4), network(1));
    let plans = vec![
        Plan::training(&large.graph, large.loss).unwrap(),
        Plan::training(&small.graph, small.loss).unwrap(),
        Plan::inference(&small.graph, &[small.loss], Statistics::Batch).unwrap(),
    ];
    let sizes: Vec<MemoryReport> = plans.iter().map(|plan| plan.memory(&Reference)).collect();
    let mut session = Session::new(Reference, plans).unwrap();
    let memory = session.memory();
    assert_eq!(memory.arena, sizes[0].arena);
    assert_eq!(memory.parameters, sizes[1].parameters);
    assert_eq!(memory.inputs, sizes.iter().map(|size| size.inputs).sum::<usize>());
    session.initialize(0);
    for (plan, network) in [(PlanId(0), &large), (PlanId(1), &small), (PlanId(2), &small)] {
        write_inputs(&mut session, plan, network);
    }
    session.run(PlanId(0)).unwrap();
    session.update(&Step::new(AdamW::default(), 1e-2)).unwrap();
    let loss = session.loss(PlanId(0)).unwrap();
    // With seed 0, the first run of training draws what inference does.
    session.set_training_runs(0);
    session.run(PlanId(1)).unwrap();
    session.run(PlanId(2)).unwrap();
    assert_eq!(session.loss(PlanId(0)).unwrap(), loss, "a loss stays when other plans run");
    assert_eq!(
        session.loss(PlanId(1)).unwrap(),
        session.loss(PlanId(2)).unwrap(),
        "both see the parameters after the step"
    );

    let values: Vec<(String, Vec<f64>)> =
        session.tensors().iter().map(|t| (t.name.clone(), session.tensor(&t.name).unwrap())).collect();
    for (plan, network) in [(PlanId(0), &large), (PlanId(1), &small)] {
        let alone = Plan::training(&network.graph, network.loss).unwrap();
        let mut alone = Session::new(Reference, vec![alone]).unwrap();
        for (name, values) in &values {
            alone.set_tensor(name, values).unwrap();
        }
        write_inputs(&mut alone, PLAN, network);
        alone.run(PLAN).unwrap();
        session.set_training_runs(0);
        session.run(plan).unwrap();
        assert_eq!(alone.loss(PLAN).unwrap(), session.loss(plan).unwrap());
        assert_eq!(alone.gradient("shared.weight").unwrap(), session.gradient("shared.weight").unwrap());
    }
}

/// `loss = mse(x, target)` of one parameter, 2, with target 1: gradient `2 (x - 1)`.
#[test]
fn adamw_follows_its_equations() {
    let mut graph = Graph::new();
    let x = graph.parameter("x", [1], Init::Constant(2.0)).unwrap();
    let target = graph.input("target", [1]).unwrap();
    let loss = graph.mse_loss(x, target).unwrap();
    let mut session = Session::new(Reference, vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    session.initialize(0);
    session.write_input(PLAN, target, &[1.0]).unwrap();
    let params = AdamW { beta1: 0.5, beta2: 0.75, eps: 1e-30, weight_decay: 0.1 };
    let mut step = |lr: f64| {
        session.run(PLAN).unwrap();
        session.update(&Step::new(params, lr)).unwrap();
        let [m, v] = session.optimizer_state("x").unwrap();
        (session.loss(PLAN).unwrap(), session.tensor("x").unwrap()[0], m[0], v[0], session.optimizer_step())
    };
    // Gradient 2, m = 0.5 * 2, v = 0.25 * 4, corrected 2 and 4: x = 2 (1 - 0.05) - 0.5 * 2 / 2
    assert_eq!(step(0.5), (1.0, 1.4, 1.0, 1.0, 1));
    // Gradient 0.8, m = 0.5 * 1 + 0.5 * 0.8, v = 0.75 * 1 + 0.25 * 0.64, corrected by 0.75 and 0.4375
    let (loss, x, m, v, steps) = step(0.2);
    let want = 1.4 * (1.0 - 0.02) - 0.2 * (0.9 / 0.75) / (0.91f64 / 0.4375).sqrt();
    let close = |a: f64, b: f64| (a - b).abs() < 1e-15;
    assert!(close(loss, 0.16) && close(m, 0.9) && close(v, 0.91) && close(x, want) && steps == 2, "{loss} {x} {m} {v}");

    session.set_optimizer_state("x", [&[0.25], &[0.5]]).unwrap();
    session.set_optimizer_step(41);
    assert_eq!(session.optimizer_state("x").unwrap(), [vec![0.25], vec![0.5]]);
    session.run(PLAN).unwrap();
    session.update(&Step::new(params, 0.0)).unwrap();
    assert_eq!(session.optimizer_step(), 42);
    session.initialize(0);
    assert_eq!(session.optimizer_state("x").unwrap(), [vec![0.0], vec![0.0]]);
    assert_eq!((session.optimizer_step(), session.tensor("x").unwrap()), (0, vec![2.0]));
}

#[test]
fn a_parameter_without_influence_has_gradient_0_whatever_ran_before() {
    let mut graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.parameter(name, [3], Init::Ones).unwrap());
    let target = graph.input("target", [3]).unwrap();
    let [loss_a, loss_b] = [a, b].map(|x| graph.mse_loss(x, target).unwrap());
    let plans = [loss_a, loss_b].map(|loss| Plan::training(&graph, loss).unwrap());
    let mut session = Session::new(Reference, plans.into()).unwrap();
    session.initialize(0);
    for plan in [PlanId(0), PlanId(1)] {
        session.write_input(plan, target, &[0.0; 3]).unwrap();
        session.run(plan).unwrap();
    }
    assert_eq!(session.gradient("a").unwrap(), [0.0; 3]);
    assert_eq!(session.gradient("b").unwrap(), [2.0 / 3.0; 3]);
}

#[test]
fn any_scalar_is_a_loss() {
    let mut graph = Graph::new();
    let w = graph.parameter("w", [1], Init::Constant(0.5)).unwrap();
    let doubled = graph.add(w, w, 1.0).unwrap();
    let y = graph.activation(doubled, Activation::Tanh).unwrap();
    let [first, second] = [y, w].map(|loss| Plan::training(&graph, loss).unwrap());
    let mut session = Session::new(Reference, vec![first, second]).unwrap();
    session.initialize(0);
    session.run(PlanId(0)).unwrap();
    assert_eq!(session.loss(PlanId(0)).unwrap(), 1f64.tanh());
    let want = 2.0 * (1.0 - 1f64.tanh().powi(2));
    assert!((session.gradient("w").unwrap()[0] - want).abs() < 1e-15);
    session.run(PlanId(1)).unwrap();
    assert_eq!((session.loss(PlanId(1)).unwrap(), session.gradient("w").unwrap()), (0.5, vec![1.0]));
}

#[test]
fn a_cotangent_weights_the_output() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2]).unwrap();
    let y = graph.add(x, x, 2.0).unwrap();
    let plan = Plan::gradients(&graph, y, true, &PlanOptions::default()).unwrap();
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    session.write_input(PLAN, x, &[1.0, 2.0]).unwrap();
    assert_eq!(
        session.run(PLAN).err().unwrap().to_string(),
        format!("input `cotangent of {}` of plan 0 has not been written", graph.name(y))
    );
    let mut gradient = [0.0; 2];
    for cotangent in [[1.0, -1.0], [0.5, 4.0]] {
        session.write_cotangent(PLAN, &cotangent).unwrap();
        for _ in 0..2 {
            session.run(PLAN).unwrap();
            session.read_gradient(PLAN, x, &mut gradient).unwrap();
            assert_eq!(gradient, cotangent.map(|c| 3.0 * c));
        }
    }
}

#[test]
fn a_cotangent_is_not_changed_by_the_run() {
    // The gradient of y is also that of a, and gets a second contribution when nothing else shares it.
    let mut graph = Graph::new();
    let x = graph.input("x", [1]).unwrap();
    let a = graph.activation(x, Activation::Tanh).unwrap();
    let f = graph.activation(a, Activation::Gelu).unwrap();
    let f = graph.activation(f, Activation::Tanh).unwrap();
    let y = graph.add(a, f, 1.0).unwrap();
    let plan = Plan::gradients(&graph, y, true, &PlanOptions::default()).unwrap();
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    session.write_input(PLAN, x, &[0.3]).unwrap();
    session.write_cotangent(PLAN, &[1.0]).unwrap();
    let mut gradient = || {
        session.run(PLAN).unwrap();
        let mut gradient = [0.0];
        session.read_gradient(PLAN, x, &mut gradient).unwrap();
        gradient
    };
    assert_eq!(gradient(), gradient());
}

/// The slopes that two RReLU nodes draw; their input is -1.
fn drawn(session: &mut Session<Cpu>, plan: PlanId, nodes: [NodeId; 2]) -> [Vec<f32>; 2] {
    session.run(plan).unwrap();
    nodes.map(|node| {
        let mut values = vec![0.0; 300];
        session.read(plan, node, &mut values).unwrap();
        values.into_iter().map(|y| -y).collect()
    })
}

#[test]
fn random_slopes_follow_from_seed_step_node_and_element() {
    let mut graph = Graph::new();
    let x = graph.parameter("x", [300], Init::Constant(-1.0)).unwrap();
    let nodes = [graph.rrelu(x).unwrap(), graph.rrelu(x).unwrap()];
    let sum = graph.add(nodes[0], nodes[1], 1.0).unwrap();
    let options = PlanOptions { keep: nodes.to_vec(), ..PlanOptions::default() };
    let inference = |statistics| Plan::inference_with(&graph, &[sum], statistics, &options).unwrap();
    let training = Plan::gradients(&graph, sum, false, &options).unwrap();
    let plans = vec![training, inference(Statistics::Running), inference(Statistics::Batch)];
    let mut session = Session::new(Cpu::new(1).unwrap(), plans).unwrap();
    let [training, running, batch] = [0, 1, 2].map(PlanId);
    session.write_cotangent(training, &[1.0; 300]).unwrap();

    session.initialize(7);
    let [first, second] = drawn(&mut session, training, nodes);
    assert!(first.iter().all(|slope| (0.125..1.0 / 3.0).contains(slope)));
    let distinct = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a != b);
    assert!(distinct(&first, &second) && distinct(&first[1..], &first[..299]));
    // The gradient uses the same slopes.
    let gradient = session.gradient("x").unwrap();
    assert!((0..300).all(|i| gradient[i] == first[i] + second[i]));

    assert_eq!(drawn(&mut session, training, nodes)[0], first, "a plan of gradients draws the slopes of the next run");
    session.set_optimizer_step(1);
    assert!(distinct(&drawn(&mut session, training, nodes)[0], &first));
    session.set_training_runs(0);
    assert_eq!(drawn(&mut session, training, nodes)[0], first);
    let evaluated = drawn(&mut session, batch, nodes);
    session.initialize(8);
    assert!(distinct(&drawn(&mut session, training, nodes)[0], &first));

    assert!(distinct(&evaluated[0], &first) && distinct(&evaluated[0], &evaluated[1]));
    assert_eq!(drawn(&mut session, batch, nodes), evaluated, "inference knows neither seed nor step");
    assert_eq!(drawn(&mut session, running, nodes)[0], [11.0 / 48.0; 300]);
}

/// The slopes of one run and the next differ, whoever changes the parameters between them.
#[test]
fn random_slopes_do_not_depend_on_an_optimizer() {
    let mut graph = Graph::new();
    let x = graph.parameter("x", [1, 300], Init::Constant(-1.0)).unwrap();
    let y = graph.rrelu(x).unwrap();
    let target = graph.input("target", [1, 300]).unwrap();
    let loss = graph.l1_loss(y, target).unwrap();
    let options = PlanOptions { keep: vec![y], ..PlanOptions::default() };
    let plan = Plan::training_with(&graph, loss, &options).unwrap();
    let mut session = Session::new(Cpu::new(1).unwrap(), vec![plan]).unwrap();
    session.initialize(7);
    session.write_input(PLAN, target, &[0.0; 300]).unwrap();
    let mut slopes = |runs: u64, timed: bool| {
        assert_eq!(session.training_runs(), runs);
        match timed {
            true => drop(session.run_timed(PLAN).unwrap()),
            false => session.run(PLAN).unwrap(),
        }
        let mut values = vec![0.0; 300];
        session.read(PLAN, y, &mut values).unwrap();
        values
    };
    let all = [slopes(0, false), slopes(1, true), slopes(2, false)];
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        assert!(all[a].iter().zip(&all[b]).all(|(a, b)| a != b), "runs {a} and {b}");
    }
    // A step of the optimizer is not a run: run 3 draws the same with it and without it.
    let mut next = |step: bool| {
        session.initialize(7);
        session.run(PLAN).unwrap();
        if step {
            session.update(&Step::new(AdamW::default(), 0.0)).unwrap();
        }
        session.run(PLAN).unwrap();
        let mut values = vec![0.0; 300];
        session.read(PLAN, y, &mut values).unwrap();
        values
    };
    assert_eq!([next(true), next(false)], [all[1].clone(), all[1].clone()]);
}

#[test]
fn profiles_have_a_line_for_every_step() {
    let network = network(2);
    let plan = Plan::training(&network.graph, network.loss).unwrap();
    let steps = plan.len();
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    session.initialize(0);
    write_inputs(&mut session, PLAN, &network);
    session.run(PLAN).unwrap();
    let (loss, gradient) = (session.loss(PLAN).unwrap(), session.gradient("down.weight").unwrap());
    session.set_training_runs(0);
    let times = session.run_timed(PLAN).unwrap();
    assert_eq!((session.loss(PLAN).unwrap(), session.gradient("down.weight").unwrap()), (loss, gradient));
    assert_eq!(times.len(), steps);
    assert!(times.iter().enumerate().all(|(i, time)| time.step == i && time.seconds >= 0.0 && time.bytes > 0));
    let stem = network.graph.shape(network.x).len() / 2 * 4;
    let forward = times.iter().find(|time| time.op == "conv2d.forward").unwrap();
    assert_eq!((forward.phase, forward.flops), (Phase::Forward, 2 * stem * 9 * 2));
    // x and y in f64, the weight and the bias
    assert_eq!(forward.bytes, 8 * (stem / 2 + stem + 9 * 2 * 4 + 4));
    assert_eq!(times.iter().find(|time| time.node == "output").unwrap().op, "activation.forward");
}

#[test]
fn initial_values_depend_on_the_seed_alone() {
    let values = |network: Network, seed: u64| {
        let plan = Plan::training(&network.graph, network.loss).unwrap();
        let mut session = Session::new(Reference, vec![plan]).unwrap();
        session.initialize(seed);
        let names: Vec<String> = session.tensors().iter().map(|tensor| tensor.name.clone()).collect();
        names.iter().map(|name| session.tensor(name).unwrap()).collect::<Vec<_>>()
    };
    let first = values(network(1), 5);
    assert_eq!(first, values(network(3), 5));
    let other = values(network(1), 6);
    for (i, tensor) in network(1).graph.tensors().iter().enumerate() {
        match tensor.init {
            Init::Uniform { bound } => {
                assert!(first[i] != other[i] && first[i].iter().all(|x| x.abs() <= bound));
            }
            _ => assert_eq!(first[i], other[i], "{tensor}"),
        }
    }
    let values_of = |name: &str| {
        let i = network(1).graph.tensors().iter().position(|tensor| tensor.name == name);
        first[i.unwrap()].clone()
    };
    // Two tensors of equal shape and bound
    assert_ne!(values_of("stem.conv.weight"), values_of("shared.weight"), "tensors have streams of their own");
}

#[test]
fn a_session_can_be_entered_and_its_graph_asked() {
    let network = network(1);
    assert_eq!(network.graph.node("output"), Some(network.output));
    assert_eq!(network.graph.node("nothing"), None);
    let plan = Plan::training(&network.graph, network.loss).unwrap();
    assert!(!plan.is_empty());
    let mut session = Session::new(Reference, vec![plan]).unwrap();
    session.initialize(0);
    write_inputs(&mut session, PLAN, &network);
    let loss = session.enter(|session| {
        session.run(PLAN).unwrap();
        session.loss(PLAN).unwrap()
    });
    assert_eq!(loss, session.loss(PLAN).unwrap());
    assert_eq!(session.backend().name(), "reference");
    assert_eq!(session.plan(PLAN).unwrap().len(), session.run_timed(PLAN).unwrap().len());
}

/// Whatever is frozen, the others have the gradients that they would have without, and take their steps.
#[test]
fn frozen_parameters_leave_the_other_gradients_as_they_are() {
    let plain = || {
        let Network { graph, loss, .. } = network(2);
        (graph, loss)
    };
    check_frozen(&Reference, &plain, 0.0);
    check_frozen(&Reference, &|| fused(2), 0.0);
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2).unwrap();
        check_frozen(&cpu, &plain, 0.0);
        // A fused layer takes the sums of a normalization from the weight's gradient, if there is one.
        check_frozen(&cpu, &|| fused(2), 1e-5);
    }
}

/// A session of one plan of a graph with inputs `x` and `target`, which have numbers that look random.
fn ready<B: Backend + Clone>(backend: &B, graph: &Graph, plan: Plan) -> Session<B> {
    let mut session = Session::new(backend.clone(), vec![plan]).unwrap();
    session.initialize(7);
    for input in ["x", "target"].map(|name| graph.node(name).unwrap()) {
        let len = graph.shape(input).len();
        let values: Vec<B::Element> = numbers(len, len as u64).into_iter().map(B::Element::from_f64).collect();
        session.write_input(PLAN, input, &values).unwrap();
    }
    session
}

/// Gradients differ by at most `tolerance` times the largest of a parameter; by no bit if it is 0.
fn check_frozen<B: Backend + Clone>(backend: &B, record: &dyn Fn() -> (Graph, NodeId), tolerance: f64) {
    // A session after a run, and the steps of its plan
    let run = |graph: &Graph, loss: NodeId| {
        let plan = Plan::training(graph, loss).unwrap();
        let mut session = ready(backend, graph, plan);
        // A pass may do what several do if something is frozen.
        let passes = |op: &str| match op {
            "conv_epilogue.forward" => 2,
            "conv_epilogue.backward" => 4,
            _ => 1,
        };
        let times = session.run_timed(PLAN).unwrap();
        (session, times.iter().map(|time| passes(time.op)).sum::<usize>())
    };
    let bits = |values: Vec<B::Element>| values.into_iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
    let (free, loss) = record();
    let (want, most_steps) = run(&free, loss);
    let names: Vec<&str> = free.tensors().iter().filter(|info| info.trained).map(|info| &*info.name).collect();
    // Each alone, and all before each
    for frozen in (0..names.len()).flat_map(|i| [i..i + 1, 0..i]) {
        let (mut graph, loss) = record();
        for name in &names[frozen.clone()] {
            graph.set_group(graph.node(name).unwrap(), Group::FROZEN).unwrap();
        }
        let (mut session, steps) = run(&graph, loss);
        assert!(steps <= most_steps);
        for (i, name) in names.iter().enumerate() {
            match (frozen.contains(&i), session.gradient(name)) {
                (true, gradient) => assert!(matches!(gradient, Err(Error::Frozen { .. }))),
                (false, gradient) => {
                    let [got, want] = [gradient, want.gradient(name)]
                        .map(|values| values.unwrap().into_iter().map(Element::to_f64).collect::<Vec<f64>>());
                    let largest = want.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
                    let is_close = |(got, want): (&f64, &f64)| {
                        got.to_bits() == want.to_bits() || (got - want).abs() <= tolerance * largest
                    };
                    let equal = got.iter().zip(&want).all(is_close);
                    assert!(equal, "`{name}` without {frozen:?} on {}: {got:?}, not {want:?}", backend.name());
                }
            }
        }
        let tensors =
            |session: &Session<B>| names.iter().map(|name| bits(session.tensor(name).unwrap())).collect::<Vec<_>>();
        let before = tensors(&session);
        session.update(&Step::new(AdamW::default(), 1e-2)).unwrap();
        for (i, (before, after)) in before.iter().zip(tensors(&session)).enumerate() {
            assert_eq!(*before == after, frozen.contains(&i), "`{}` without {frozen:?}", names[i]);
        }
    }
}

#[test]
fn gradients_of_a_network_with_frozen_parameters_are_checked() {
    let mut network = network(2);
    for name in ["stem.conv.weight", "block.bn.weight", "up.bias"] {
        network.graph.set_group(network.graph.node(name).unwrap(), Group::FROZEN).unwrap();
    }
    let options = GradcheckOptions { samples: Some(4), ..GradcheckOptions::default() };
    let report = gradcheck::check(&network.graph, network.loss, &options).unwrap();
    assert!(report.passed(), "{report}");
    assert!(
        !report.to_string().contains("stem.conv.weight") && report.to_string().contains("stem.conv.bias"),
        "{report}"
    );
}

#[test]
fn passes_of_fused_layers_can_run_one_after_another() {
    check_separate(&Reference, 0.0);
    for isa in Isa::available() {
        // The sums of a normalization are taken from `g`, and not from the weight's gradient.
        check_separate(&Cpu::with_isa(isa, 2).unwrap(), 1e-5);
    }
}

/// Gradients of the two ways differ by at most `tolerance` times the largest of a parameter; by no bit if it is 0.
fn check_separate<B: Backend + Clone>(backend: &B, tolerance: f64) {
    let (graph, loss) = fused(2);
    let plan = Plan::training(&graph, loss).unwrap();
    let run = |plan: Plan| {
        let mut session = ready(backend, &graph, plan);
        let ops: Vec<&str> = session.run_timed(PLAN).unwrap().iter().map(|time| time.op).collect();
        (session, ops)
    };
    let (want, together) = run(plan.clone());
    let (got, apart) = run(plan.fused(false).unwrap());
    let count = |ops: &[&str], op: &str| ops.iter().filter(|found| **found == op).count();
    let [forward, backward] = ["conv_epilogue.forward", "conv_epilogue.backward"].map(|op| count(&together, op));
    assert!(forward > 2 && backward > 1, "{together:?}");
    assert_eq!(apart.len(), together.len() + forward + 3 * backward, "{apart:?}");
    assert!(apart.iter().all(|op| !op.starts_with("conv_epilogue")), "{apart:?}");
    for info in graph.tensors().iter().filter(|info| info.trained) {
        let [want, got] = [&want, &got].map(|session| session.gradient(&info.name).unwrap());
        let largest = want.iter().fold(0.0, |largest: f64, x| largest.max(x.to_f64().abs()));
        for (want, got) in want.iter().zip(&got) {
            let apart = (want.to_f64() - got.to_f64()).abs();
            assert!(apart <= tolerance * largest, "{}: {want:?} and {got:?}", info.name);
        }
    }
}
