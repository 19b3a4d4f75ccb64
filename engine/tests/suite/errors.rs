//! What is refused, and messages that say what was expected and found.

use crate::common::{Network, network, norm_nodes};
use engine::*;

/// A graph with an image `x [2, 5, 6, 4]`, a vector `v [2, 3]` and a parameter `p [4]`.
struct Leaves {
    graph: Graph,
    x: NodeId,
    v: NodeId,
    p: NodeId,
}

fn leaves() -> Leaves {
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 5, 6, 4]).unwrap();
    let v = graph.input("v", [2, 3]).unwrap();
    let p = graph.parameter("p", [4], Init::Zeros).unwrap();
    Leaves { graph, x, v, p }
}

/// Records an operation that must be refused with this message.
fn refused(message: &str, record: impl FnOnce(&mut Leaves) -> Result<NodeId>) {
    let mut leaves = leaves();
    match record(&mut leaves) {
        Ok(node) => panic!("{} was recorded; expected: {message}", leaves.graph.name(node)),
        Err(error) => assert_eq!(error.to_string(), message),
    }
    // Inputs, parameters and states are all that is recorded.
    assert_eq!(leaves.graph.len(), 2 + leaves.graph.tensors().len(), "{message}");
}

/// As [`refused`], for an operation on `x` and a new parameter `w`.
fn refused_with_w<const N: usize>(
    message: &str,
    w: [usize; N],
    record: impl FnOnce(&mut Graph, NodeId, NodeId) -> Result<NodeId>,
) {
    refused(message, |l| {
        let w = l.graph.parameter("w", w, Init::Zeros)?;
        record(&mut l.graph, l.x, w)
    });
}

#[test]
fn conv2d() {
    refused_with_w(
        "conv2d `conv2d_4`: argument `w` is `w` [3, 3, 7, 8], \
         expected [3, 3, 4, 8] ([R, S, C / groups, K]), as x is [2, 5, 6, 4] and groups 1",
        [3, 3, 7, 8],
        |g, x, w| g.conv2d(x, w, None, Conv2d::default()),
    );
    refused_with_w(
        "conv2d `conv2d_4`: argument `w` is `w` [3, 3], expected [R, S, C / groups, K]",
        [3, 3],
        |g, x, w| g.conv2d(x, w, None, Conv2d::default()),
    );
    refused_with_w("conv2d `conv2d_4`: 3 groups must divide the channels, 4 and 8", [3, 3, 4, 8], |g, x, w| {
        g.conv2d(x, w, None, Conv2d { groups: 3, ..Conv2d::default() })
    });
    refused_with_w(
        "conv2d `conv2d_4`: the kernel's height 7 exceeds the padded input's 5 (5 + 2 * 0)",
        [7, 3, 4, 8],
        |g, x, w| g.conv2d(x, w, None, Conv2d::default()),
    );
    refused_with_w("conv2d `conv2d_4`: vertical stride must be at least 1, not 0", [3, 3, 4, 8], |g, x, w| {
        g.conv2d(x, w, None, Conv2d { stride: [0, 1], ..Conv2d::default() })
    });
    refused("conv2d `conv2d_4`: argument `bias` is `p` [4], expected [8]", |l| {
        let w = l.graph.parameter("w", [3, 3, 4, 8], Init::Zeros)?;
        l.graph.conv2d(l.x, w, Some(l.p), Conv2d::default())
    });
    refused("conv2d `conv2d_3`: argument `x` is `v` [2, 3], expected [N, H, W, C]", |l| {
        l.graph.conv2d(l.v, l.x, None, Conv2d::default())
    });
}

/// Layouts of PyTorch are refused with a hint, whatever it is that does not fit.
#[test]
fn layouts_of_pytorch() {
    let image = "; x looks like PyTorch's [N, C, H, W]: permute it by [0, 2, 3, 1]";
    let weight = "; w looks like PyTorch's, whose filters come first: permute it by [2, 3, 1, 0]";
    let both = format!("{image}{weight}");
    let hint = |x: [usize; 4], w: [usize; 4], groups: usize, transposed: bool| {
        let mut graph = Graph::new();
        let x = graph.input("x", x).unwrap();
        let w = graph.parameter("w", w, Init::Zeros).unwrap();
        let node = match transposed {
            false => graph.conv2d(x, w, None, Conv2d { groups, ..Conv2d::default() }),
            true => graph.conv_transpose2d(x, w, None, ConvTranspose2d { groups, ..ConvTranspose2d::default() }),
        };
        node.unwrap_err().to_string()
    };
    for (x, w, groups, transposed, expected) in [
        ([2, 28, 28, 16], [32, 16, 3, 3], 1, false, weight),
        ([2, 28, 28, 16], [32, 4, 3, 3], 4, false, weight),
        ([2, 16, 28, 28], [3, 3, 16, 32], 1, false, image),
        ([2, 16, 28, 28], [32, 16, 3, 3], 1, false, &both),
        ([2, 28, 28, 16], [16, 32, 3, 3], 1, true, weight),
        ([2, 16, 28, 28], [3, 3, 32, 16], 1, true, image),
        ([2, 16, 28, 28], [16, 8, 3, 3], 4, true, &both),
    ] {
        let message = hint(x, w, groups, transposed);
        assert!(message.ends_with(expected) && message.matches("looks like").count() < 3, "{message}");
    }
    let neither = hint([2, 28, 28, 16], [3, 3, 15, 32], 1, false);
    assert!(!neither.contains("looks like"), "{neither}");
    refused(
        "linear `linear_4`: argument `w` is `w` [5, 3], expected [3, K], as x is [2, 3]; w looks like PyTorch's [K, C]: transpose it",
        |l| {
            let w = l.graph.parameter("w", [5, 3], Init::Zeros)?;
            l.graph.linear(l.v, w, None)
        },
    );
    let mut graph = Graph::new();
    let x = graph.input("x", [2, 16, 28, 28]).unwrap();
    let [gamma, beta] = ["gamma", "beta"].map(|name| graph.parameter(name, [16], Init::Ones).unwrap());
    let [running_mean, running_var] = ["mean", "var"].map(|name| graph.state(name, [16], Init::Ones).unwrap());
    let nodes = BatchNormNodes { gamma, beta, running_mean, running_var };
    let message = graph.batch_norm(x, nodes, BatchNorm::default()).unwrap_err().to_string();
    assert!(message.ends_with(image), "{message}");
}

#[test]
fn concat_and_slice_channels() {
    refused(
        "concat `concat_3`: argument `values` is `v` [2, 3], expected the dimensions of `x` [2, 5, 6, 4] but for the last",
        |l| l.graph.concat(&[l.x, l.v]),
    );
    refused("concat `concat_3`: there must be at least one value", |l| l.graph.concat(&[]));
    for (channels, text) in [(2..5, "2..5"), (1..1, "1..1"), (4..9, "4..9")] {
        let message =
            format!("slice_channels `slice_channels_3`: channels {text} must be some of 0..4, as x is [2, 5, 6, 4]");
        refused(&message, |l| l.graph.slice_channels(l.x, channels));
    }
}

#[test]
fn upsample() {
    use Upsampling::{Bilinear, Nearest};
    refused("upsample `upsample_3`: the height must be at least 1, not 5 and 0", |l| {
        l.graph.upsample(l.x, [0, 3], Nearest)
    });
    refused("upsample `upsample_3`: argument `x` is `v` [2, 3], expected [N, H, W, C]", |l| {
        l.graph.upsample(l.v, [4, 3], Bilinear)
    });
    for by in [0, usize::MAX] {
        let Leaves { mut graph, x, .. } = leaves();
        assert!(matches!(graph.upsample_by(x, by, Nearest), Err(Error::Params { .. })), "{by}");
    }
    let Leaves { mut graph, x, .. } = leaves();
    let error = graph.upsample(x, [1 << 30, 1 << 31], Nearest).unwrap_err();
    assert!(matches!(error, Error::Size { .. }), "{error}");
}

#[test]
fn linear() {
    refused_with_w("linear `linear_4`: argument `x` is `x` [2, 5, 6, 4], expected [N, C]", [4, 5], |g, x, w| {
        g.linear(x, w, None)
    });
    refused("linear `linear_4`: argument `w` is `w` [4, 5], expected [3, K], as x is [2, 3]", |l| {
        let w = l.graph.parameter("w", [4, 5], Init::Zeros)?;
        l.graph.linear(l.v, w, None)
    });
    refused("linear `linear_4`: argument `bias` is `p` [4], expected [5]", |l| {
        let w = l.graph.parameter("w", [3, 5], Init::Zeros)?;
        l.graph.linear(l.v, w, Some(l.p))
    });
}

#[test]
fn conv_transpose2d() {
    refused_with_w(
        "conv_transpose2d `conv_transpose2d_4`: argument `w` is `w` [3, 3, 4, 8], \
         expected [3, 3, 4, 4] ([R, S, Cout / groups, Cin]), as x is [2, 5, 6, 4]",
        [3, 3, 4, 8],
        |g, x, w| g.conv_transpose2d(x, w, None, ConvTranspose2d::default()),
    );
    refused_with_w(
        "conv_transpose2d `conv_transpose2d_4`: the output padding's width 2 must be below the stride 2",
        [3, 3, 8, 4],
        |g, x, w| {
            let params = ConvTranspose2d { stride: [2, 2], output_padding: [1, 2], ..ConvTranspose2d::default() };
            g.conv_transpose2d(x, w, None, params)
        },
    );
    refused("conv_transpose2d `conv_transpose2d_4`: argument `bias` is `p` [4], expected [6]", |l| {
        let w = l.graph.parameter("w", [1, 1, 3, 4], Init::Zeros)?;
        l.graph.conv_transpose2d(l.x, w, Some(l.p), ConvTranspose2d { groups: 2, ..ConvTranspose2d::default() })
    });
}

#[test]
fn batch_norm() {
    let norm = |change: fn(&mut BatchNormNodes, &Leaves), params: BatchNorm| {
        move |l: &mut Leaves| {
            let mut nodes = norm_nodes(&mut l.graph, "bn", 4);
            change(&mut nodes, l);
            l.graph.batch_norm(l.x, nodes, params)
        }
    };
    let default = BatchNorm::default();
    refused(
        "batch_norm `batch_norm_7`: argument `gamma` is `v` [2, 3], expected [4]",
        norm(|nodes, l| nodes.gamma = l.v, default),
    );
    refused(
        "batch_norm `batch_norm_7`: argument `running_var` is the parameter `p`, expected a state",
        norm(|nodes, l| nodes.running_var = l.p, default),
    );
    refused(
        "batch_norm `batch_norm_7`: argument `beta` is `bn.weight`, which is another argument too, \
         expected a node of its own",
        norm(|nodes, _| nodes.beta = nodes.gamma, default),
    );
    refused(
        "batch_norm `batch_norm_7`: eps must be above 0, not NaN",
        norm(|_, _| {}, BatchNorm { eps: f64::NAN, ..default }),
    );
    refused(
        "batch_norm `batch_norm_7`: momentum must be from 0 to 1, not 1.5",
        norm(|_, _| {}, BatchNorm { momentum: 1.5, ..default }),
    );
}

#[test]
fn group_norm() {
    let norm = |groups, eps, same: bool| {
        move |l: &mut Leaves| {
            let q = if same { l.p } else { l.graph.parameter("q", [4], Init::Zeros)? };
            l.graph.group_norm(l.x, l.p, q, GroupNorm { groups, eps })
        }
    };
    for (message, groups, eps) in [
        ("3 groups must divide the channels, 4", 3, 1e-5),
        ("0 groups must divide the channels, 4", 0, 1e-5),
        ("eps must be above 0, not 0", 2, 0.0),
        ("eps must be above 0, not NaN", 2, f64::NAN),
    ] {
        refused(&format!("group_norm `group_norm_4`: {message}"), norm(groups, eps, false));
    }
    refused(
        "group_norm `group_norm_3`: argument `beta` is `p`, which is another argument too, expected a node of its own",
        norm(2, 1e-5, true),
    );
    refused("group_norm `group_norm_4`: argument `gamma` is `w` [3], expected [4]", |l| {
        let w = l.graph.parameter("w", [3], Init::Ones)?;
        l.graph.group_norm(l.x, w, l.p, GroupNorm::groups(2))
    });
    refused("group_norm `group_norm_4`: argument `x` is `w` [3], expected [N, .., C]", |l| {
        let w = l.graph.parameter("w", [3], Init::Ones)?;
        l.graph.group_norm(w, l.p, l.v, GroupNorm::groups(1))
    });
}

#[test]
fn element_wise_operations() {
    refused("add `add_3`: argument `b` is `v` [2, 3], expected [2, 5, 6, 4]", |l| l.graph.add(l.x, l.v, 1.0));
    refused("add `add_3`: the weight must be finite, not inf", |l| l.graph.add(l.x, l.x, f64::INFINITY));
    refused("prelu `prelu_3`: argument `slope` is `p` [4], expected [1]", |l| l.graph.prelu(l.x, l.p));
    refused("prelu `prelu_4`: argument `slope` is `a`, which is argument `x` too, expected a node of its own", |l| {
        let slope = l.graph.parameter("a", [1], Init::Ones)?;
        l.graph.prelu(slope, slope)
    });
    refused("l1_loss `l1_loss_3`: argument `target` is `v` [2, 3], expected [2, 5, 6, 4]", |l| {
        l.graph.l1_loss(l.x, l.v)
    });
    refused("ssim `ssim_3`: argument `x` is `v` [2, 3], expected [N, H, W, C]", |l| l.graph.ssim(l.v, l.v));
    refused("ssim `ssim_3`: argument `y` is `v` [2, 3], expected [2, 5, 6, 4]", |l| l.graph.ssim(l.x, l.v));
    let size = "images must have at least 7x7 pixels, which is the size of a window, not 5x6";
    refused(&format!("ssim `ssim_3`: {size}"), |l| l.graph.ssim(l.x, l.x));
    refused("pad `pad_3`: argument `x` is `x` [2, 5, 6, 4], expected [N, H, W, C] with H <= 9 and W <= 5", |l| {
        l.graph.pad(l.x, 9, 5)
    });
    refused("pad `pad_3`: argument `x` is `p` [4], expected [N, H, W, C]", |l| l.graph.pad(l.p, 9, 9));
}

#[test]
fn names_sizes_and_nodes() {
    let taken = "there is already a node named `x`; names of inputs, parameters and states must be unique";
    refused(taken, |l| l.graph.parameter("x", [1], Init::Ones));
    refused(taken, |l| l.graph.state("x", [1], Init::Ones));
    refused("input `empty`: shape [3, 0] has no elements, or too many", |l| l.graph.input("empty", [3, 0]));
    refused("parameter `huge`: shape [4294967296, 4294967296, 2] has no elements, or too many", |l| {
        l.graph.parameter("huge", [1 << 32, 1 << 32, 2], Init::Zeros)
    });
    let foreign = network(1).output;
    let message = format!("node {} is of another graph", foreign.index());
    refused(&message, |l| l.graph.activation(foreign, Activation::Relu));
    refused(&message, |l| l.graph.linear(l.v, foreign, None));
    // Its index says nothing: this graph has a node 0 too.
    let foreign = leaves().x;
    assert_eq!(foreign.index(), 0);
    refused("node 0 is of another graph", |l| l.graph.activation(foreign, Activation::Relu));
    assert!(std::panic::catch_unwind(|| leaves().graph.shape(foreign)).is_err());
    // A clone of a graph has its nodes.
    let Leaves { mut graph, x, .. } = leaves();
    let mut clone = graph.clone();
    let y = clone.activation(x, Activation::Relu).unwrap();
    assert_eq!(graph.activation(x, Activation::Relu).unwrap(), y);
}

#[test]
fn plans() {
    let Network { graph, output, x, .. } = network(1);
    let refused = |plan: Result<Plan>, message: &str| assert_eq!(plan.err().unwrap().to_string(), message);
    refused(Plan::training(&graph, output), "the loss `output` has shape [1, 6, 6, 1], expected a single element");
    refused(Plan::inference(&graph, &[], Statistics::Running), "an inference plan needs at least one output");
    refused(
        Plan::gradients(&graph, x, false, &PlanOptions::default()),
        "`x` depends on no trained parameter, so it has no gradient",
    );
    let foreign = network(1).loss;
    let small = leaves();
    let message = format!("node {} is of another graph", foreign.index());
    refused(Plan::training(&small.graph, foreign), &message);
    let keep = PlanOptions { keep: vec![foreign], ..PlanOptions::default() };
    refused(Plan::inference_with(&small.graph, &[small.x], Statistics::Running, &keep), &message);
}

#[test]
fn a_running_statistic_is_not_read_elsewhere_in_training() {
    let mut l = leaves();
    let nodes = norm_nodes(&mut l.graph, "bn", 4);
    let y = l.graph.batch_norm(l.x, nodes, BatchNorm::default()).unwrap();
    let other = l.graph.add(l.p, nodes.running_mean, 1.0).unwrap();
    let loss = l.graph.mse_loss(other, l.p).unwrap();
    let options = PlanOptions { keep: vec![y], ..PlanOptions::default() };
    assert_eq!(
        Plan::training_with(&l.graph, loss, &options).err().unwrap().to_string(),
        "add `add_8`: an argument is a running statistic of `batch_norm_7`, which updates it"
    );
    assert!(Plan::inference(&l.graph, &[other, y], Statistics::Running).is_ok());
}

#[test]
fn sessions() {
    let Network { graph, x, target, output, loss } = network(2);
    let training = Plan::training(&graph, loss).unwrap();
    let inference = Plan::inference(&graph, &[output], Statistics::Running).unwrap();
    let message = |result: Result<()>| result.err().unwrap().to_string();

    assert_eq!(Session::new(Reference, vec![]).err().unwrap(), Error::NoPlans);
    let small = leaves();
    let other = Plan::inference(&small.graph, &[small.x], Statistics::Running).unwrap();
    assert_eq!(
        Session::new(Reference, vec![training.clone(), other]).err().unwrap().to_string(),
        "plan 1 has parameter `p` [4] (Zeros) where plan 0 has parameter `stem.bn.weight` [2] (Ones); \
         the plans of a session share parameters and states"
    );

    let mut session = Session::new(Reference, vec![training, inference]).unwrap();
    let (train, infer) = (PlanId(0), PlanId(1));
    assert_eq!(message(session.run(PlanId(2))), "there is no plan 2; the session has 2 plans");
    assert_eq!(message(session.run(train)), "input `x` of plan 0 has not been written");
    assert_eq!(message(session.write_input(train, x, &[0.0; 7])), "`x` has 120 elements (shape [2, 6, 5, 2]), got 7");
    assert_eq!(
        message(session.write_input(infer, target, &[0.0; 72])),
        "`target` is an input that the plan does not read, expected an input of the plan"
    );
    assert_eq!(
        message(session.write_input(train, output, &[0.0; 72])),
        "`output` is the result of activation, expected an input of the plan"
    );
    assert_eq!(
        message(session.write_cotangent(train, &[1.0])),
        "plan 0 takes no cotangent, as it is not made by `Plan::gradients`"
    );
    session.write_input(train, x, &[0.1; 120]).unwrap();
    assert_eq!(message(session.run(train)), "input `target` of plan 0 has not been written");
    session.write_input(train, target, &[0.1; 72]).unwrap();
    session.write_input(infer, x, &[0.1; 120]).unwrap();

    let mut values = [0.0; 72];
    assert_eq!(
        message(session.read(infer, output, &mut values)),
        "`output` of plan 1 cannot be read: the plan has not run, or another one has run since"
    );
    session.run(infer).unwrap();
    session.read(infer, output, &mut values).unwrap();
    assert_eq!(
        message(session.read(infer, output, &mut values[1..])),
        "`output` has 72 elements (shape [2, 6, 6, 1]), got 71"
    );
    session.run(train).unwrap();
    assert!(matches!(session.read(infer, output, &mut values), Err(Error::Stale { .. })));
    assert_eq!(
        message(session.read(train, output, &mut values)),
        "the value of `output` is not kept by plan 0: make it an output, or name it in `PlanOptions::keep`"
    );
    assert!(matches!(session.read_gradient(train, x, &mut [0.0; 120]), Err(Error::NotKept { .. })));

    assert_eq!(message(session.tensor("w").map(|_| ())), "there is no parameter or state `w`");
    assert_eq!(
        message(session.gradient("stem.bn.running_mean").map(|_| ())),
        "there is no parameter `stem.bn.running_mean`"
    );
    assert_eq!(message(session.set_tensor("up.bias", &[0.0; 2])), "`up.bias` has 1 elements (shape [1]), got 2");
    assert_eq!(
        message(session.set_optimizer_state("up.bias", [&[0.0], &[0.0; 2]])),
        "`up.bias` has 1 elements (shape [1]), got 2"
    );
}

#[test]
fn initial_values_that_are_not_finite_are_refused() {
    let fan_in = Init::kaiming_uniform(0);
    for (init, value) in
        [(fan_in, "inf"), (Init::Uniform { bound: -1.0 }, "-1"), (Init::Uniform { bound: f64::NAN }, "NaN")]
    {
        let mut graph = Graph::new();
        for result in [graph.parameter("w", [2], init), graph.state("w", [2], init)] {
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains("`w`: the bound must be finite and at least 0, not ") && error.contains(value),
                "{error}"
            );
        }
    }
    let error = Graph::new().parameter("w", [2], Init::Constant(f64::INFINITY)).unwrap_err().to_string();
    assert_eq!(error, "parameter `w`: the constant must be finite, not inf");
}

#[test]
fn sizes_that_wrap_around_are_refused() {
    refused_with_w(
        "conv2d `conv2d_4`: the padding's height 18446744073709551615 is too large",
        [3, 3, 4, 8],
        |g, x, w| g.conv2d(x, w, None, Conv2d { padding: [usize::MAX, 1], ..Conv2d::default() }),
    );
}

/// An optimizer's step uses the gradients of one run once, with constants that keep parameters finite.
#[test]
fn stale_gradients_and_constants_out_of_range_are_refused() {
    let Network { graph, x, target, loss, output, .. } = network(1);
    let plans = [Plan::training(&graph, loss), Plan::inference(&graph, &[output], Statistics::Running)];
    let mut session = Session::new(Reference, plans.map(Result::unwrap).to_vec()).unwrap();
    session.initialize(0);
    let (train, infer) = (PlanId(0), PlanId(1));
    let adamw = AdamW::default();
    let stale = "no gradients that an optimizer step has not used yet: run a plan of `Plan::training` first";
    assert_eq!(session.update(&Step::new(adamw, 1e-3)).unwrap_err().to_string(), stale);
    assert_eq!(session.loss(train).unwrap_err().to_string(), "plan 0 has not run yet");
    assert!(matches!(session.loss(PlanId(2)), Err(Error::UnknownPlan { plan: 2, len: 2 })));
    assert!(matches!(session.loss(infer), Err(Error::NotScalar { .. })));

    session.write_input(train, x, &[0.5; 60]).unwrap();
    session.write_input(train, target, &[0.5; 36]).unwrap();
    session.write_input(infer, x, &[0.5; 60]).unwrap();
    session.run(train).unwrap();
    session.run(infer).unwrap();
    let before = session.tensor("up.bias").unwrap();
    for (params, lr, message) in [
        (adamw, f64::NAN, "AdamW: `lr` is NaN, expected at least 0 and finite"),
        (AdamW { beta1: 1.0, ..adamw }, 1e-3, "AdamW: `beta1` is 1, expected at least 0 and below 1"),
        (AdamW { beta2: -0.1, ..adamw }, 1e-3, "AdamW: `beta2` is -0.1, expected at least 0 and below 1"),
        (AdamW { eps: f64::INFINITY, ..adamw }, 1e-3, "AdamW: `eps` is inf, expected above 0 in 32 bits, and finite"),
        (AdamW { eps: 0.0, ..adamw }, 1e-3, "AdamW: `eps` is 0, expected above 0 in 32 bits, and finite"),
        (
            AdamW { weight_decay: f64::NAN, ..adamw },
            0.0,
            "AdamW: `weight_decay` is NaN, expected at least 0 and finite",
        ),
    ] {
        assert_eq!(session.update(&Step::new(params, lr)).unwrap_err().to_string(), message);
        assert_eq!(session.start_step(train, &Step::new(params, lr)).unwrap_err().to_string(), message);
    }
    let sgd = Sgd::default();
    for (params, lr, message) in [
        (sgd, f64::INFINITY, "SGD: `lr` is inf, expected at least 0 and finite"),
        (Sgd { momentum: 1.0, ..sgd }, 0.1, "SGD: `momentum` is 1, expected at least 0 and below 1"),
        (Sgd { nesterov: true, ..sgd }, 0.1, "SGD: `momentum` is 0, expected above 0 and below 1 with Nesterov"),
        (Sgd { weight_decay: -1.0, ..sgd }, 0.1, "SGD: `weight_decay` is -1, expected at least 0 and finite"),
    ] {
        assert_eq!(session.update(&Step::new(params, lr)).unwrap_err().to_string(), message);
        assert_eq!(session.start_step(train, &Step::new(params, lr)).unwrap_err().to_string(), message);
    }
    assert_eq!((session.tensor("up.bias").unwrap(), session.optimizer_step()), (before, 0));
    // An inference run between leaves the gradients as they are.
    session.update(&Step::new(adamw, 1e-3)).unwrap();
    session.run(infer).unwrap();
    assert_eq!(session.update(&Step::new(adamw, 1e-3)).unwrap_err().to_string(), stale);
    assert_eq!(session.optimizer_step(), 1);
    // Parameters that begin anew have no gradients yet.
    session.run(train).unwrap();
    session.initialize(1);
    assert_eq!(session.update(&Step::new(adamw, 1e-3)).unwrap_err().to_string(), stale);
}

#[test]
fn too_large_a_network_is_out_of_memory() {
    let mut graph = Graph::new();
    let x = graph.input("x", [1 << 30, 1 << 27]).unwrap();
    let plan = Plan::inference(&graph, &[x], Statistics::Running).unwrap();
    let error = Session::new(Reference, vec![plan]).err().unwrap();
    assert!(error.to_string().starts_with("out of memory: could not allocate 1152921504606846976 bytes"), "{error}");
}

#[test]
fn groups_that_make_no_sense_are_refused() {
    let Network { mut graph, x, loss, .. } = network(1);
    let bias = graph.node("up.bias").unwrap();
    for (group, message) in [
        (
            Group { lr: -1.0, weight_decay: 1.0 },
            "parameter `up.bias`: the group's `lr` is -1, expected at least 0 and finite",
        ),
        (
            Group { lr: f64::NAN, weight_decay: 1.0 },
            "parameter `up.bias`: the group's `lr` is NaN, expected at least 0 and finite",
        ),
        (
            Group { lr: 1.0, weight_decay: f64::INFINITY },
            "parameter `up.bias`: the group's `weight_decay` is inf, expected at least 0 and finite",
        ),
    ] {
        assert_eq!(graph.set_group(bias, group).unwrap_err().to_string(), message);
    }
    let group = Group { lr: 0.1, weight_decay: 1.0 };
    let message = graph.set_group(x, group).unwrap_err().to_string();
    assert_eq!(message, "input `x`: only parameters have a group");
    let mean = graph.node("stem.bn.running_mean").unwrap();
    let message = graph.set_group(mean, group).unwrap_err().to_string();
    assert_eq!(message, "state `stem.bn.running_mean`: only parameters have a group");
    assert!(matches!(network(1).graph.set_group(bias, group), Err(Error::UnknownNode { .. })));

    let plan = Plan::training(&graph, loss).unwrap();
    for (group, shown) in [(group, ", lr times 0.1, weight decay times 1"), (Group::FROZEN, ", frozen")] {
        graph.set_group(bias, group).unwrap();
        let other = Plan::training(&graph, loss).unwrap();
        let error = Session::new(Reference, vec![plan.clone(), other]).err().unwrap().to_string();
        let (got, expected) = error.split_once(" where plan 0 has ").unwrap();
        assert!(got.starts_with("plan 1 has parameter `up.bias` [1] (") && got.ends_with(shown), "{error}");
        assert!(!expected.contains("lr times"), "{error}");
    }
    let mut session = Session::new(Reference, vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    let frozen = "`up.bias` is frozen, as its group's `lr` is 0: it has no gradient and no optimizer state";
    assert_eq!(session.gradient("up.bias").unwrap_err().to_string(), frozen);
    assert_eq!(session.optimizer_state("up.bias").unwrap_err().to_string(), frozen);
    assert_eq!(session.set_optimizer_state("up.bias", [&[0.0], &[0.0]]).unwrap_err().to_string(), frozen);
    let parameters: Vec<NodeId> = graph.tensors().iter().filter(|info| info.trained).map(|info| info.node).collect();
    parameters.into_iter().for_each(|node| graph.set_group(node, Group::FROZEN).unwrap());
    let message = Plan::training(&graph, loss).err().unwrap().to_string();
    assert!(message.ends_with("depends on no trained parameter, so it has no gradient"), "{message}");
}
