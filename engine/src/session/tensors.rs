//! Parameters, states, gradients and optimizer state of a session.

use super::Session;
use super::ready::check_len;
use crate::graph::TensorInfo;
use crate::regions::{AVERAGES, FIRST_MOMENTS, GRADIENTS, PARAMETERS, SECOND_MOMENTS};
use crate::{Error, Result};
use kernels::{Backend, Element, Region, Span};

impl<B: Backend> Session<B> {
    /// Gives every parameter and state its initial values, from its [`Init`](crate::Init) and the seed, and sets the
    /// optimizer's state and step to 0; averages become the parameters. The seed is also that of [random
    /// slopes](crate::Graph::rrelu); without this call it is 0. [`finish_steps`](Self::finish_steps) will not report
    /// training steps started before.
    pub fn initialize(&mut self, seed: u64) {
        for (stream, (tensor, &place)) in self.tensors.iter().zip(&self.layout.spans).enumerate() {
            let values = tensor.init.values(place.len, seed, stream as u64);
            let values: Vec<B::Element> = values.into_iter().map(B::Element::from_f64).collect();
            self.backend.write(&mut self.memory, place, &values);
        }
        for region in [FIRST_MOMENTS, SECOND_MOMENTS] {
            let all = Span::new(region, 0, self.layout.trained);
            self.backend.fill(&mut self.memory, all, 0.0);
        }
        self.begin_averages();
        self.continue_from([0, 0, seed]);
    }

    /// Makes the averages, if the session keeps them, the parameters.
    pub(super) fn begin_averages(&mut self) {
        if self.options.average {
            self.copy(self.trained(PARAMETERS), self.trained(AVERAGES));
        }
    }

    /// Sets what a session counts, and forgets what it was about to do. Numbers are optimizer steps, training runs and
    /// the seed.
    pub(super) fn continue_from(&mut self, [step, runs, seed]: [u64; 3]) {
        self.set_optimizer_step(step);
        (self.training_runs, self.seed) = (runs, seed);
        (self.has_gradients, self.has_norm, self.is_swapped) = (false, false, false);
    }

    /// Parameters and states in the order of recording. Their nodes are those of the first plan's graph.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Elements of a parameter or state.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn tensor(&self, name: &str) -> Result<Vec<B::Element>> {
        Ok(self.fetch(self.find(name)?.1))
    }

    /// Sets the elements of a parameter or state. The average of the parameter, if the session keeps one, becomes the
    /// same.
    ///
    /// # Errors
    /// If there is none of this name, or it has another number of elements.
    pub fn set_tensor(&mut self, name: &str, data: &[B::Element]) -> Result<()> {
        let (tensor, place) = self.find(name)?;
        check_len(name, tensor.shape, data.len())?;
        let has_average = tensor.trained && self.options.average;
        self.backend.write(&mut self.memory, place, data);
        if has_average {
            self.backend.write(&mut self.memory, Span { region: AVERAGES, ..place }, data);
        }
        Ok(())
    }

    /// Average of a parameter: what steps with [`Step::average`](crate::Step::average) have left.
    ///
    /// # Errors
    /// If the session keeps no [averages](crate::SessionOptions::average), there is no parameter of this name, or it is
    /// frozen.
    pub fn average(&self, name: &str) -> Result<Vec<B::Element>> {
        self.check_average()?;
        Ok(self.fetch(self.find_parameter(name, AVERAGES)?.1))
    }

    /// Sets the average of a parameter. [`set_tensor`](Self::set_tensor) sets it, too, so a checkpoint's averages are
    /// set after its parameters.
    ///
    /// # Errors
    /// As [`average`](Self::average); also if the parameter has another number of elements.
    pub fn set_average(&mut self, name: &str, data: &[B::Element]) -> Result<()> {
        self.check_average()?;
        let (tensor, place) = self.find_parameter(name, AVERAGES)?;
        check_len(name, tensor.shape, data.len())?;
        self.backend.write(&mut self.memory, place, data);
        Ok(())
    }

    /// Gradient of a parameter, from the last run of a plan with gradients. A step with a
    /// [`clip_norm`](crate::Step::clip_norm) may have scaled it down since.
    ///
    /// # Errors
    /// If there is no parameter of this name, or it is frozen.
    pub fn gradient(&self, name: &str) -> Result<Vec<B::Element>> {
        Ok(self.fetch(self.find_parameter(name, GRADIENTS)?.1))
    }

    /// Optimizer state of a parameter: the first and second moments of AdamW, or the momentum buffer of SGD and zeros.
    ///
    /// # Errors
    /// If there is no parameter of this name, or it is frozen.
    pub fn optimizer_state(&self, name: &str) -> Result<[Vec<B::Element>; 2]> {
        let [first, second] = [FIRST_MOMENTS, SECOND_MOMENTS].map(|region| self.find_parameter(name, region));
        Ok([self.fetch(first?.1), self.fetch(second?.1)])
    }

    /// Sets the optimizer state of a parameter, as [`optimizer_state`](Self::optimizer_state) returns it.
    ///
    /// # Errors
    /// If there is no parameter of this name, it is frozen, or it has another number of elements.
    pub fn set_optimizer_state(&mut self, name: &str, moments: [&[B::Element]; 2]) -> Result<()> {
        for data in moments {
            check_len(name, self.find_parameter(name, FIRST_MOMENTS)?.0.shape, data.len())?;
        }
        for (region, data) in [FIRST_MOMENTS, SECOND_MOMENTS].into_iter().zip(moments) {
            let (_, place) = self.find_parameter(name, region)?;
            self.backend.write(&mut self.memory, place, data);
        }
        Ok(())
    }

    /// Number of optimizer steps taken.
    pub fn optimizer_step(&self) -> u64 {
        self.optimizer_step
    }

    /// Sets the number of optimizer steps taken, to continue from a checkpoint, and [`training_runs`] to the same: an
    /// optimizer takes a step after every run. [`finish_steps`](Self::finish_steps) will not report training steps
    /// started before.
    ///
    /// [`training_runs`]: Self::training_runs
    pub fn set_optimizer_step(&mut self, step: u64) {
        self.optimizer_step = step;
        self.training_runs = step;
        self.steps_ahead.clear();
        self.accumulated = 0;
        self.failed_step = None;
    }

    /// Number of runs of training plans since [`initialize`](Self::initialize), without those of training steps that
    /// failed. The random numbers of the next one, such as [random slopes](crate::Graph::rrelu), depend on it.
    pub fn training_runs(&self) -> u64 {
        self.training_runs
    }

    /// Sets the number of runs of training plans, to continue with the random numbers of an interrupted training whose
    /// optimizer does not take one step a run.
    pub fn set_training_runs(&mut self, runs: u64) {
        self.training_runs = runs;
    }

    pub(super) fn fetch(&self, place: Span) -> Vec<B::Element> {
        let mut data = vec![B::Element::from_f64(0.0); place.len];
        self.backend.read(&self.memory, place, &mut data);
        data
    }

    /// A parameter or state, and where it lies.
    fn find(&self, name: &str) -> Result<(&TensorInfo, Span)> {
        let mut all = self.tensors.iter().zip(self.layout.spans.iter().copied());
        let found = all.find(|(tensor, _)| tensor.name == name);
        found.ok_or_else(|| Error::UnknownTensor { kind: "parameter or state", name: name.to_owned() })
    }

    /// A parameter that is trained, and the place of its gradient or moment in this region.
    fn find_parameter(&self, name: &str, region: Region) -> Result<(&TensorInfo, Span)> {
        match self.find(name) {
            Ok((tensor, place)) if tensor.trained => Ok((tensor, Span { region, ..place })),
            Ok((TensorInfo { group: Some(_), .. }, _)) => Err(Error::Frozen { name: name.to_owned() }),
            _ => Err(Error::UnknownTensor { kind: "parameter", name: name.to_owned() }),
        }
    }
}
