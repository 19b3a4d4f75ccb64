//! NaN and infinity are found, and traced to the pass that computed them.

use super::common::{network, numbers, snapshot};
use engine::*;

const PLAN: PlanId = PlanId(0);

/// A session of the network with inputs, after one run.
fn session() -> (Session<Reference>, NodeId) {
    let network = network(1);
    let mut session = Session::new(Reference, vec![Plan::training(&network.graph, network.loss).unwrap()]).unwrap();
    session.initialize(1);
    session.write_input(PLAN, network.x, &numbers(60, 1)).unwrap();
    session.write_input(PLAN, network.target, &numbers(36, 2)).unwrap();
    session.run(PLAN).unwrap();
    (session, network.x)
}

#[test]
fn finite_runs_are_found_to_be_so() {
    let (mut session, _) = session();
    assert_eq!(session.find_non_finite(PLAN).unwrap(), None);
}

#[test]
fn what_was_given_is_named() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let (mut session, x) = session();
        let mut values = numbers(60, 1);
        values[59] = bad;
        session.write_input(PLAN, x, &values).unwrap();
        let found = session.find_non_finite(PLAN).unwrap();
        assert_eq!(found, Some(NonFinite::Given { name: "x".to_owned() }));
        session.write_input(PLAN, x, &numbers(60, 1)).unwrap();
        session.set_tensor("stem.conv.bias", &[0.0, 0.0, 0.0, bad]).unwrap();
        let found = session.find_non_finite(PLAN).unwrap();
        assert_eq!(found, Some(NonFinite::Given { name: "stem.conv.bias".to_owned() }));
    }
}

#[test]
fn the_first_pass_that_overflows_is_named() {
    let (mut session, _) = session();
    // The stem's convolution is the first to multiply by them: 1e300 * 1e300 is out of range only in the next one.
    session.set_tensor("stem.conv.weight", &numbers(72, 3).iter().map(|w| w * 1e300).collect::<Vec<_>>()).unwrap();
    session.set_tensor("gate.weight", &[1e300; 16]).unwrap();
    let Some(NonFinite::Computed { op, node, phase, .. }) = session.find_non_finite(PLAN).unwrap() else {
        panic!("a pass overflows");
    };
    assert_eq!((op, phase), ("conv2d.forward", Phase::Forward));
    assert_eq!(node, "gate.conv", "not the convolutions before and after it");
}

#[test]
fn a_search_leaves_parameters_and_states_as_they_were() {
    let (mut session, _) = session();
    let before = snapshot(&session);
    session.set_tensor("gate.weight", &[f64::NAN; 16]).unwrap();
    session.find_non_finite(PLAN).unwrap().expect("a weight that is NaN");
    let weight = before.iter().find(|(name, _)| name == "gate.weight").expect("a parameter of the network");
    session.set_tensor("gate.weight", &weight.1[0]).unwrap();
    assert_eq!(snapshot(&session), before);
}
