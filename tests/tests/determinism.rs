//! The same seed gives the same bits, with any settings of threads and memory.

use engine::{Cpu, Plan, PlanId, PlanOptions, Statistics};
use kernels::simd::Isa;
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Ramp, ResConvConfig};
use tests::fixture::{Fixture, initialize, training_step};

/// Bits of the losses, and of all parameters and running statistics at the end.
type Bits = (Vec<u64>, Vec<Vec<u32>>);

const STEPS: u64 = 5;

fn train(backend: Cpu, fixture: &Fixture, options: &PlanOptions, seed: u64, evaluate: bool) -> Bits {
    let (training, evaluation) = (PlanId(0), PlanId(1));
    let plans = vec![
        Plan::training_with(&fixture.graph, fixture.loss, options).unwrap(),
        Plan::inference_with(&fixture.graph, &[fixture.loss], Statistics::Running, options).unwrap(),
    ];
    let mut session = engine::Session::new(backend, plans).unwrap();
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
    let tensors: Vec<String> = session.tensors().iter().map(|tensor| tensor.name.clone()).collect();
    let bits = |name: &String| session.tensor(name).unwrap().into_iter().map(f32::to_bits).collect();
    (losses, tensors.iter().map(bits).collect())
}

fn fixtures() -> [Fixture; 3] {
    let deep = ResConvConfig { layers: 4, ..ResConvConfig::default() };
    // Odd channels and sizes, padding, and batch norms in other places.
    let odd = ResConvConfig {
        layers: 3,
        channels: Ramp { first: 5, last: 19 },
        kernel_size: Ramp { first: 5, last: 3 },
        stride: 2,
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
            for threads in [2, 3] {
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
