//! The plans of a session: the network on batches of the sizes that a run needs.

use crate::settings::{LossSetting, Settings};
use crate::system::ranks::Ranks;
use crate::train::backend::ImageBackend;
use engine::collective::CollectiveError;
use engine::{Graph, NodeId, Plan, PlanId, PlanOptions, Session, Statistics};
use model::ResConv;
use std::ops::Range;

/// What a plan computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PlanKind {
    /// The loss and the gradients of the parameters.
    Training,
    /// The output.
    Inference(Statistics),
}

/// One plan of a session, with the nodes that a caller writes and reads.
#[derive(Clone, Debug)]
pub(crate) struct NetworkPlan {
    /// The plan in its session.
    pub id: PlanId,
    /// Images of the batch.
    pub batch: usize,
    /// Those of them that this rank computes: all, unless there are other ranks.
    pub images: Range<usize>,
    input: NodeId,
    target: NodeId,
    output: NodeId,
}

/// The network or a plan of it cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The network's settings contradict each other, or do not fit the images.
    #[error("the network cannot be built: {}", with_source(.0))]
    Model(Box<model::Error>),
    /// The devices of other ranks cannot be reached.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// The engine failed, or there is not enough memory.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

impl From<model::Error> for PlanError {
    fn from(error: model::Error) -> PlanError {
        PlanError::Model(Box::new(error))
    }
}

fn with_source(error: &model::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The plans that a session is going to have, all of one network.
#[derive(Debug)]
pub(crate) struct Plans {
    network: ResConv,
    loss: LossSetting,
    size: usize,
    ranks: Ranks,
    plans: Vec<Plan>,
}

impl Plans {
    /// No plans yet, of the network of `settings` on images of their size.
    ///
    /// # Errors
    /// If the settings contradict each other.
    pub(crate) fn new(settings: &Settings) -> Result<Plans, PlanError> {
        Plans::for_rank(settings, Ranks::default())
    }

    /// As [`new`](Self::new), for one of several ranks: its training plans compute its share of every batch.
    pub(crate) fn for_rank(settings: &Settings, ranks: Ranks) -> Result<Plans, PlanError> {
        let network = ResConv::new(settings.network.clone())?;
        let Settings { training, .. } = settings;
        Ok(Plans { network, loss: training.loss, size: training.size, ranks, plans: Vec::new() })
    }

    /// The network.
    pub(crate) fn network(&self) -> &ResConv {
        &self.network
    }

    /// Adds a plan for batches of `batch` images.
    ///
    /// # Errors
    /// If the images are too small for a layer.
    pub(crate) fn add(&mut self, kind: PlanKind, batch: usize) -> Result<NetworkPlan, PlanError> {
        self.add_sized(kind, batch, [self.size; 2])
    }

    /// As [`add`](Self::add), for images of another height and width.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(crate) fn add_sized(
        &mut self,
        kind: PlanKind,
        batch: usize,
        [height, width]: [usize; 2],
    ) -> Result<NetworkPlan, PlanError> {
        let mut graph = Graph::new();
        let part = self.ranks.part(batch).filter(|_| kind == PlanKind::Training);
        let images = part.map_or(0..batch, |part| part.images());
        let config = self.network.config();
        let shape = |channels| [images.len(), height, width, channels];
        let input = graph.input("input", shape(config.in_channels))?;
        let target = graph.input("target", shape(config.out_channels))?;
        let output = self.network.record(&mut graph, input)?;
        let plan = match kind {
            PlanKind::Training => {
                let loss = match self.loss {
                    LossSetting::L1 => graph.l1_loss(output, target)?,
                    LossSetting::Mse => graph.mse_loss(output, target)?,
                    LossSetting::Charbonnier => graph.charbonnier_loss(output, target)?,
                    LossSetting::Ssim => {
                        let (l1, ssim) = (graph.l1_loss(output, target)?, graph.ssim(output, target)?);
                        graph
                            .weighted_sum(&[(l1, 1.0 - LossSetting::SSIM_WEIGHT), (ssim, -LossSetting::SSIM_WEIGHT)])?
                    }
                };
                match part {
                    Some(part) => Plan::training_part(&graph, loss, part, &PlanOptions::default())?,
                    None => Plan::training(&graph, loss)?,
                }
            }
            PlanKind::Inference(statistics) => Plan::inference(&graph, &[output], statistics)?,
        };
        self.plans.push(plan);
        Ok(NetworkPlan { id: PlanId(self.plans.len() - 1), batch, images, input, target, output })
    }

    /// Adds the plans of one kind that `images` images need in batches of `batch`: one for the full batches, if there
    /// are any, and one for a smaller last batch, if there is one.
    pub(crate) fn cover(&mut self, kind: PlanKind, batch: usize, images: u64) -> Result<Vec<NetworkPlan>, PlanError> {
        let full = (images >= batch as u64).then_some(batch);
        let rest = (images % batch as u64) as usize;
        full.into_iter().chain((rest > 0).then_some(rest)).map(|batch| self.add(kind, batch)).collect()
    }

    /// Changes the plans so that the passes of a fused layer run one after another.
    pub(crate) fn separate_passes(&mut self) -> Result<(), PlanError> {
        for plan in &mut self.plans {
            *plan = plan.fused(false)?;
        }
        Ok(())
    }

    /// Changes the plans so that each needs at most `mib` MiB on the backend. What does not fit is computed again. 0 is
    /// no limit.
    ///
    /// # Errors
    /// If a plan needs more even then.
    pub(crate) fn limit_memory<B: ImageBackend>(&mut self, backend: &B, mib: usize) -> Result<(), PlanError> {
        if mib > 0 {
            for plan in &mut self.plans {
                *plan = plan.within(backend, mib << 20)?;
            }
        }
        Ok(())
    }

    /// The steps of a plan.
    pub(crate) fn plan(&self, plan: &NetworkPlan) -> &Plan {
        &self.plans[plan.id.0]
    }

    /// The session with these plans. Its memory is allocated, but not initialized.
    ///
    /// # Errors
    /// If the device does not have enough memory, or cannot reach those of other ranks.
    pub(crate) fn session<B: ImageBackend>(self, backend: B) -> Result<Session<B>, PlanError> {
        let ranks = self.ranks.collective(&backend)?;
        Ok(Session::distributed(backend, ranks, self.plans)?)
    }
}

impl NetworkPlan {
    /// Writes the images of a training plan, and what they should become.
    ///
    /// # Errors
    /// If this is not a training plan, or the slices are not of its batch.
    pub(crate) fn write<B: ImageBackend>(
        &self,
        session: &mut Session<B>,
        input: &[B::Element],
        target: &[B::Element],
    ) -> engine::Result<()> {
        session.write_input(self.id, self.input, input)?;
        session.write_input(self.id, self.target, target)
    }

    /// Runs a training plan: the loss of `input` against `target`, and the gradients.
    pub(crate) fn train<B: ImageBackend>(
        &self,
        session: &mut Session<B>,
        input: &[B::Element],
        target: &[B::Element],
    ) -> engine::Result<f64> {
        self.write(session, input, target)?;
        session.run(self.id)?;
        session.loss(self.id)
    }

    /// Runs an inference plan: writes the network's output for `input` to `output`.
    ///
    /// # Errors
    /// If this is not an inference plan, or the slices are not of its batch.
    pub(crate) fn infer<B: ImageBackend>(
        &self,
        session: &mut Session<B>,
        input: &[B::Element],
        output: &mut [B::Element],
    ) -> engine::Result<()> {
        session.write_input(self.id, self.input, input)?;
        session.run(self.id)?;
        session.read(self.id, self.output, output)
    }
}
