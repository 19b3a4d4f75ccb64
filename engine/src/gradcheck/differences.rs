//! Central differences.

use super::altered::Altered;
use super::kinks::{Run, Stepper};
use super::options::GradcheckOptions;
use super::report::{Row, Worst};
use super::values::{Values, objective_plan};
use crate::ids::{NodeId, PlanId};
use crate::init::Uniform;
use crate::session::Session;
use crate::{Graph, Result};

/// Share of the objective's magnitude that is added to the gradient's before errors are divided by it.
const FLOOR: f64 = 1e-4;
/// First stream of the random numbers that choose elements.
const CHOICE: u64 = 1 << 62;

/// Smallest difference between the slopes on both sides, relative to the larger one, at which kinks are looked for.
const SMALLEST_KINK: f64 = 1e-3;

/// The objective `f = sum_i c_i y_i` as a function of every leaf.
pub(super) struct Differences<'a> {
    session: Session<Altered<Stepper>>,
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
        let mut session = Session::new(Altered(Stepper::new()), vec![objective_plan(graph, output)?])?;
        for leaf in &values.leaves {
            leaf.write(&mut session, &leaf.values)?;
        }
        let buffer = vec![0.0; graph.shape(output).len()];
        let mut differences = Differences { session, output, values, options, buffer, base: 0.0, magnitude: 0.0 };
        differences.base = differences.objective(Run::Base)?;
        differences.magnitude = differences.terms().map(f64::abs).sum();
        Ok(differences)
    }

    /// Compares a leaf's gradient with central differences.
    pub(super) fn compare(&mut self, leaf: usize, gradient: &[f64]) -> Result<Row> {
        let leaf_values = &self.values.leaves[leaf];
        let GradcheckOptions { step, tolerance, .. } = *self.options;
        let chosen = self.choose(leaf, gradient.len());
        let mut worst = Worst::default();
        let mut kinks = 0;
        for &i in &chosen {
            let [right, left] = [self.slope([leaf, i], step, Run::Plain)?, self.slope([leaf, i], -step, Run::Plain)?];
            let (got, mut want) = (gradient[i], (right + left) / 2.0);
            // The smallest number avoids 0 / 0 where the objective is 0.
            let scale = got.abs().max(want.abs()) + FLOOR * self.magnitude + f64::MIN_POSITIVE;
            let margin = tolerance * scale;
            let looks_wrong = (got - want).abs() > margin;
            let sides_differ = (right - left).abs() > SMALLEST_KINK * right.abs().max(left.abs());
            if looks_wrong || sides_differ {
                match self.between_kinks([leaf, i], got, margin)? {
                    Some([smallest, largest]) => {
                        want = got.clamp(smallest, largest);
                        kinks += 1;
                    }
                    None if looks_wrong => want = self.extrapolated([leaf, i], want)?,
                    None => {}
                }
            }
            worst.update(i, (got - want).abs() / scale, got, want);
        }
        leaf_values.write(&mut self.session, &leaf_values.values)?;
        Ok(Row {
            tensor: leaf_values.name.clone(),
            kind: leaf_values.kind(),
            shape: leaf_values.shape,
            checked: chosen.len(),
            kinks,
            worst,
            tolerance,
        })
    }

    /// The smallest and the largest gradient that is right for an element, if there are kinks between its value and a
    /// step further, on either side: the [module](super) says which are. Stops looking once `got` is among them, or
    /// `margin` from that.
    fn between_kinks(&mut self, place: [usize; 2], got: f64, margin: f64) -> Result<Option<[f64; 2]>> {
        let mut sides = Vec::new();
        let [mut smallest, mut largest] = [f64::INFINITY, f64::NEG_INFINITY];
        for step in [self.options.step, -self.options.step] {
            let slope = self.slope(place, step, Run::Step { other_side: None })?;
            sides.push((step, slope, self.session.backend().0.kinks()));
            (smallest, largest) = (smallest.min(slope), largest.max(slope));
        }
        if sides.iter().all(|(_, _, kinks)| kinks.is_empty()) {
            return Ok(None);
        }
        if got < smallest - margin || got > largest + margin {
            for (step, slope, kinks) in sides {
                let [mut below, mut above] = [slope; 2];
                for kink in kinks {
                    let change = self.slope(place, step, Run::Step { other_side: Some(kink) })? - slope;
                    (below, above) = (below + change.min(0.0), above + change.max(0.0));
                }
                (smallest, largest) = (smallest.min(below), largest.max(above));
            }
        }
        Ok((smallest <= largest).then_some([smallest, largest]))
    }

    /// The slope at a place without a kink, from the central difference over a step and that over half a step: their
    /// errors `h^2 f''' / 6` cancel (Richardson extrapolation).
    fn extrapolated(&mut self, place: [usize; 2], over_step: f64) -> Result<f64> {
        let half = self.options.step / 2.0;
        let over_half = (self.slope(place, half, Run::Plain)? + self.slope(place, -half, Run::Plain)?) / 2.0;
        Ok((4.0 * over_half - over_step) / 3.0)
    }

    /// `(f(x + step) - f(x)) / step` for one element of a leaf.
    fn slope(&mut self, [leaf, element]: [usize; 2], step: f64, run: Run) -> Result<f64> {
        let leaf = &self.values.leaves[leaf];
        let mut point = leaf.values.clone();
        point[element] += step;
        leaf.write(&mut self.session, &point)?;
        Ok((self.objective(run)? - self.base) / step)
    }

    fn objective(&mut self, run: Run) -> Result<f64> {
        self.session.backend().0.begin(run);
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
