//! Every operation's gradients against finite differences.
use engine::gradcheck::{self, GradcheckOptions};

#[test]
fn every_operation() {
    for case in gradcheck::cases() {
        let report = gradcheck::check(&case.graph, case.output, &GradcheckOptions::default()).unwrap();
        println!("{}\n{report}\n", case.name);
        assert!(report.passed(), "{}\n{report}", case.name);
    }
}
