//! What plans contain: passes, what these set, add to and overwrite, and how much memory they take.

use super::place::{self, Lifetime};
use super::{Layout, Plan, PlanOptions};
use crate::emit::Action;
use crate::regions::{ARENA, GRADIENTS};
use crate::*;
use kernels::{Access, Call, Span};

/// Accesses of every step that writes the final gradient of a node, in order.
fn writes_of_gradient(plan: &Plan, node: NodeId) -> Vec<(&'static str, Access)> {
    let gradient = plan.place_of(plan.program.gradients[node.index()].expect("it has a gradient"));
    let writes = |action: &Action| {
        let operands = action.operands().into_iter();
        operands.filter(|(span, access)| *span == gradient && *access != Access::Read).collect::<Vec<_>>()
    };
    plan.actions()
        .flat_map(|(_, action)| writes(&action).into_iter().map(move |(_, access)| (action.name(), access)))
        .collect()
}

fn count(plan: &Plan, name: &str) -> usize {
    plan.actions().filter(|(_, action)| action.name() == name).count()
}

/// Nothing shares a place, so that places identify values.
fn no_reuse() -> PlanOptions {
    PlanOptions { reuse: false, ..PlanOptions::default() }
}

#[test]
fn the_first_contribution_to_a_gradient_is_set_and_the_others_are_added() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 4, 4, 1]).unwrap();
    let w = graph.parameter("w", [3, 3, 1, 2], Init::kaiming_uniform(9)).unwrap();
    let y = graph.conv2d(x, w, None, Conv2d::default()).unwrap();
    let [a, b, c] = [Activation::Gelu, Activation::Tanh, Activation::Silu].map(|f| graph.activation(y, f).unwrap());
    let sum = graph.add(a, b, 1.0).unwrap();
    let sum = graph.add(sum, c, 0.5).unwrap();
    let plan = Plan::gradients(&graph, sum, false, &no_reuse()).unwrap();
    let backward = "activation.backward";
    let want = [(backward, Access::Set), (backward, Access::Update), (backward, Access::Update)];
    assert_eq!(writes_of_gradient(&plan, y), want, "{plan}");
}

#[test]
fn the_gradient_of_a_parameter_used_twice_is_set_and_added_to_in_the_gradients_region() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 3]).unwrap();
    let w = graph.parameter("w", [3, 3], Init::kaiming_uniform(3)).unwrap();
    let y = graph.linear(x, w, None).unwrap();
    let y = graph.linear(y, w, None).unwrap();
    let plan = Plan::gradients(&graph, y, false, &no_reuse()).unwrap();
    let grad_weight = "conv2d.grad_weight";
    assert_eq!(writes_of_gradient(&plan, w), [(grad_weight, Access::Set), (grad_weight, Access::Update)], "{plan}");
    let place = plan.place_of(plan.program.gradients[w.index()].unwrap());
    assert_eq!(place, Span::new(GRADIENTS, 0, 9));
    // The input wants no gradient.
    assert_eq!(count(&plan, "conv2d.grad_input"), 1, "{plan}");
}

#[test]
fn the_gradient_of_a_sum_is_shared_not_copied() {
    let build = |weight: f64| {
        let mut graph = Graph::new();
        let [a, b] = ["a", "b"].map(|name| graph.parameter(name, [4], Init::Ones).unwrap());
        let [f, g] = [a, b].map(|x| graph.activation(x, Activation::Gelu).unwrap());
        let sum = graph.add(f, g, weight).unwrap();
        let y = graph.activation(sum, Activation::Tanh).unwrap();
        (Plan::gradients(&graph, y, false, &PlanOptions::default()).unwrap(), [f, g, sum])
    };
    let (plan, [f, g, sum]) = build(1.0);
    assert_eq!(count(&plan, "scale"), 0, "{plan}");
    let gradient = |node: NodeId| plan.program.gradients[node.index()];
    assert!(gradient(f) == gradient(sum) && gradient(g) == gradient(sum));
    let (plan, [f, g, sum]) = build(0.5);
    assert_eq!(count(&plan, "scale"), 1, "{plan}");
    let gradient = |node: NodeId| plan.program.gradients[node.index()];
    assert!(gradient(f) == gradient(sum) && gradient(g) != gradient(sum));
}

#[test]
fn a_shared_gradient_is_copied_before_another_contribution_is_added() {
    // For y = a + tanh(a), a shares the gradient of y until that of tanh is added to it, while tanh still reads it.
    let mut graph = Graph::new();
    let x = graph.parameter("x", [4], Init::Ones).unwrap();
    let a = graph.activation(x, Activation::Gelu).unwrap();
    let f = graph.activation(a, Activation::Tanh).unwrap();
    let y = graph.add(a, f, 1.0).unwrap();
    let plan = Plan::gradients(&graph, y, false, &no_reuse()).unwrap();
    assert_eq!(
        writes_of_gradient(&plan, a),
        [("scale", Access::Set), ("activation.backward", Access::Update)],
        "{plan}"
    );
    let cotangent = plan.place_of(plan.program.cotangent.unwrap());
    let written = plan.actions().any(|(_, action)| {
        action.operands().iter().any(|(span, access)| span.overlaps(&cotangent) && *access != Access::Read)
    });
    assert!(!written, "the caller's cotangent is not written\n{plan}");
}

#[test]
fn a_parameter_that_the_loss_does_not_depend_on_has_its_gradient_zeroed() {
    let mut graph = Graph::new();
    let x = graph.parameter("x", [3], Init::Ones).unwrap();
    graph.parameter("unused", [5], Init::Ones).unwrap();
    let target = graph.input("target", [3]).unwrap();
    let loss = graph.mse_loss(x, target).unwrap();
    let plan = Plan::training(&graph, loss).unwrap();
    let zeroed = plan.actions().find_map(|(_, action)| match action.call() {
        Some(Call::Fill(fill)) if fill.value == 0.0 => Some(fill.out),
        _ => None,
    });
    assert_eq!(zeroed, Some(Span::new(GRADIENTS, 16, 5)), "{plan}");
}

#[test]
fn element_wise_passes_write_in_place_where_their_input_dies() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 4, 4, 8]).unwrap();
    let w = graph.parameter("w", [1, 1, 8, 8], Init::Zeros).unwrap();
    let nodes = norm_nodes(&mut graph, "bn", 8);
    let y = graph.conv2d(x, w, None, Conv2d::default()).unwrap();
    let norm = graph.batch_norm(y, nodes, BatchNorm::default()).unwrap();
    let y = graph.activation(norm, Activation::Gelu).unwrap();
    let y = graph.add(x, y, 0.5).unwrap();
    let plan = Plan::inference(&graph, &[y], Statistics::Running).unwrap();
    assert_eq!(plan.placement.arena, 128, "one value at a time\n{plan}");
    let kept = PlanOptions { keep: vec![norm], ..PlanOptions::default() };
    let plan = Plan::inference_with(&graph, &[y], Statistics::Running, &kept).unwrap();
    assert_eq!(plan.placement.arena, 256, "the value that is kept is not overwritten\n{plan}");
    let plan = Plan::inference_with(&graph, &[y], Statistics::Running, &no_reuse()).unwrap();
    assert_eq!(plan.placement.arena, 3 * 128, "normalization and activation are one pass\n{plan}");
}

/// How many passes of a plan have each name, for those of normalizations, additions and activations.
fn joined_passes(plan: &Plan) -> String {
    let names = ["norm_act", "batch_norm", "add", "activation"];
    let mut counts = std::collections::BTreeMap::new();
    for step in plan.program.steps.iter().filter(|step| names.iter().any(|name| step.action.name().starts_with(name))) {
        let phase = if step.phase == Phase::Recompute { " again" } else { "" };
        *counts.entry(format!("{}{phase}", step.action.name())).or_insert(0) += 1;
    }
    counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// Two layers with a shortcut around them, which normalizes too if `projects`. The first normalized values are read by
/// something else too if `is_shared`.
fn block(f: Activation, weight: f64, projects: bool, is_shared: bool) -> (Graph, [NodeId; 2]) {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 4, 4, 3]).unwrap();
    let w = graph.parameter("w", [3, 3, 3, 3], Init::Ones).unwrap();
    let conv_norm = |graph: &mut Graph, x, name: &str| {
        let nodes = norm_nodes(graph, name, 3);
        let y = graph.conv2d(x, w, None, Conv2d { padding: [1; 2], ..Conv2d::default() }).unwrap();
        graph.batch_norm(y, nodes, BatchNorm::default()).unwrap()
    };
    let shortcut = if projects { conv_norm(&mut graph, x, "shortcut") } else { x };
    let first = conv_norm(&mut graph, x, "first");
    let y = graph.activation(first, f).unwrap();
    let y = conv_norm(&mut graph, y, "second");
    let mut y = graph.add(y, shortcut, weight).unwrap();
    if is_shared {
        y = graph.add(y, first, 1.0).unwrap();
    }
    let y = graph.activation(y, f).unwrap();
    let target = graph.input("target", [2, 4, 4, 3]).unwrap();
    let loss = graph.mse_loss(y, target).unwrap();
    (graph, [loss, first])
}

#[test]
fn a_normalization_and_the_activation_after_it_are_one_pass() {
    let passes = |f, weight, projects, is_shared| {
        let (graph, [loss, _]) = block(f, weight, projects, is_shared);
        joined_passes(&Plan::training(&graph, loss).unwrap())
    };
    let relu = Activation::Relu;
    // What the second convolution reads is computed again, as the output of a normalization is.
    assert_eq!(passes(relu, 1.0, false, false), "2 norm_act.backward, 2 norm_act.forward, 1 norm_act.forward again");
    assert_eq!(
        passes(relu, 1.0, true, false),
        "1 batch_norm.backward, 1 batch_norm.forward, 2 norm_act.backward, 2 norm_act.forward, 1 norm_act.forward again"
    );
    // The gradient of the sum has a weight on one side: that is not the one which is normalized.
    assert_eq!(passes(relu, 0.5, false, false), "2 norm_act.backward, 2 norm_act.forward, 1 norm_act.forward again");
    // The backward pass of GELU reads its input: that is stored, or computed again.
    assert_eq!(
        passes(Activation::Gelu, 1.0, false, false),
        "2 activation.forward, 1 add, 1 batch_norm.apply again, 2 batch_norm.forward, 2 norm_act.backward"
    );
    // The first normalized values have another reader, and their gradient another term. The second ones are not one of
    // the last two summands, but the gradient of a sum is that of all summands.
    assert_eq!(
        passes(relu, 1.0, false, true),
        "1 activation.backward, 2 activation.forward, 2 add, 1 batch_norm.backward, 2 batch_norm.forward, \
         1 norm_act.backward"
    );
    let (graph, [loss, first]) = block(relu, 1.0, false, false);
    let plan = |options| joined_passes(&Plan::training_with(&graph, loss, &options).unwrap());
    let keep = vec![first];
    assert_eq!(
        plan(PlanOptions { keep, ..PlanOptions::default() }),
        "1 activation.forward, 1 batch_norm.forward, 2 norm_act.backward, 1 norm_act.forward"
    );
    assert_eq!(
        plan(PlanOptions { fuse: false, ..PlanOptions::default() }),
        "2 activation.backward, 2 activation.forward, 1 add, 2 batch_norm.backward, 2 batch_norm.forward"
    );
    assert_eq!(
        plan(PlanOptions { recompute: false, ..PlanOptions::default() }),
        "2 norm_act.backward, 2 norm_act.forward"
    );
    let inference = Plan::inference(&graph, &[loss], Statistics::Running).unwrap();
    assert_eq!(joined_passes(&inference), "2 norm_act.forward");
}

#[test]
fn normalizations_that_update_the_same_states_keep_their_order() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 4, 4, 3]).unwrap();
    let nodes = norm_nodes(&mut graph, "bn", 3);
    let mut outputs = Vec::new();
    for weight in [1.0, -2.0] {
        let x = graph.add(x, x, weight).unwrap();
        outputs.push(graph.batch_norm(x, nodes, BatchNorm::default()).unwrap());
    }
    let outputs = outputs.into_iter().map(|y| graph.activation(y, Activation::Relu).unwrap()).collect::<Vec<_>>();
    let sum = graph.add(outputs[0], outputs[1], 1.0).unwrap();
    let plan = Plan::gradients(&graph, sum, true, &PlanOptions::default()).unwrap();
    let first = joined_passes(&plan);
    assert!(first.contains("1 batch_norm.forward") && first.contains("1 norm_act.forward"), "{plan}");
}

#[test]
fn a_value_that_a_pass_reads_twice_is_not_overwritten_by_it() {
    let mut graph = Graph::new();
    let x = graph.input("x", [16]).unwrap();
    let y = graph.activation(x, Activation::Tanh).unwrap();
    let sum = graph.add(y, y, 1.0).unwrap();
    let plan = Plan::inference(&graph, &[sum], Statistics::Running).unwrap();
    assert_eq!(plan.placement.arena, 32, "{plan}");
}

#[test]
fn every_value_is_set_before_it_is_used_and_passes_overlap_only_as_allowed() {
    for (graph, loss) in [autoencoder(3, 2, 8, 4, 0.1), autoencoder(4, 1, 8, 4, 1.0)] {
        for recompute in [true, false] {
            let plan = Plan::training_with(&graph, loss, &PlanOptions { recompute, ..Default::default() }).unwrap();
            for (_, action) in plan.actions() {
                let in_place = action.call().and_then(Call::in_place);
                let operands = action.operands();
                for (i, (written, access)) in operands.iter().enumerate().filter(|(_, o)| o.1 != Access::Read) {
                    for (j, (other, _)) in operands.iter().enumerate().filter(|(j, _)| *j != i) {
                        let allowed = written == other && *access == Access::Set && in_place.is_some();
                        assert!(allowed || !written.overlaps(other), "operands {i} and {j} of {action:?}");
                    }
                }
            }
        }
    }
}

/// If values share no memory, a read after the end of a lifetime still finds the value, unless it is poisoned.
#[test]
fn poison_finds_a_lifetime_that_ends_too_early() {
    let (graph, loss) = autoencoder(2, 1, 4, 2, 1.0);
    let options = PlanOptions { poison: true, ..no_reuse() };
    let good = Plan::training_with(&graph, loss, &options).unwrap();
    let inputs: Vec<NodeId> = ["x", "target"].map(|name| graph.node(name).unwrap()).into();
    let loss_and_gradients_are_numbers = |plan: Plan| {
        let mut session = Session::new(Reference, vec![plan]).unwrap();
        session.initialize(1);
        for &input in &inputs {
            session.write_input(PlanId(0), input, &[0.5; 16]).unwrap();
        }
        session.run(PlanId(0)).unwrap();
        let trained = session.tensors().iter().filter(|tensor| tensor.trained);
        let mut gradients = trained.flat_map(|tensor| session.gradient(&tensor.name).unwrap());
        session.loss(PlanId(0)).unwrap().is_finite() && gradients.all(|x| x.is_finite())
    };
    assert!(loss_and_gradients_are_numbers(good.clone()));

    let lifetimes = place::lifetimes(&good.program);
    let mut shortened = 0;
    for (value, lifetime) in lifetimes.iter().enumerate() {
        let Some(Lifetime { first, last }) = *lifetime else { continue };
        let read_later =
            |step: usize| good.program.steps[step].action.operands().iter().any(|(s, _)| s.offset == value);
        let Some(earlier) = (first..last).rev().find(|&step| read_later(step)) else { continue };
        let mut lifetimes = lifetimes.clone();
        lifetimes[value] = Some(Lifetime { first, last: earlier });
        let placement = place::place(&good.program, &lifetimes, false);
        let bad = Plan { placement, ..good.clone() };
        assert!(!loss_and_gradients_are_numbers(bad), "value {value} ends at step {earlier}, not {last}\n{good}");
        shortened += 1;
    }
    assert!(shortened > 20, "{shortened}");
}

#[test]
fn recomputed_values_are_not_kept() {
    let (graph, loss) = autoencoder(4, 8, 16, 8, 1.0);
    let plan =
        |recompute| Plan::training_with(&graph, loss, &PlanOptions { recompute, ..PlanOptions::default() }).unwrap();
    let (with, without) = (plan(true), plan(false));
    let recomputed = with.program.steps.iter().filter(|step| step.phase == Phase::Recompute).count();
    assert_eq!((recomputed, count(&with, "batch_norm.apply")), (8, 8), "{with}");
    assert_eq!(count(&without, "batch_norm.apply"), 0);
    assert!(with.placement.arena < without.placement.arena, "{with}\n{without}");
}

#[test]
fn a_normalization_of_a_normalization_is_recomputed_from_it() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 4, 4, 2]).unwrap();
    let norms = ["first", "second"].map(|name| norm_nodes(&mut graph, name, 2));
    let inner = graph.batch_norm(x, norms[0], BatchNorm::default()).unwrap();
    let outer = graph.batch_norm(inner, norms[1], BatchNorm::default()).unwrap();
    let w = graph.parameter("w", [3, 3, 2, 1], Init::Ones).unwrap();
    let y = graph.conv2d(outer, w, None, Conv2d::default()).unwrap();
    let recomputed = |keep: Vec<NodeId>| {
        let options = PlanOptions { keep, ..PlanOptions::default() };
        let plan = Plan::gradients(&graph, y, false, &options).unwrap();
        let steps = plan.program.steps.iter().filter(|step| step.phase == Phase::Recompute);
        steps.map(|step| step.node).collect::<Vec<NodeId>>()
    };
    assert_eq!(recomputed(vec![]), [inner, outer]);
    assert_eq!(recomputed(vec![outer]), [inner], "what is kept is there");
    assert_eq!(recomputed(vec![inner]), [outer]);
}

#[test]
fn a_value_is_not_recomputed_from_what_is_not_kept_anyway() {
    // Gamma and beta are states, so the normalization has no backward pass that would keep its input.
    let mut graph = Graph::new();
    let x = graph.input("x", [1, 4, 4, 2]).unwrap();
    let x = graph.activation(x, Activation::Tanh).unwrap();
    let [gamma, beta, running_mean, running_var] =
        ["gamma", "beta", "mean", "var"].map(|name| graph.state(name, [2], Init::Ones).unwrap());
    let nodes = BatchNormNodes { gamma, beta, running_mean, running_var };
    let norm = graph.batch_norm(x, nodes, BatchNorm::default()).unwrap();
    let w = graph.parameter("w", [3, 3, 2, 1], Init::Ones).unwrap();
    let y = graph.conv2d(norm, w, None, Conv2d::default()).unwrap();
    let y = graph.activation(y, Activation::Gelu).unwrap();
    let plan = Plan::gradients(&graph, y, false, &PlanOptions::default()).unwrap();
    assert_eq!(count(&plan, "batch_norm.apply"), 0, "{plan}");
}

/// The memory of the network that this engine is for: 15 layers each way, 32 channels, 32 x 32 pixels, batch 64. A
/// tensor takes 8 MiB. Every layer but the outermost two keeps two of them for the backward phase: the inputs of its
/// batch normalization and its activation.
#[test]
fn the_study_s_network_needs_two_tensors_a_layer() {
    for weight in [1.0, 0.1] {
        let (graph, loss) = autoencoder(15, 64, 32, 32, weight);
        let plan = Plan::training(&graph, loss).unwrap();
        let memory = plan.memory(&Reference);
        // In f32; Reference computes in f64.
        let mib = |bytes: usize| bytes as f64 / 2.0 / f64::from(1 << 20);
        assert!(mib(memory.arena) <= 60.0 * 8.0, "{} MiB", mib(memory.arena));
        assert!(plan.placement.arena as f64 <= 1.02 * plan.arena_peak() as f64, "the packing wastes little");
        assert_eq!(count(&plan, "scale"), if weight == 1.0 { 0 } else { 14 }, "gradients of sums are shared");
        let without = Plan::training_with(&graph, loss, &PlanOptions { recompute: false, ..Default::default() });
        assert!(mib(without.unwrap().memory(&Reference).arena) > 84.0 * 8.0);
    }
}

#[test]
fn a_printed_plan_shows_steps_writes_and_memory() {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 3]).unwrap();
    let w = graph.parameter("w", [3, 5], Init::Ones).unwrap();
    let y = graph.linear(x, w, None).unwrap();
    graph.set_name(y, "head");
    let target = graph.input("target", [2, 5]).unwrap();
    let z = graph.activation(y, Activation::Sigmoid).unwrap();
    let loss = graph.l1_loss(z, target).unwrap();
    let plan = Plan::training(&graph, loss).unwrap();
    let want = "\
training plan of l1_loss_5: 7 steps
step  phase      pass                    node          writes
   0  forward    conv2d.forward          head          [2, 5] set arena+0
   1  forward    activation.forward      activation_4  [2, 5] set arena+0 in place
   2  forward    loss.forward            l1_loss_5     [1] set inputs+32
   3  backward   fill                    l1_loss_5     [1] set arena+32
   4  backward   loss.backward           l1_loss_5     [2, 5] set arena+16
   5  backward   activation.backward     activation_4  [2, 5] set arena+16 in place
   6  backward   conv2d.grad_weight      head          [3, 5] set gradients+0
parameters 0.00 MiB, as much for gradients, twice for the optimizer
states 0.00 MiB, inputs 0.00 MiB
arena 0.00 MiB; 0.00 MiB of it in use at the peak";
    assert_eq!(plan.to_string(), want);
    assert!(plan.program.values.iter().zip(&plan.placement.spans).all(|(_, span)| span.region <= ARENA));
}

fn norm_nodes(graph: &mut Graph, name: &str, channels: usize) -> BatchNormNodes {
    let gamma = graph.parameter(&format!("{name}.weight"), [channels], Init::Ones).unwrap();
    let beta = graph.parameter(&format!("{name}.bias"), [channels], Init::Zeros).unwrap();
    let running_mean = graph.state(&format!("{name}.running_mean"), [channels], Init::Zeros).unwrap();
    let running_var = graph.state(&format!("{name}.running_var"), [channels], Init::Ones).unwrap();
    BatchNormNodes { gamma, beta, running_mean, running_var }
}

/// A residual encoder and decoder of `layers` layers each, and its L1 loss.
fn autoencoder(layers: usize, batch: usize, size: usize, channels: usize, weight: f64) -> (Graph, NodeId) {
    let mut graph = Graph::new();
    let input = graph.input("x", [batch, size, size, 1]).unwrap();
    let mut x = input;
    let mut skips = Vec::new();
    for i in 0..2 * layers {
        let (cin, cout) = (graph.shape(x).channels(), if i == 2 * layers - 1 { 1 } else { channels });
        let nodes = norm_nodes(&mut graph, &format!("{i}.bn"), cin);
        x = graph.batch_norm(x, nodes, BatchNorm::default()).unwrap();
        let bias = graph.parameter(&format!("{i}.conv.bias"), [cout], Init::kaiming_uniform(9 * cin)).unwrap();
        let init = Init::kaiming_uniform(9 * cin);
        if i < layers {
            let w = graph.parameter(&format!("{i}.conv.weight"), [3, 3, cin, cout], init).unwrap();
            x = graph.conv2d(x, w, Some(bias), Conv2d { padding: [1, 1], ..Conv2d::default() }).unwrap();
        } else {
            let w = graph.parameter(&format!("{i}.conv.weight"), [3, 3, cout, cin], init).unwrap();
            let params = ConvTranspose2d { padding: [1, 1], ..ConvTranspose2d::default() };
            x = graph.conv_transpose2d(x, w, Some(bias), params).unwrap();
        }
        let f = if i == 2 * layers - 1 { Activation::Sigmoid } else { Activation::Gelu };
        x = graph.activation(x, f).unwrap();
        if i < layers {
            skips.push(x);
        } else if i < 2 * layers - 1 {
            // The output of encoder layer L - j is added to that of decoder layer j.
            x = graph.add(x, skips[2 * layers - 2 - i], weight).unwrap();
        }
    }
    let target = graph.input("target", [batch, size, size, 1]).unwrap();
    let loss = graph.l1_loss(x, target).unwrap();
    (graph, loss)
}

/// A smaller arena costs passes first, then convolutions, and is refused below the smallest plan.
#[test]
fn what_does_not_fit_is_computed_again() {
    let mut graph = Graph::new();
    let mut x = graph.input("x", [2, 8, 8, 4]).unwrap();
    for layer in 0..12 {
        let norm = Some(norm_nodes(&mut graph, &format!("layer_{layer}.bn"), 4));
        let w = graph.parameter(&format!("layer_{layer}.weight"), [3, 3, 4, 4], Init::Ones).unwrap();
        let nodes = NormConvActNodes { norm, w, bias: None, skip: None };
        let conv = Convolution::Conv2d(Conv2d { padding: [1, 1], ..Conv2d::default() });
        let params =
            NormConvAct { conv, norm: BatchNorm::default(), activation: Some(Activation::Gelu), skip_weight: 0.0 };
        x = graph.norm_conv_act(x, nodes, params).unwrap();
    }
    let target = graph.input("target", [2, 8, 8, 4]).unwrap();
    let loss = graph.l1_loss(x, target).unwrap();
    let plan = Plan::training(&graph, loss).unwrap();
    assert_eq!(plan.recomputed(), (0, 0.0));
    let full = plan.memory(&Reference);
    assert_eq!(plan.within(&Reference, full.total()).unwrap().to_string(), plan.to_string());

    // Every pass saves a tensor, as the values that are kept longest come first.
    let tensor = 2 * 8 * 8 * 4 * size_of::<f64>();
    for count in [1, 4] {
        let passes = plan.within(&Reference, full.total() - count * tensor).unwrap();
        assert_eq!(passes.recomputed(), (count, 0.0), "{passes}");
    }
    let passes = plan.within(&Reference, full.total() - full.arena / 4).unwrap();
    assert!(passes.recomputed().0 > 0 && passes.recomputed().1 == 0.0, "{passes}");
    assert!(passes.recomputed().0 < 12, "no more than it takes: {passes}");
    let convolutions = plan.within(&Reference, full.total() - full.arena * 9 / 16).unwrap();
    assert!(convolutions.recomputed().1 > 0.0, "{convolutions}");
    assert!(convolutions.memory(&Reference).total() <= full.total() - full.arena * 9 / 16);
    let Err(Error::MemoryLimit { limit: 1, needed }) = plan.within(&Reference, 1) else { panic!("no byte is enough") };
    assert!(needed < full.total() - full.arena / 2 && plan.within(&Reference, needed).is_ok());
}

/// Two layers, and the nodes of their weights and biases.
fn two_layers() -> (Graph, NodeId, [NodeId; 4]) {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 3]).unwrap();
    let [w1, w2] =
        [("w1", [3, 20]), ("w2", [20, 5])].map(|(name, shape)| graph.parameter(name, shape, Init::Ones).unwrap());
    let [b1, b2] = [("b1", 20), ("b2", 5)].map(|(name, len)| graph.parameter(name, [len], Init::Ones).unwrap());
    let y = graph.linear(x, w1, Some(b1)).unwrap();
    let y = graph.activation(y, Activation::Tanh).unwrap();
    let y = graph.linear(y, w2, Some(b2)).unwrap();
    let target = graph.input("target", [2, 5]).unwrap();
    let loss = graph.mse_loss(y, target).unwrap();
    (graph, loss, [w1, w2, b1, b2])
}

#[test]
fn the_parameters_of_a_group_lie_next_to_each_other_and_frozen_ones_last() {
    let (mut graph, _, nodes) = two_layers();
    let offsets = |graph: &Graph| {
        let layout = Layout::of(graph);
        (nodes.map(|node| layout.place(graph, node).offset), [layout.trained, layout.parameters], layout.groups)
    };
    // Lengths are rounded up to 16.
    let all = Span::new(crate::regions::PARAMETERS, 0, 224);
    assert_eq!(offsets(&graph), ([0, 64, 176, 208], [224; 2], vec![(Group::default(), all)]));
    let [w1, w2, b1, b2] = nodes;
    let no_decay = Group { weight_decay: 0.0, ..Group::default() };
    for bias in [b1, b2] {
        graph.set_group(bias, no_decay).unwrap();
    }
    graph.set_group(w1, Group::FROZEN).unwrap();
    let groups = vec![(Group::default(), Span { len: 112, ..all }), (no_decay, Span { offset: 112, len: 48, ..all })];
    assert_eq!(offsets(&graph), ([160, 0, 112, 144], [160, 224], groups));
    // Two groups that are frozen are one.
    graph.set_group(w2, Group { lr: 0.0, weight_decay: 3.0 }).unwrap();
    let groups = vec![(no_decay, Span { len: 48, ..all })];
    assert_eq!(offsets(&graph), ([48, 112, 0, 32], [48, 224], groups));
}

#[test]
fn frozen_parameters_have_no_passes() {
    let (mut graph, loss, [w1, w2, b1, _]) = two_layers();
    let mut backward = |frozen: &[NodeId]| {
        frozen.iter().for_each(|&node| graph.set_group(node, Group::FROZEN).unwrap());
        let plan = Plan::training(&graph, loss).unwrap();
        let steps = plan.program.steps.iter().filter(|step| step.phase == Phase::Backward);
        steps.map(|step| step.action.name()).collect::<Vec<_>>()
    };
    let seed = ["fill", "loss.backward"];
    let second = ["conv2d.grad_bias", "conv2d.grad_weight"];
    let between = ["conv2d.grad_input", "activation.backward"];
    assert_eq!(backward(&[]), [seed, second, between, second].concat());
    assert_eq!(backward(&[w2]), [&seed[..], &second[..1], &between, &second].concat());
    // Nothing needs the gradient of the first layer's output.
    assert_eq!(backward(&[w1, b1]), [&seed[..], &second[..1]].concat());
}
