//! Memory of a training step. This file has one test, as the memory of its process is measured.

use engine::{Cpu, Plan, PlanId, Session};
use model::ResConvConfig;
use tests::fixture::{Fixture, initialize, training_step};

const MIB: usize = 1 << 20;

/// 15 layers on 64 images of 32x32: at most 600 MiB in the session, and 800 MiB in the process.
#[test]
fn the_studys_best_network_trains_in_little_memory() {
    let backend = Cpu::new(2).unwrap();
    let fixture = Fixture::new(ResConvConfig::default(), [64, 32, 32]);
    let plan = Plan::training(&fixture.graph, fixture.loss).unwrap();
    let report = plan.memory(&backend);
    println!("{report}");
    assert!(report.total() <= 600 * MIB, "{report}");
    // The weights of the study's table, in f32; they are padded to whole cache lines.
    let weights = fixture.network.parameter_count() * 4;
    assert!((weights..weights + 120 * 64).contains(&report.parameters), "{report}");

    let mut session = Session::new(backend, vec![plan]).unwrap();
    assert_eq!(session.memory(), report);
    initialize(&mut session, 0);
    fixture.write_inputs(&mut session, PlanId(0), 0);
    assert!(training_step(&mut session, PlanId(0)).is_finite());
    if let Some(peak) = peak_resident_bytes() {
        println!("peak resident: {} MiB", peak / MIB);
        assert!(
            peak <= 800 * MIB,
            "{} MiB are resident, of which the session has {} MiB",
            peak / MIB,
            report.total() / MIB
        );
        assert!(peak >= report.arena / 2, "{peak} bytes are resident, fewer than the session used");
    }
}

/// Peak resident memory of this process, if the system reports it (Linux).
fn peak_resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
