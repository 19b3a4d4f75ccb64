//! Several ranks, each with a part of every batch, against one with all of it.

use crate::common::{network, norm_nodes, numbers};
use crate::random_graphs::{Builder, choices, config};
use engine::collective::{Alone, Staged, Threads};
use engine::*;
use proptest::prelude::*;
use std::sync::Arc;

/// Steps that are compared.
const STEPS: usize = 3;

/// Records a network with parameters for a number of images, and returns its loss.
type Record<'a> = &'a (dyn Fn(usize) -> (Graph, NodeId) + Sync);

/// For every step: the loss, the gradients, and the parameters and states.
type Outcome = Vec<(f64, Vec<f64>, Vec<f64>)>;

/// The outcome of a few training steps on the images of `part`.
fn train<B: Backend>(mut session: Session<B>, graph: &Graph, part: Part) -> Outcome {
    session.initialize(3);
    let step = |step: usize| {
        write(&mut session, graph, part, step);
        session.run(PlanId(0)).unwrap();
        session.update(&Step::new(AdamW::default(), 1e-2)).unwrap();
        let f64s = |values: Vec<B::Element>| values.into_iter().map(Element::to_f64);
        let trained = || session.tensors().iter().filter(|tensor| tensor.trained);
        let gradients = trained().flat_map(|tensor| f64s(session.gradient(&tensor.name).unwrap())).collect();
        let tensors = session.tensors().iter().flat_map(|tensor| f64s(session.tensor(&tensor.name).unwrap())).collect();
        (session.loss(PlanId(0)).unwrap(), gradients, tensors)
    };
    (0..STEPS).map(step).collect()
}

/// Writes this rank's part of a batch.
fn write<B: Backend>(session: &mut Session<B>, graph: &Graph, part: Part, batch: usize) {
    for input in ["x", "p", "target"].into_iter().filter_map(|name| graph.node(name)) {
        let image = graph.shape(input).len() / part.images().len();
        let all = numbers(image * part.batch, (batch * 100 + input.index()) as u64);
        let own = &all[part.images().start * image..part.images().end * image];
        let own: Vec<B::Element> = own.iter().map(|&x| B::Element::from_f64(x)).collect();
        // A random graph may not read every input.
        let _ = session.write_input(PlanId(0), input, &own);
    }
}

fn alone<B: Backend>(backend: B, record: Record<'_>, batch: usize) -> Outcome {
    let (graph, loss) = record(batch);
    let plan = Plan::training(&graph, loss).unwrap();
    let session = Session::new(backend, vec![plan]).unwrap();
    train(session, &graph, Part { rank: 0, ranks: 1, batch })
}

fn together<B: Backend + Clone + Sync>(
    backend: &B,
    record: Record<'_>,
    ranks: usize,
    batch: usize,
    options: &PlanOptions,
) -> Vec<Outcome> {
    Threads::run(ranks, |communicator| {
        let part = Part { rank: communicator.rank(), ranks, batch };
        let (graph, loss) = record(part.images().len());
        let plan = Plan::training_part(&graph, loss, part, options).unwrap();
        let staged = Arc::new(Staged::new(communicator));
        train(Session::distributed(backend.clone(), staged, vec![plan]).unwrap(), &graph, part)
    })
}

/// Fails unless all ranks have the same bits, and agree with `one` to within `tolerance` of the largest value of the
/// same kind.
fn compare(context: &str, one: &Outcome, ranks: &[Outcome], tolerance: f64) {
    for (rank, got) in ranks.iter().enumerate() {
        assert!(*got == ranks[0], "{context}: rank {rank} has other bits than rank 0");
    }
    for (step, (want, got)) in one.iter().zip(&ranks[0]).enumerate() {
        let close = |what: &str, want: &[f64], got: &[f64]| {
            assert_eq!(want.len(), got.len());
            let largest = want.iter().fold(1e-3f64, |largest, x| largest.max(x.abs()));
            let error = want.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest;
            assert!(error <= tolerance, "{context}: {what} of step {step} differ by {error:e}");
        };
        close("losses", &[want.0], &[got.0]);
        close("gradients", &want.1, &got.1);
        // AdamW's first step divides a gradient by its magnitude: if the gradient is mere rounding error, that decides
        // the sign of the step.
        if want.1.iter().all(|gradient| gradient.abs() > 1e-9) {
            close("parameters and states", &want.2, &got.2);
        }
    }
}

/// Fused layers: a skip connection, batch statistics of an input and of a layer's output, an output that two
/// normalizations read.
pub(crate) fn fused(images: usize) -> (Graph, NodeId) {
    let mut graph = Graph::new();
    let g = &mut graph;
    let x = g.input("x", [images, 6, 5, 2]).unwrap();
    let target = g.input("target", [images, 6, 5, 1]).unwrap();
    let mut layer = |x, skip, [cin, cout]: [usize; 2], activation| {
        let name = format!("layer_{}", g.len());
        let norm = Some(norm_nodes(g, &format!("{name}.bn"), cin));
        let init = Init::kaiming_uniform(9 * cin);
        let w = g.parameter(&format!("{name}.weight"), [3, 3, cin, cout], init).unwrap();
        let bias = Some(g.parameter(&format!("{name}.bias"), [cout], init).unwrap());
        let conv = Convolution::Conv2d(Conv2d { padding: [1, 1], ..Conv2d::default() });
        let params = NormConvAct { conv, norm: BatchNorm::default(), activation, skip_weight: 0.5 };
        g.norm_conv_act(x, NormConvActNodes { norm, w, bias, skip }, params).unwrap()
    };
    let first = layer(x, None, [2, 4], Some(Activation::Gelu));
    let second = layer(first, Some(first), [4, 4], Some(Activation::Sigmoid));
    let third = layer(second, Some(first), [4, 4], None);
    let fourth = layer(second, Some(third), [4, 4], Some(Activation::Gelu));
    let output = layer(fourth, None, [4, 1], Some(Activation::Sigmoid));
    let loss = graph.l1_loss(output, target).unwrap();
    (graph, loss)
}

/// The gradient of a normalization is shared with another node, and something is added to it before the backward passes
/// of the fused layer before the normalization read it.
fn shared(images: usize) -> (Graph, NodeId) {
    let mut graph = Graph::new();
    let g = &mut graph;
    let x = g.input("x", [images, 4, 3, 2]).unwrap();
    let target = g.input("target", [images, 4, 3, 2]).unwrap();
    let [first, second] =
        ["first", "second"].map(|name| g.parameter(name, [1, 1, 2, 2], Init::kaiming_uniform(2)).unwrap());
    let nodes = NormConvActNodes { norm: Some(norm_nodes(g, "inner", 2)), w: first, bias: None, skip: None };
    let conv = Convolution::Conv2d(Conv2d::default());
    let activation = Some(Activation::Gelu);
    let params = NormConvAct { conv, norm: BatchNorm::default(), activation, skip_weight: 0.0 };
    let below = g.norm_conv_act(x, nodes, params).unwrap();
    let other = g.conv2d(x, second, None, Conv2d::default()).unwrap();
    let reader = g.activation(other, Activation::Tanh).unwrap();
    let nodes = norm_nodes(g, "outer", 2);
    let norm = g.batch_norm(below, nodes, BatchNorm::default()).unwrap();
    let sum = g.add(other, norm, 1.0).unwrap();
    let output = g.add(sum, reader, 0.5).unwrap();
    let loss = g.mse_loss(output, target).unwrap();
    (graph, loss)
}

fn unfused(images: usize) -> (Graph, NodeId) {
    let network = network(images);
    (network.graph, network.loss)
}

/// A sum over the images, a sum over weights alone, and random numbers.
fn totals(images: usize) -> (Graph, NodeId) {
    let mut graph = Graph::new();
    let g = &mut graph;
    let x = g.input("x", [images, 3, 2, 4]).unwrap();
    let target = g.input("target", [images, 3, 2, 5]).unwrap();
    let w = g.parameter("w", [1, 1, 4, 5], Init::kaiming_uniform(4)).unwrap();
    let y = g.conv2d(x, w, None, Conv2d::default()).unwrap();
    let y = g.dropout(y, 0.4).unwrap();
    let product = g.mul(y, target).unwrap();
    let squares = g.mul(w, w).unwrap();
    let losses = [g.sum(product).unwrap(), g.mean(product).unwrap(), g.sum(squares).unwrap()];
    let loss = g.weighted_sum(&[(losses[0], 0.1), (losses[1], 2.0), (losses[2], 0.5)]).unwrap();
    (graph, loss)
}

#[test]
fn ranks_compute_what_one_does() {
    let networks: [(&str, Record<'_>); 4] =
        [("fused", &fused), ("unfused", &unfused), ("shared", &shared), ("totals", &totals)];
    for (name, record) in networks {
        for (batch, ranks) in [(1, 1), (4, 2), (8, 4), (5, 2), (7, 3), (4, 4)] {
            let context = format!("{name}, {batch} images on {ranks} ranks");
            let one = alone(Reference, record, batch);
            let options = PlanOptions { poison: true, ..PlanOptions::default() };
            compare(&context, &one, &together(&Reference, record, ranks, batch, &options), 1e-11);
            // With as much recomputed as possible.
            let small = PlanOptions { arena_limit: Some(0), ..options };
            compare(&context, &one, &together(&Reference, record, ranks, batch, &small), 1e-11);
            let cpu = Cpu::new(1).unwrap();
            let one = alone(cpu.clone(), record, batch);
            let many = together(&cpu, record, ranks, batch, &PlanOptions::default());
            // Normalizing four values of a channel amplifies rounding errors.
            assert!(
                (one[0].0 - many[0][0].0).abs() <= 1e-6 * one[0].0.abs(),
                "{context}: {} and {}",
                one[0].0,
                many[0][0].0
            );
        }
    }
}

/// Sums so long that each rank computes a piece of them for all.
#[test]
fn long_sums_are_those_of_short_ones() {
    let record = |images: usize| {
        let mut graph = Graph::new();
        let x = graph.input("x", [images, 150]).unwrap();
        let target = graph.input("target", [images, 131]).unwrap();
        let w = graph.parameter("w", [150, 131], Init::kaiming_uniform(150)).unwrap();
        let y = graph.linear(x, w, None).unwrap();
        let loss = graph.mse_loss(y, target).unwrap();
        (graph, loss)
    };
    let one = alone(Reference, &record, 6);
    for ranks in 2..=4 {
        let many = together(&Reference, &record, ranks, 6, &PlanOptions::default());
        compare(&format!("{ranks} ranks"), &one, &many, 1e-12);
    }
}

#[test]
fn what_no_rank_can_run_is_refused() {
    let (graph, loss) = fused(2);
    let refused = |part: Part| Plan::training_part(&graph, loss, part, &PlanOptions::default()).unwrap_err();
    let text = refused(Part { rank: 0, ranks: 4, batch: 3 }).to_string();
    assert_eq!(text, "rank 0 of 4 has no part of a batch of 3 images: there must be at least one for each rank");
    assert_eq!(refused(Part { rank: 2, ranks: 2, batch: 4 }), Error::Part { rank: 2, ranks: 2, batch: 4 });
    let text = refused(Part { rank: 1, ranks: 2, batch: 5 }).to_string();
    assert!(text.contains("`x`") && text.contains("[2, 6, 5, 2]") && text.contains("expected 3"), "{text}");
    let plan =
        Plan::training_part(&graph, loss, Part { rank: 1, ranks: 2, batch: 4 }, &PlanOptions::default()).unwrap();
    let error = Session::new(Reference, vec![plan]).err().unwrap().to_string();
    assert_eq!(error, "plan 0 is for rank 1 of 2, the session is rank 0 of 1");
}

/// Two ranks on one pool of one thread, and on one of two: each waits for the other in every step.
#[test]
fn ranks_that_share_a_pool_do_not_wait_for_each_other_in_it() {
    for threads in [1, 2] {
        let cpu = Cpu::new(threads).unwrap();
        let outcomes = Threads::run(2, |communicator| {
            let part = Part { rank: communicator.rank(), ranks: 2, batch: 4 };
            let (graph, loss) = fused(2);
            let plan = Plan::training_part(&graph, loss, part, &PlanOptions::default()).unwrap();
            let ranks = Arc::new(Staged::new(communicator));
            let mut session = Session::distributed(cpu.clone(), ranks, vec![plan]).unwrap();
            session.enter(|session| {
                session.initialize(3);
                for name in ["x", "target"] {
                    let node = graph.node(name).unwrap();
                    session.write_input(PlanId(0), node, &vec![0.5; graph.shape(node).len()]).unwrap();
                }
                session.run(PlanId(0)).unwrap();
                session.loss(PlanId(0)).unwrap()
            })
        });
        assert_eq!(outcomes[0], outcomes[1]);
    }
}

#[test]
fn a_rank_with_nan_does_not_leave_the_others_waiting() {
    let found = Threads::run(3, |communicator| {
        let part = Part { rank: communicator.rank(), ranks: 3, batch: 3 };
        let (graph, loss) = fused(1);
        let plan = Plan::training_part(&graph, loss, part, &PlanOptions::default()).unwrap();
        let mut session = Session::distributed(Reference, Arc::new(Staged::new(communicator)), vec![plan]).unwrap();
        session.initialize(0);
        let [x, target] = ["x", "target"].map(|name| graph.node(name).unwrap());
        let value = if part.rank == 1 { f64::NAN } else { 0.5 };
        session.write_input(PlanId(0), x, &[value; 60]).unwrap();
        session.write_input(PlanId(0), target, &[0.5; 30]).unwrap();
        session.start_step(PlanId(0), &Step::new(AdamW::default(), 1e-2)).unwrap();
        let mut losses = Vec::new();
        assert!(!session.finish_steps(&mut losses) && losses[0].is_nan());
        session.find_non_finite(PlanId(0)).unwrap()
    });
    assert_eq!(found[1], Some(NonFinite::Given { name: "x".to_owned() }));
    for rank in [0, 2] {
        let Some(NonFinite::Computed { op, .. }) = &found[rank] else { panic!("{found:?}") };
        assert_eq!(*op, "collective.batch_stats", "it came from another rank");
    }
}

#[test]
fn the_printed_plan_shows_where_ranks_wait() {
    let (graph, loss) = fused(2);
    let count = |plan: &Plan, what: &str| plan.to_string().matches(what).count();
    let plan = Plan::training(&graph, loss).unwrap();
    assert_eq!(count(&plan, "collective."), 0);
    let part = Part { rank: 1, ranks: 3, batch: 6 };
    let plan = Plan::training_part(&graph, loss, part, &PlanOptions::default()).unwrap();
    // Statistics of a value that two normalizations read are taken once. The first normalization's input has no
    // gradient.
    assert_eq!(count(&plan, "collective.batch_stats"), 4, "{plan}");
    assert_eq!(count(&plan, "collective.sum"), 4 + 2, "{plan}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_graphs_compute_what_one_rank_does(choices in choices(), ranks in 2usize..=4, more in 0usize..4) {
        let batch = ranks + more;
        let record = |images: usize| Builder::build_loss(&choices, images);
        let has_parameters = |(graph, loss): (Graph, NodeId)| Plan::training(&graph, loss).is_ok();
        prop_assume!(has_parameters(record(1)));
        let context = format!("{batch} images on {ranks} ranks");
        let options = PlanOptions { poison: true, ..PlanOptions::default() };
        compare(&context, &alone(Reference, &record, batch), &together(&Reference, &record, ranks, batch, &options), 1e-9);
    }
}

/// The outcome of steps of two micro-batches each, whose gradients are clipped, with averages in place of parameters.
fn accumulate(mut session: Session<Reference>, graph: &Graph, part: Part) -> Outcome {
    session.initialize(3);
    let step = Step { clip_norm: Some(0.05), average: Some(0.5), ..Step::new(Sgd::default(), 1e-2) };
    let mut losses = Vec::new();
    let outcome = (0..STEPS).map(|i| {
        for (micro, weight) in [(2 * i, 0.75), (2 * i + 1, 0.25)] {
            write(&mut session, graph, part, micro);
            session.accumulate(PlanId(0), weight).unwrap();
        }
        session.start_accumulated_step(&step).unwrap();
        assert!(session.finish_steps(&mut losses));
        let parameters = || graph.tensors().iter().filter(|tensor| tensor.trained);
        let averages = parameters().flat_map(|tensor| session.average(&tensor.name).unwrap()).collect();
        (losses[0], vec![session.gradient_norm().unwrap()], averages)
    });
    outcome.collect()
}

#[test]
fn ranks_accumulate_clip_and_average_as_one_does() {
    let options = SessionOptions { accumulate: true, average: true };
    let (graph, loss) = fused(6);
    let plan = Plan::training(&graph, loss).unwrap();
    let session = Session::with_options(Reference, Arc::new(Alone), vec![plan], options).unwrap();
    let one = accumulate(session, &graph, Part { rank: 0, ranks: 1, batch: 6 });
    let ranks = Threads::run(3, |communicator| {
        let part = Part { rank: communicator.rank(), ranks: 3, batch: 6 };
        let (graph, loss) = fused(2);
        let plan = Plan::training_part(&graph, loss, part, &PlanOptions::default()).unwrap();
        let staged = Arc::new(Staged::new(communicator));
        accumulate(Session::with_options(Reference, staged, vec![plan], options).unwrap(), &graph, part)
    });
    compare("micro-batches", &one, &ranks, 1e-9);
}
