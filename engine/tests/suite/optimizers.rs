//! Ten steps of PyTorch's optimizers, replayed. `optimizers.py` beside this file prints the numbers.

use crate::common::{numbers, snapshot};
use engine::collective::Alone;
use engine::*;
use std::sync::Arc;

const PLAN: PlanId = PlanId(0);

/// What PyTorch computed in f64: the loss of each step, and two of the three parameters at the end.
struct Trace {
    losses: [f64; 10],
    b1: [f64; 4],
    w2: [f64; 8],
}

const PLAIN: Trace = Trace {
    losses: [
        0.4090320051970918,
        0.31240206993871833,
        0.26099161486530004,
        0.23003366627427974,
        0.20936581147414737,
        0.19435952504762738,
        0.1827346492161252,
        0.17328868317111892,
        0.16534474918493114,
        0.15849656592227146,
    ],
    b1: [0.8839372186007034, 0.46163307882849597, 0.21867976151689572, -0.2416526814164001],
    w2: [
        0.6999108902382007,
        -0.3963148226762592,
        -0.6863911344909925,
        -0.3745020642646793,
        -0.15110737944404554,
        0.7806187749357214,
        -0.032104842973614996,
        -0.2533761307789648,
    ],
};

const DECAY: Trace = Trace {
    losses: [
        0.4090320051970918,
        0.30695081638076327,
        0.2539389641275128,
        0.22232734617631533,
        0.20129215296253927,
        0.18606390450005814,
        0.17433473778502737,
        0.16489127693205927,
        0.15704418180924754,
        0.15037262898085313,
    ],
    b1: [0.8078464547782224, 0.4064312811338539, 0.18240300435185122, -0.21786980517126497],
    w2: [
        0.6441284027624603,
        -0.35809201097943627,
        -0.6259762033338692,
        -0.33959510110715146,
        -0.13208815102465837,
        0.7088135980950209,
        -0.033647193362473723,
        -0.22859290289573791,
    ],
};

const MOMENTUM: Trace = Trace {
    losses: [
        0.4090320051970918,
        0.31240206993871833,
        0.2190161437576199,
        0.18520748903594572,
        0.18645902744208187,
        0.1780374267981339,
        0.14646367672104194,
        0.10917598341538959,
        0.0869731543946248,
        0.08563102243287929,
    ],
    b1: [0.9564897613168175, 0.2055996908029466, 0.5610931118310619, -0.06684782547868516],
    w2: [
        0.5916440131208484,
        -0.48071154812108496,
        -0.5070246741530031,
        0.2606774079960413,
        -0.3121202807199503,
        0.05097754949768469,
        0.049807258625936844,
        -0.39807691874599027,
    ],
};

const NESTEROV: Trace = Trace {
    losses: [
        0.4090320051970918,
        0.24485631902932647,
        0.1806001385282246,
        0.15565298154136786,
        0.13534018629720723,
        0.11468146054739434,
        0.09779589616161671,
        0.08708244863380205,
        0.08181810027855625,
        0.07970696313820126,
    ],
    b1: [0.6709702759839977, -0.01633572991401246, 0.35079489148153475, -0.047495756893893924],
    w2: [
        0.46446263359023543,
        -0.24818993333038,
        -0.38756956224111366,
        0.2899933048219725,
        -0.11780211012172824,
        -0.05505664011539276,
        0.014051539973319673,
        -0.332027898162863,
    ],
};

const GROUPS: Trace = Trace {
    losses: [
        0.4090320051970918,
        0.28295806637702325,
        0.20751978532937007,
        0.20957391204836803,
        0.19793663403145792,
        0.14941493243258872,
        0.1070991184715159,
        0.099424213265497,
        0.11643582548708635,
        0.13018943197732308,
    ],
    b1: [1.2200471833776463, 0.1416818898389363, 0.7948707449942718, -0.024316159410724084],
    w2: [
        0.3434998155452121,
        -0.2914768793852745,
        -0.3362446437082959,
        0.49534611504892484,
        -0.22783431967391882,
        -0.13778102131734032,
        0.047260344297707334,
        -0.22671606641302539,
    ],
};

const FROZEN: Trace = Trace {
    losses: [
        0.4090320051970918,
        0.3143211425072543,
        0.24648776440077863,
        0.20673405140068163,
        0.1923057096125682,
        0.19338838505847425,
        0.1952907598729526,
        0.18928242415172053,
        0.17532741957593484,
        0.1573205976974196,
    ],
    b1: [1.2301824433958912, 0.48256876094088313, 0.3244903727335198, -0.3543910333020116],
    w2: [
        0.6820338687693666,
        -0.314680585052277,
        -0.5914310815531041,
        -0.2178109492068097,
        -0.029099843412038473,
        0.4615059598599894,
        -0.12793908589756783,
        -0.4094216728736917,
    ],
};

const CLIPPED: Trace = Trace {
    losses: [
        0.4090320051970918,
        0.2920658191277715,
        0.2101915883999621,
        0.16274703291209394,
        0.14214355728321607,
        0.12937463728423357,
        0.11200428340643857,
        0.09142634801541656,
        0.07274564270870736,
        0.059170216159037795,
    ],
    b1: [1.015398395725088, 0.5174550290228136, 0.31577880294690824, -0.2736517838644471],
    w2: [
        0.6525581265135176,
        -0.40475424400898813,
        -0.5705150653407653,
        -0.21414629222447543,
        -0.08457966444578406,
        0.47634504128293986,
        0.022659523693473356,
        -0.5662335882606786,
    ],
};

/// The norms of the gradients of [`CLIPPED`] before they were clipped, and the averages of two parameters.
const NORMS: [f64; 10] = [
    0.7521009528401472,
    0.5402081418397503,
    0.3430889068618365,
    0.2060639624697831,
    0.21375018371788165,
    0.25742634835364075,
    0.249991073371358,
    0.2017940262941751,
    0.13868984896403758,
    0.09398522674178401,
];
const AVERAGES: [&[f64]; 2] = [
    &[0.9215454411755236, 0.5937570443261158, 0.14904745313396653, -0.29743481184831944],
    &[
        0.6123179724161399,
        -0.42779206301587747,
        -0.6670407968713684,
        -0.4375529909188703,
        -0.1289912668754293,
        0.7643862116124418,
        -0.03683969498529777,
        -0.33223782026880544,
    ],
];

/// A network of two layers, and its loss.
fn network() -> Graph {
    let mut graph = Graph::new();
    let g = &mut graph;
    let [x, target] = [("x", [5, 3]), ("target", [5, 2])].map(|(name, shape)| g.input(name, shape).unwrap());
    let [w1, w2] = [("w1", [3, 4]), ("w2", [4, 2])].map(|(name, shape)| g.parameter(name, shape, Init::Zeros).unwrap());
    let b1 = g.parameter("b1", [4], Init::Zeros).unwrap();
    let y = g.linear(x, w1, Some(b1)).unwrap();
    let y = g.activation(y, Activation::Tanh).unwrap();
    let y = g.linear(y, w2, None).unwrap();
    let loss = g.mse_loss(y, target).unwrap();
    g.set_name(loss, "loss");
    graph
}

fn elements<B: Backend>(values: &[f64]) -> Vec<B::Element> {
    values.iter().map(|&x| B::Element::from_f64(x)).collect()
}

fn to_f64<E: Element>(values: Vec<E>) -> Vec<f64> {
    values.into_iter().map(Element::to_f64).collect()
}

/// A session at the beginning of a trace.
fn session<B: Backend>(backend: B, graph: &Graph) -> Session<B> {
    let plan = Plan::training(graph, graph.node("loss").unwrap()).unwrap();
    let options = SessionOptions { accumulate: true, average: true };
    let mut session = Session::with_options(backend, Arc::new(Alone), vec![plan], options).unwrap();
    for (name, len, seed) in [("w1", 12, 3), ("b1", 4, 4), ("w2", 8, 5)] {
        session.set_tensor(name, &elements::<B>(&numbers(len, seed))).unwrap();
    }
    for (name, len, seed) in [("x", 15, 1), ("target", 10, 2)] {
        session.write_input(PLAN, graph.node(name).unwrap(), &elements::<B>(&numbers(len, seed))).unwrap();
    }
    session
}

/// Takes ten steps, and compares.
fn replay<B: Backend>(backend: B, graph: &Graph, step: &Step, want: &Trace, tolerance: f64) -> Session<B> {
    let mut session = session(backend, graph);
    let what = format!("{step:?} on {}", session.backend().name());
    let mut losses = Vec::new();
    for want in want.losses {
        session.start_step(PLAN, step).unwrap();
        assert!(session.finish_steps(&mut losses));
        assert!((losses[0] - want).abs() <= tolerance, "{what}: loss {}, not {want}", losses[0]);
    }
    for (name, want) in [("b1", &want.b1[..]), ("w2", &want.w2)] {
        assert_close(&format!("{what}: {name}"), &to_f64(session.tensor(name).unwrap()), want, tolerance);
    }
    session
}

fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let is_close = got.len() == want.len() && got.iter().zip(want).all(|(got, want)| (got - want).abs() <= tolerance);
    assert!(is_close, "{what} is {got:?}, not {want:?}");
}

/// A step in f32 rounds a value near 1 a few times; ten of them, each with ten values, come to less than this.
const F32: f64 = 2e-6;
const F64: f64 = 1e-14;

fn replay_everywhere(graph: &Graph, step: &Step, want: &Trace) {
    replay(Reference, graph, step, want, F64);
    for isa in Isa::available() {
        replay(Cpu::with_isa(isa, 1).unwrap(), graph, step, want, F32);
    }
}

#[test]
fn sgd_is_that_of_pytorch() {
    let plain = Sgd::default();
    let momentum = Sgd { momentum: 0.9, ..plain };
    let nesterov = Sgd { nesterov: true, weight_decay: 0.05, ..momentum };
    for (sgd, want) in
        [(plain, PLAIN), (Sgd { weight_decay: 0.05, ..plain }, DECAY), (momentum, MOMENTUM), (nesterov, NESTEROV)]
    {
        replay_everywhere(&network(), &Step::new(sgd, 0.2), &want);
    }
}

#[test]
fn a_momentum_buffer_is_optimizer_state() {
    let graph = network();
    for momentum in [0.0, 0.9] {
        let step = Step::new(Sgd { momentum, ..Sgd::default() }, 0.2);
        let mut all = session(Reference, &graph);
        (0..5).for_each(|_| {
            all.run(PLAN).unwrap();
            all.update(&step).unwrap();
        });
        let [buffer, zeros] = all.optimizer_state("b1").unwrap();
        assert_eq!((buffer != [0.0; 4], zeros), (momentum > 0.0, vec![0.0; 4]));
        // A session that goes on from it
        let mut resumed = session(Reference, &graph);
        for name in ["w1", "b1", "w2"] {
            resumed.set_tensor(name, &all.tensor(name).unwrap()).unwrap();
            let [buffer, zeros] = all.optimizer_state(name).unwrap();
            resumed.set_optimizer_state(name, [&buffer, &zeros]).unwrap();
        }
        resumed.set_optimizer_step(5);
        for session in [&mut all, &mut resumed] {
            session.run(PLAN).unwrap();
            session.update(&step).unwrap();
        }
        assert_eq!(all.tensor("w1").unwrap(), resumed.tensor("w1").unwrap());
    }
}

/// The network with a group for some parameters.
fn grouped(groups: &[(&str, Group)]) -> Graph {
    let mut graph = network();
    for (name, group) in groups {
        graph.set_group(graph.node(name).unwrap(), *group).unwrap();
    }
    graph
}

#[test]
fn groups_have_factors_of_their_own_as_in_pytorch() {
    let graph = grouped(&[("b1", Group { lr: 2.0, weight_decay: 0.0 }), ("w1", Group { lr: 0.5, weight_decay: 1.0 })]);
    let sgd = Sgd { momentum: 0.9, weight_decay: 0.05, ..Sgd::default() };
    replay_everywhere(&graph, &Step::new(sgd, 0.2), &GROUPS);
}

#[test]
fn a_frozen_parameter_keeps_its_bits_as_in_pytorch() {
    let graph = grouped(&[("w1", Group::FROZEN)]);
    let step = Step::new(AdamW::default(), 0.05);
    replay_everywhere(&graph, &step, &FROZEN);
    let session = replay(Reference, &graph, &step, &FROZEN, F64);
    assert_eq!(session.tensor("w1").unwrap(), numbers(12, 3));
    let memory = session.memory();
    // In elements, each parameter rounded up to 16
    // With averages and sums of gradients
    let sizes = [memory.parameters, memory.gradients, memory.optimizer_state];
    assert_eq!(sizes, [48 + 32, 32 + 32, 64].map(|len| 8 * len));
}

/// Clips gradients, and averages parameters, as [`CLIPPED`] did.
fn clipped() -> Step {
    Step { clip_norm: Some(0.25), average: Some(0.9), ..Step::new(AdamW::default(), 0.05) }
}

fn check_clipped<B: Backend>(backend: B, tolerance: f64) {
    let session = replay(backend, &network(), &clipped(), &CLIPPED, tolerance);
    for (name, want) in ["b1", "w2"].into_iter().zip(AVERAGES) {
        assert_close(&format!("average of {name}"), &to_f64(session.average(name).unwrap()), want, tolerance);
    }
    assert_close("norm", &[session.gradient_norm().unwrap()], &NORMS[9..], tolerance);
}

#[test]
fn clipping_and_averaging_are_those_of_pytorch() {
    const { assert!(NORMS[0] > 0.25 && NORMS[9] < 0.25, "some steps are clipped, and some are not") };
    check_clipped(Reference, F64);
    for isa in Isa::available() {
        check_clipped(Cpu::with_isa(isa, 1).unwrap(), F32);
    }
}

#[test]
fn the_norm_is_that_of_the_gradients_before_they_are_clipped() {
    let mut session = session(Reference, &network());
    assert_eq!(
        session.gradient_norm().unwrap_err().to_string(),
        "no step with a `clip_norm` has been taken, so there is no norm of its gradients"
    );
    session.run(PLAN).unwrap();
    let gradients =
        |session: &Session<Reference>| ["w1", "b1", "w2"].map(|name| session.gradient(name).unwrap()).concat();
    let norm = |values: Vec<f64>| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let before = gradients(&session);
    session.update(&Step { clip_norm: Some(f64::INFINITY), ..clipped() }).unwrap();
    assert_eq!(gradients(&session), before);
    assert!((session.gradient_norm().unwrap() - norm(before)).abs() < 1e-15);
    session.run(PLAN).unwrap();
    session.update(&clipped()).unwrap();
    assert!((norm(gradients(&session)) - 0.25).abs() < 1e-5 && session.gradient_norm().unwrap() > 0.25);
}

#[test]
fn a_network_runs_with_averages_in_the_place_of_its_parameters() {
    let graph = grouped(&[("b1", Group::FROZEN)]);
    let mut session = replay_some(&graph, &clipped(), 3);
    let run = |session: &mut Session<Reference>| {
        session.run(PLAN).unwrap();
        session.loss(PLAN).unwrap()
    };
    let tensors = |session: &Session<Reference>| ["w1", "b1", "w2"].map(|name| session.tensor(name).unwrap());
    let averages = |session: &Session<Reference>| ["w1", "w2"].map(|name| session.average(name).unwrap());
    let (loss, before, averaged) = (run(&mut session), tensors(&session), averages(&session));
    assert!(before[0] != averaged[0] && before[2] != averaged[1]);

    session.swap_averages().unwrap();
    assert_eq!(tensors(&session), [averaged[0].clone(), before[1].clone(), averaged[1].clone()]);
    assert_eq!(averages(&session), [before[0].clone(), before[2].clone()]);
    let loss_of_average = run(&mut session);
    let mut other = replay_some(&graph, &clipped(), 0);
    other.set_tensor("w1", &averaged[0]).unwrap();
    other.set_tensor("w2", &averaged[1]).unwrap();
    assert_eq!(loss_of_average, run(&mut other));
    assert_ne!(loss_of_average, loss);
    let swapped = "averages are in the place of the parameters: call `swap_averages` again before a training step or a checkpoint";
    for error in [
        session.start_step(PLAN, &clipped()),
        session.accumulate(PLAN, 1.0),
        session.start_accumulated_step(&clipped()),
        session.update(&clipped()),
        session.find_non_finite(PLAN).map(drop),
    ] {
        assert_eq!(error.unwrap_err().to_string(), swapped);
    }

    session.swap_averages().unwrap();
    assert_eq!((tensors(&session), averages(&session)), (before, averaged));
    assert_eq!(run(&mut session), loss);
    session.update(&clipped()).unwrap();
}

/// A session after some steps.
fn replay_some(graph: &Graph, step: &Step, steps: usize) -> Session<Reference> {
    let mut session = session(Reference, graph);
    for _ in 0..steps {
        session.run(PLAN).unwrap();
        session.update(step).unwrap();
    }
    session
}

#[test]
fn averages_begin_as_the_parameters_and_can_be_set() {
    let graph = network();
    let mut session = replay_some(&graph, &clipped(), 3);
    assert_ne!(session.average("w1").unwrap(), session.tensor("w1").unwrap());
    session.set_tensor("b1", &[1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(session.average("b1").unwrap(), [1.0, 2.0, 3.0, 4.0]);
    session.set_average("b1", &[5.0; 4]).unwrap();
    assert_eq!((session.average("b1").unwrap(), session.tensor("b1").unwrap()[0]), (vec![5.0; 4], 1.0));
    assert!(matches!(session.set_average("b1", &[5.0; 3]), Err(Error::Length { .. })));
    assert!(matches!(session.average("x"), Err(Error::UnknownTensor { .. })));
    session.initialize(1);
    for name in ["w1", "b1", "w2"] {
        assert_eq!(session.average(name).unwrap(), session.tensor(name).unwrap());
    }
    // A step without averaging leaves them.
    session.set_tensor("w2", &numbers(8, 5)).unwrap();
    let before = session.average("w1").unwrap();
    session.run(PLAN).unwrap();
    session.update(&Step { average: None, ..clipped() }).unwrap();
    assert_eq!(session.average("w1").unwrap(), before);
    assert_ne!(session.tensor("w1").unwrap(), before);
}

/// The gradient of a batch is the mean of those of its images.
#[test]
fn micro_batches_have_the_gradient_of_the_whole_batch() {
    let mut graph = Graph::new();
    let w = graph.parameter("w", [3, 2], Init::kaiming_uniform(3)).unwrap();
    let record = |images: usize| {
        let mut graph = graph.clone();
        let [x, target] = [("x", 3), ("target", 2)].map(|(name, len)| graph.input(name, [images, len]).unwrap());
        let y = graph.linear(x, w, None).unwrap();
        let loss = graph.mse_loss(y, target).unwrap();
        (Plan::training(&graph, loss).unwrap(), [x, target])
    };
    let ((whole, inputs), (part, _)) = (record(6), record(2));
    let options = SessionOptions { accumulate: true, ..SessionOptions::default() };
    let mut session = Session::with_options(Reference, Arc::new(Alone), vec![whole, part], options).unwrap();
    let data = [numbers(18, 1), numbers(12, 2)];
    let step = Step::new(Sgd::default(), 0.5);
    let mut losses = Vec::new();
    let mut after = |is_whole: bool| {
        session.initialize(3);
        if is_whole {
            inputs.iter().zip(&data).for_each(|(&input, data)| session.write_input(PLAN, input, data).unwrap());
            session.start_step(PLAN, &step).unwrap();
        } else {
            for i in 0..3 {
                for (&input, data) in inputs.iter().zip(&data) {
                    let len = data.len() / 3;
                    session.write_input(PlanId(1), input, &data[i * len..(i + 1) * len]).unwrap();
                }
                session.accumulate(PlanId(1), 1.0 / 3.0).unwrap();
            }
            session.start_accumulated_step(&step).unwrap();
        }
        assert!(session.finish_steps(&mut losses));
        assert_eq!(session.optimizer_step(), 1);
        [session.tensor("w").unwrap(), losses.clone()].concat()
    };
    let want = after(true);
    assert_close("weights and loss", &after(false), &want, 1e-15);
}

#[test]
fn one_micro_batch_is_a_batch() {
    for clip_norm in [None, Some(0.1)] {
        let step = Step { clip_norm, ..clipped() };
        let (mut whole, mut accumulated, mut by_hand) =
            (session(Reference, &network()), session(Reference, &network()), session(Reference, &network()));
        let (mut want, mut losses) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            whole.start_step(PLAN, &step).unwrap();
            assert!(whole.finish_steps(&mut want));
            accumulated.accumulate(PLAN, 1.0).unwrap();
            accumulated.start_accumulated_step(&step).unwrap();
            assert!(accumulated.finish_steps(&mut losses));
            by_hand.accumulate(PLAN, 1.0).unwrap();
            by_hand.update(&step).unwrap();
            assert_eq!(losses, want);
        }
        for session in [&accumulated, &by_hand] {
            assert_eq!(snapshot(session), snapshot(&whole));
            assert_eq!(session.training_runs(), 3);
        }
    }
}

#[test]
fn steps_that_a_session_cannot_take_are_refused() {
    let graph = network();
    let mut plain =
        Session::new(Reference, vec![Plan::training(&graph, graph.node("loss").unwrap()).unwrap()]).unwrap();
    let mut session = session(Reference, &graph);
    let refused = |result: Result<()>, message: &str| assert_eq!(result.unwrap_err().to_string(), message);
    let missing = "the session keeps no averages: make it with `SessionOptions { average: true, .. }`";
    refused(plain.start_step(PLAN, &clipped()), missing);
    refused(plain.update(&clipped()), missing);
    refused(plain.swap_averages(), missing);
    refused(plain.average("w1").map(drop), missing);
    refused(plain.set_average("w1", &[0.0; 12]), missing);
    let missing = "the session keeps no sum of gradients: make it with `SessionOptions { accumulate: true, .. }`";
    refused(plain.accumulate(PLAN, 1.0), missing);
    for (step, message) in [
        (Step { clip_norm: Some(0.0), ..clipped() }, "step: `clip_norm` is 0, expected above 0"),
        (Step { clip_norm: Some(f64::NAN), ..clipped() }, "step: `clip_norm` is NaN, expected above 0"),
        (Step { average: Some(1.0), ..clipped() }, "step: `average` is 1, expected at least 0 and below 1"),
        (Step { average: Some(-0.5), ..clipped() }, "step: `average` is -0.5, expected at least 0 and below 1"),
    ] {
        refused(session.start_step(PLAN, &step), message);
        refused(session.start_accumulated_step(&step), message);
        refused(session.update(&step), message);
    }
    refused(session.accumulate(PLAN, f64::INFINITY), "accumulate: `weight` is inf, expected finite");
    let none = "no gradients that an optimizer step has not used yet: run a plan of `Plan::training` first";
    refused(session.start_accumulated_step(&clipped()), none);
    session.accumulate(PLAN, 0.5).unwrap();
    session.accumulate(PLAN, 0.5).unwrap();
    let pending = "the gradients of 2 micro-batches have been accumulated: use them first, with `start_accumulated_step` \
                   or `update`";
    refused(session.start_step(PLAN, &clipped()), pending);
    refused(session.find_non_finite(PLAN).map(drop), pending);
    session.set_optimizer_step(0);
    session.start_step(PLAN, &clipped()).unwrap();
    assert!(session.finish_steps(&mut Vec::new()));
}
