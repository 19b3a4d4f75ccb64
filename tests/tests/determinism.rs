//! The same seed gives the same bits, with any settings of threads and memory.

use engine::collective::Alone;
use engine::{Cpu, Plan, PlanId, PlanOptions, SessionOptions, Sgd, Statistics, Step};
use kernels::simd::Isa;
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Ramp, ResConvConfig};
use std::sync::Arc;
use tests::fixture::{Fixture, initialize, training_step};

/// Bits of the losses, and of all parameters, their averages and running statistics at the end.
type Bits = (Vec<u64>, Vec<Vec<u32>>);

const STEPS: u64 = 5;

fn train(backend: Cpu, fixture: &Fixture, options: &PlanOptions, seed: u64, evaluate: bool) -> Bits {
    let (training, evaluation) = (PlanId(0), PlanId(1));
    let plans = vec![
        Plan::training_with(&fixture.graph, fixture.loss, options).unwrap(),
        Plan::inference_with(&fixture.graph, &[fixture.loss], Statistics::Running, options).unwrap(),
    ];
    let options = SessionOptions { accumulate: true, average: true };
    let mut session = engine::Session::with_options(backend, Arc::new(Alone), plans, options).unwrap();
    initialize(&mut session, seed);
    fixture.write_inputs(&mut session, evaluation, 100);
    let mut losses = Vec::new();
    for step in 0..STEPS {
        fixture.write_inputs(&mut session, training, step);
        losses.push(training_step(&mut session, training).to_bits());
        if evaluate {
            session.run(evaluation).unwrap();
        }
    }
    // A step of everything else
    session.accumulate(training, 0.75).unwrap();
    let sgd = Step::new(Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 }, 1e-2);
    session.start_accumulated_step(&Step { clip_norm: Some(0.1), average: Some(0.9), ..sgd }).unwrap();
    let mut of_step = Vec::new();
    assert!(session.finish_steps(&mut of_step));
    losses.extend([of_step[0].to_bits(), session.gradient_norm().unwrap().to_bits()]);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let of =
        |name: &str| [Some(session.tensor(name).unwrap()), session.average(name).ok()].into_iter().flatten().map(bits);
    (losses, session.tensors().iter().flat_map(|tensor| of(&tensor.name)).collect())
}

fn fixtures() -> [Fixture; 3] {
    let deep = ResConvConfig { layers: 4, ..ResConvConfig::default() };
    // Odd channels and sizes, padding, and batch norms in other places.
    let odd = ResConvConfig {
        layers: 3,
        channels: Ramp { first: 5, last: 19 }.into(),
        kernel_size: Ramp { first: 5, last: 3 }.into(),
        stride: 2.into(),
        batch_norm_encoder: BatchNormPosition::AfterConv,
        batch_norm_decoder: BatchNormPosition::AfterActivation,
        ..ResConvConfig::default()
    };
    let bottleneck_activation = BottleneckActivation::Other(LayerActivation::Prelu);
    let sloped = ResConvConfig { activation: LayerActivation::Rrelu, bottleneck_activation, ..deep.clone() };
    [Fixture::new(deep, [16, 16, 16]), Fixture::new(odd, [7, 31, 33]), Fixture::new(sloped, [16, 16, 16])]
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for fixture in fixtures() {
        for isa in Isa::available() {
            let run = |threads| {
                let backend = Cpu::with_isa(isa, threads).unwrap();
                train(backend, &fixture, &PlanOptions::default(), 7, false)
            };
            let one = run(1);
            // Also more than there are shares of any sum, and than this machine has cores.
            for threads in [2, 3, 32, 64] {
                assert!(one == run(threads), "{isa}, 1 and {threads} threads: {}", fixture.network);
            }
        }
    }
}

#[test]
fn sharing_memory_and_recomputing_change_no_bit() {
    for fixture in fixtures() {
        for isa in Isa::available() {
            let run = |options, evaluate| train(Cpu::with_isa(isa, 2).unwrap(), &fixture, &options, 7, evaluate);
            // No memory is shared or poisoned, and nothing is recomputed.
            let plain = PlanOptions { reuse: false, recompute: false, poison: false, ..PlanOptions::default() };
            let want = run(plain, false);
            for reuse in [false, true] {
                for (recompute, arena_limit) in [(false, None), (true, None), (true, Some(0)), (true, Some(400_000))] {
                    let options = PlanOptions { reuse, recompute, arena_limit, poison: true, ..PlanOptions::default() };
                    let what = format!("{isa}, {options:?}: {}", fixture.network);
                    assert!(want == run(options, true), "{what}");
                }
            }
        }
    }
}

#[test]
fn the_seed_matters_and_nothing_else_does() {
    let [fixture, ..] = fixtures();
    let run = |seed| train(Cpu::new(2).unwrap(), &fixture, &PlanOptions::default(), seed, false);
    assert!(run(7) == run(7));
    assert!(run(7) != run(8));
}
