//! The plans of a session: the network on batches of the sizes that a run needs.

use crate::system::ranks::Ranks;
use crate::train::device::Compute;
use engine::collective::CollectiveError;
use engine::{Graph, NodeId, Plan, PlanId, PlanOptions, Session, Statistics};
use model::{ResConv, ResConvConfig};
use std::ops::Range;

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The loss and the gradients of the parameters.
    Training,
    /// The output.
    Inference(Statistics),
}

/// One plan of a session, and the nodes that a caller writes and reads.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The plan.
    pub plan: PlanId,
    /// Images of the batch.
    pub batch: usize,
    /// Those of them that it takes: all, unless other ranks take the others.
    pub images: Range<usize>,
    input: NodeId,
    target: NodeId,
    output: NodeId,
}

/// The network or a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The network's settings contradict each other, or the images.
    #[error("the network cannot be built: {}", with_source(.0))]
    Model(Box<model::Error>),
    /// There are other ranks, and their devices cannot be reached.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// The engine refused, or memory did not suffice.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

impl From<model::Error> for PassError {
    fn from(error: model::Error) -> PassError {
        PassError::Model(Box::new(error))
    }
}

fn with_source(error: &model::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The passes that a session is going to have, all of one network.
#[derive(Debug)]
pub struct Passes {
    network: ResConv,
    size: usize,
    ranks: Ranks,
    plans: Vec<Plan>,
}

impl Passes {
    /// None yet, of the network of `config` on images of `size` x `size` pixels.
    ///
    /// # Errors
    /// If the settings contradict each other.
    pub fn new(config: &ResConvConfig, size: usize) -> Result<Passes, PassError> {
        Passes::of_rank(config, size, Ranks::default())
    }

    /// As [`new`](Self::new), for one of several ranks: its training passes take its part of every batch.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_rank(config: &ResConvConfig, size: usize, ranks: Ranks) -> Result<Passes, PassError> {
        Ok(Passes { network: ResConv::new(config.clone())?, size, ranks, plans: Vec::new() })
    }

    /// The network.
    pub fn network(&self) -> &ResConv {
        &self.network
    }

    /// Adds a pass over `batch` images.
    ///
    /// # Errors
    /// If the images are too small for a layer.
    pub fn add(&mut self, kind: Kind, batch: usize) -> Result<Pass, PassError> {
        let mut graph = Graph::new();
        let part = self.ranks.part(batch).filter(|_| kind == Kind::Training);
        let images = part.map_or(0..batch, |part| part.images());
        let shape = [images.len(), self.size, self.size, 1];
        let input = graph.input("input", shape)?;
        let target = graph.input("target", shape)?;
        let output = self.network.record(&mut graph, input)?;
        let plan = match kind {
            Kind::Training => {
                let loss = graph.l1_loss(output, target)?;
                match part {
                    Some(part) => Plan::training_part(&graph, loss, part, &PlanOptions::default())?,
                    None => Plan::training(&graph, loss)?,
                }
            }
            Kind::Inference(statistics) => Plan::inference(&graph, &[output], statistics)?,
        };
        self.plans.push(plan);
        Ok(Pass { plan: PlanId(self.plans.len() - 1), batch, images, input, target, output })
    }

    /// Adds passes of one kind for `images` images in batches of `batch`, of which the last may be smaller: one pass, or two.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn cover(&mut self, kind: Kind, batch: usize, images: u64) -> Result<Vec<Pass>, PassError> {
        let full = (images >= batch as u64).then_some(batch);
        let rest = (images % batch as u64) as usize;
        full.into_iter().chain((rest > 0).then_some(rest)).map(|batch| self.add(kind, batch)).collect()
    }

    /// Plans so that a session of any one pass needs no more than `mib` MiB on the backend, by computing again what does not fit; 0 is
    /// no limit.
    ///
    /// # Errors
    /// If that is not enough.
    pub fn limit_memory<B: Compute>(&mut self, backend: &B, mib: usize) -> Result<(), PassError> {
        if mib > 0 {
            for plan in &mut self.plans {
                *plan = plan.within(backend, mib << 20)?;
            }
        }
        Ok(())
    }

    /// The plan of a pass.
    pub fn plan(&self, pass: &Pass) -> &Plan {
        &self.plans[pass.plan.0]
    }

    /// The session with these passes, its memory allocated but not initialized.
    ///
    /// # Errors
    /// If the device has not enough memory, or cannot reach those of other ranks.
    pub fn session<B: Compute>(self, backend: B) -> Result<Session<B>, PassError> {
        let ranks = self.ranks.collective(&backend)?;
        Ok(Session::distributed(backend, ranks, self.plans)?)
    }
}

impl Pass {
    /// Writes the images of a training pass, and what they should become.
    ///
    /// # Errors
    /// If this is no training pass, or the slices are not of its batch.
    pub fn write<B: Compute>(
        &self,
        session: &mut Session<B>,
        input: &[B::Element],
        target: &[B::Element],
    ) -> engine::Result<()> {
        session.write_input(self.plan, self.input, input)?;
        session.write_input(self.plan, self.target, target)
    }

    /// One training pass: the loss of `input` against `target`, and the gradients.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn train<B: Compute>(
        &self,
        session: &mut Session<B>,
        input: &[B::Element],
        target: &[B::Element],
    ) -> engine::Result<f64> {
        self.write(session, input, target)?;
        session.run(self.plan)?;
        Ok(session.loss(self.plan))
    }

    /// One inference pass: writes the network's output for `input` to `output`.
    ///
    /// # Errors
    /// If this is no inference pass, or the slices are not of its batch.
    pub fn infer<B: Compute>(
        &self,
        session: &mut Session<B>,
        input: &[B::Element],
        output: &mut [B::Element],
    ) -> engine::Result<()> {
        session.write_input(self.plan, self.input, input)?;
        session.run(self.plan)?;
        session.read(self.plan, self.output, output)
    }
}
