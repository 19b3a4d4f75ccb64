//! Central differences.

use super::options::GradcheckOptions;
use super::report::{Row, Worst};
use super::values::{Values, objective_plan};
use crate::ids::{NodeId, PlanId};
use crate::init::Uniform;
use crate::session::Session;
use crate::{Graph, Result};
use kernels::Reference;

/// Share of the objective's magnitude that is added to the gradient's before errors are divided by it.
const FLOOR: f64 = 1e-4;
/// Largest share of a tensor's checked elements that may be skipped for kinks.
const KINK_SHARE: f64 = 0.05;
/// First stream of the random numbers that choose elements.
const CHOICE: u64 = 1 << 62;

/// The objective `f = sum_i c_i y_i` as a function of every leaf.
pub(super) struct Differences<'a> {
    session: Session<Reference>,
    output: NodeId,
    values: &'a Values,
    options: &'a GradcheckOptions,
    buffer: Vec<f64>,
    /// `f` at the values, and `sum_i |c_i y_i|`.
    base: f64,
    magnitude: f64,
}

impl<'a> Differences<'a> {
    pub(super) fn new(
        graph: &Graph,
        output: NodeId,
        options: &'a GradcheckOptions,
        values: &'a Values,
    ) -> Result<Differences<'a>> {
        let mut session = Session::new(Reference, vec![objective_plan(graph, output)?])?;
        for leaf in &values.leaves {
            leaf.write(&mut session, &leaf.values)?;
        }
        let buffer = vec![0.0; graph.shape(output).len()];
        let mut differences = Differences { session, output, values, options, buffer, base: 0.0, magnitude: 0.0 };
        differences.base = differences.objective()?;
        differences.magnitude = differences.terms().map(f64::abs).sum();
        Ok(differences)
    }

    /// Compares a leaf's gradient with central differences.
    pub(super) fn compare(&mut self, leaf: usize, gradient: &[f64]) -> Result<Row> {
        let values = self.values;
        let leaf_values = &values.leaves[leaf];
        let GradcheckOptions { step, tolerance, .. } = *self.options;
        let chosen = self.choose(leaf, gradient.len());
        let mut point = leaf_values.values.clone();
        let mut worst = Worst::default();
        let mut kinks = 0;
        for &i in &chosen {
            let center = point[i];
            let mut at = |x: f64| -> Result<f64> {
                point[i] = x;
                leaf_values.write(&mut self.session, &point)?;
                self.objective()
            };
            let (plus, minus) = (at(center + step)?, at(center - step)?);
            point[i] = center;
            let (got, want) = (gradient[i], (plus - minus) / (2.0 * step));
            // The smallest number avoids 0 / 0 where the objective is 0.
            let scale = got.abs().max(want.abs()) + FLOOR * self.magnitude + f64::MIN_POSITIVE;
            let error = (got - want).abs() / scale;
            let (right, left) = ((plus - self.base) / step, (self.base - minus) / step);
            if error > tolerance && (right - left).abs() > (got - want).abs() {
                kinks += 1;
                continue;
            }
            worst.update(i, error, got, want);
        }
        leaf_values.write(&mut self.session, &leaf_values.values)?;
        let allowed_kinks = ((chosen.len() as f64 * KINK_SHARE) as usize).max(1);
        Ok(Row {
            tensor: leaf_values.name.clone(),
            kind: leaf_values.kind(),
            shape: leaf_values.shape,
            checked: chosen.len(),
            kinks,
            allowed_kinks,
            worst,
            tolerance,
        })
    }

    fn objective(&mut self) -> Result<f64> {
        self.session.run(PlanId(0))?;
        self.session.read(PlanId(0), self.output, &mut self.buffer)?;
        Ok(self.terms().sum())
    }

    fn terms(&self) -> impl Iterator<Item = f64> {
        self.buffer.iter().zip(&self.values.cotangent).map(|(y, c)| y * c)
    }

    /// The elements to check, in ascending order.
    fn choose(&self, leaf: usize, len: usize) -> Vec<usize> {
        let samples = self.options.samples.unwrap_or(len).min(len);
        let mut random = Uniform::new(self.options.seed, CHOICE + leaf as u64);
        let mut indices: Vec<usize> = (0..len).collect();
        for i in 0..samples.min(len - 1) {
            let j = i + random.below(len - i);
            indices.swap(i, j);
        }
        indices.truncate(samples);
        indices.sort_unstable();
        indices
    }
}
