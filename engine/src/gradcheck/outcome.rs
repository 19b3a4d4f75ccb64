//! [`Outcome`]: the results of a gradient plan.

use super::options::GradcheckOptions;
use super::values::Values;
use crate::ids::{NodeId, PlanId};
use crate::plan::Plan;
use crate::session::Session;
use crate::{Error, Graph, Result};
use kernels::{Backend, Element};

/// The results of a gradient plan.
pub(super) struct Outcome {
    pub(super) output: Vec<f64>,
    /// The gradient of each leaf that has one.
    pub(super) gradients: Vec<Option<Vec<f64>>>,
    /// Each leaf that is a state, after the run.
    pub(super) states: Vec<Option<Vec<f64>>>,
}

/// Runs a gradient plan on a backend.
pub(super) struct Runs<B: Backend> {
    session: Session<B>,
    output: NodeId,
}

impl<B: Backend> Runs<B> {
    pub(super) fn new(
        backend: B,
        graph: &Graph,
        output: NodeId,
        options: &GradcheckOptions,
        values: &Values,
    ) -> Result<Runs<B>> {
        let plan = Plan::gradients(graph, output, true, &options.plan)?;
        let mut session = Session::new(backend, vec![plan])?;
        session.write_cotangent(PlanId(0), &convert::<f64, B::Element>(&values.cotangent))?;
        Ok(Runs { session, output })
    }

    /// The backend.
    pub(super) fn backend(&self) -> &B {
        self.session.backend()
    }

    /// Runs the plan twice, so that anything wrongly left over from the first run shows in the second.
    pub(super) fn outcome(&mut self, values: &Values) -> Result<Outcome> {
        let id = PlanId(0);
        for leaf in &values.leaves {
            leaf.write(&mut self.session, &leaf.values)?;
        }
        self.session.run(id)?;
        self.session.run(id)?;
        let mut output = vec![B::Element::from_f64(0.0); values.cotangent.len()];
        self.session.read(id, self.output, &mut output)?;
        let (mut gradients, mut states) = (Vec::new(), Vec::new());
        for leaf in &values.leaves {
            let (gradient, state) = match leaf.kind() {
                "parameter" => match self.session.gradient(&leaf.name) {
                    Err(Error::Frozen { .. }) => (None, None),
                    gradient => (Some(gradient?), None),
                },
                "state" => (None, Some(self.session.tensor(&leaf.name)?)),
                _ => {
                    let mut gradient = vec![B::Element::from_f64(0.0); leaf.values.len()];
                    self.session.read_gradient(id, leaf.node, &mut gradient)?;
                    (Some(gradient), None)
                }
            };
            gradients.push(gradient.map(|gradient| convert(&gradient)));
            states.push(state.map(|state| convert(&state)));
        }
        Ok(Outcome { output: convert(&output), gradients, states })
    }
}

/// Numbers of one type as numbers of another.
fn convert<A: Element, B: Element>(values: &[A]) -> Vec<B> {
    values.iter().map(|x| B::from_f64(x.to_f64())).collect()
}
