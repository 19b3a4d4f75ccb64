//! A training step allocates no memory. This is a program without the test harness, as the allocator counts for all
//! threads.

use engine::collective::Alone;
use engine::{AdamW, Cpu, Plan, PlanId, Session, SessionOptions, Sgd, Statistics, Step};
use kernels::simd::Isa;
use model::ResConvConfig;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use tests::fixture::{Fixture, elements, initialize, uniform};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let fixture = Fixture::new(ResConvConfig { layers: 3, ..ResConvConfig::default() }, [8, 32, 32]);
    let (training, evaluation) = (PlanId(0), PlanId(1));
    let plans = [
        Plan::training(&fixture.graph, fixture.loss).unwrap(),
        Plan::inference(&fixture.graph, &[fixture.loss], Statistics::Running).unwrap(),
    ];
    let images = elements::<Cpu>(&uniform(1, fixture.graph.shape(fixture.image).len(), 0.0, 1.0));
    // Threads allocate while they start and end, which takes some time. So pools are kept until the end, and measuring
    // begins as soon as one of the first steps allocates nothing.
    let mut done = Vec::new();
    let mut losses = Vec::new();
    for isa in Isa::available() {
        for threads in [1, 2] {
            let cpu = Cpu::with_isa(isa, threads).unwrap();
            let options = SessionOptions { accumulate: true, average: true };
            let mut session = Session::with_options(cpu, Arc::new(Alone), plans.to_vec(), options).unwrap();
            initialize(&mut session, 0);
            for plan in [training, evaluation] {
                fixture.write_inputs(&mut session, plan, 0);
            }
            let counted: Stats = session.enter(|session| {
                let mut steps = |number: usize| {
                    let region = Region::new(ALLOCATOR);
                    for _ in 0..number {
                        session.write_input(training, fixture.image, &images).unwrap();
                        session.start_step(training, &Step::new(AdamW::default(), 3e-4)).unwrap();
                        assert!(session.finish_steps(&mut losses) && losses[0].is_finite());
                        session.accumulate(training, 1.0).unwrap();
                        let step = Step::new(Sgd { momentum: 0.9, ..Sgd::default() }, 1e-3);
                        let step = Step { clip_norm: Some(0.1), average: Some(0.9), ..step };
                        session.start_accumulated_step(&step).unwrap();
                        assert!(session.finish_steps(&mut losses) && losses[0].is_finite());
                        session.run(evaluation).unwrap();
                        assert!(session.loss(evaluation).unwrap().is_finite());
                    }
                    region.change()
                };
                (0..20).find(|_| steps(1) == Stats::default());
                steps(20)
            });
            assert_eq!(counted, Stats::default(), "20 steps of cpu-{isa} on {threads} threads");
            done.push(session);
        }
    }
    // The counter does count.
    let region = Region::new(ALLOCATOR);
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!((region.change().allocations, region.change().bytes_deallocated), (1, 100));
    println!("steps after the first allocate nothing ... ok");
}
