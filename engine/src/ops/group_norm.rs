//! Group normalization.

use super::batch_norm::{expect_channels, expect_eps};
use super::conv2d::Conv2d;
use super::prelude::*;
use kernels::group_norm::{self, GroupNormParams};

/// Parameters of [`Graph::group_norm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm {
    /// Groups of channels.
    pub groups: usize,
    /// Added to the variance, for stability.
    pub eps: f64,
}

impl GroupNorm {
    /// With PyTorch's `eps`. With one group it is a layer normalization of the image, with as many as channels an
    /// instance normalization.
    pub fn groups(groups: usize) -> GroupNorm {
        GroupNorm { groups, eps: 1e-5 }
    }

    fn params(&self, x: Shape) -> GroupNormParams {
        let (images, channels) = (x.dims()[0], x.channels());
        let GroupNorm { groups, eps } = *self;
        GroupNormParams { images, rows: x.len() / images / channels, channels, groups, eps }
    }
}

impl Graph {
    /// Group normalization of `x [N, .., C]`, over all dimensions but the first, in groups of neighbouring channels,
    /// with scale `gamma [C]` and offset `beta [C]`: [`kernels::group_norm`] has the equations. Training and inference
    /// are the same.
    ///
    /// # Errors
    /// If `x` has one dimension, `gamma` and `beta` are not `[C]` and different nodes, or the groups do not divide the
    /// channels.
    pub fn group_norm(&mut self, x: NodeId, gamma: NodeId, beta: NodeId, params: GroupNorm) -> Result<NodeId> {
        self.record("group_norm", params, &[x, gamma, beta])
    }
}

impl Operation for GroupNorm {
    fn kind(&self) -> &'static str {
        "group_norm"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let x = arguments.shape(0);
        if x.rank() < 2 {
            return Err(arguments.wrong_shape(0, "x", "[N, .., C]"));
        }
        expect_channels(arguments, 1, "gamma")?;
        expect_channels(arguments, 2, "beta")?;
        if self.groups == 0 || !x.channels().is_multiple_of(self.groups) {
            let message = format!("{} groups must divide the channels, {}", self.groups, x.channels());
            return Err(arguments.wrong_params(message));
        }
        expect_eps(arguments, self.eps)?;
        Ok(x)
    }

    /// Auxiliaries 0 and 1 are the means and the reciprocal standard deviations.
    fn forward(&self, cx: &mut Emitter<'_>) {
        let (params, y) = (self.params(cx.shape(0)), cx.output());
        let [x, gamma, beta] = [0, 1, 2].map(|i| cx.input(i));
        let of_groups = Shape::from([params.images, params.groups]);
        let (mean, rstd) = (cx.new_auxiliary(of_groups), cx.new_auxiliary(of_groups));
        cx.emit(group_norm::Forward { params, x, gamma, beta, mean, rstd, y });
    }

    /// Reads `x`, `gamma` and the auxiliaries, not the output.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (params, dy) = (self.params(cx.shape(0)), cx.dy());
        let (dgamma, dgamma_write) = cx.gradient(1);
        let (dbeta, dbeta_write) = cx.gradient(2);
        let (dx, dx_write) = cx.gradient(0);
        let [x, gamma] = [0, 1].map(|i| cx.input(i));
        let [mean, rstd] = [0, 1].map(|i| cx.auxiliary(i));
        cx.emit(group_norm::Backward {
            params,
            x,
            gamma,
            mean,
            rstd,
            dy,
            dgamma,
            dgamma_write,
            dbeta,
            dbeta_write,
            dx,
            dx_write,
        });
    }

    /// One pass over `x` instead of a tensor as large as `x` that is kept until the backward phase.
    fn recompute(&self, cx: &mut Emitter<'_>) {
        let params = self.params(cx.shape(0));
        let [x, gamma, beta] = [0, 1, 2].map(|i| cx.input(i));
        let [mean, rstd] = [0, 1].map(|i| cx.auxiliary(i));
        let (output, shape) = (cx.output(), cx.output_shape());
        cx.recomputable(output, shape, Effort::Normalization, |y| group_norm::Apply {
            params,
            x,
            gamma,
            beta,
            mean,
            rstd,
            y,
        });
    }
}

impl Cases for GroupNorm {
    fn cases() -> Vec<Case> {
        // The output is recomputed for the backward pass of the convolution after it.
        let arguments =
            [("x", [1, 3, 3, 4].into()), ("gamma", [4].into()), ("beta", [4].into()), ("w", [2, 2, 4, 3].into())];
        let recomputed = Case::new("group_norm", "before conv2d", &arguments, |graph, a| {
            let y = graph.group_norm(a[0], a[1], a[2], GroupNorm::groups(2))?;
            graph.conv2d(y, a[3], None, Conv2d::default())
        });
        vec![
            case([2, 3, 2, 6].into(), GroupNorm { groups: 3, eps: 1e-3 }),
            // Of layers, of instances, and of vectors
            case([2, 2, 3, 4].into(), GroupNorm::groups(1)),
            case([2, 4, 3, 3].into(), GroupNorm::groups(3)),
            case([3, 18].into(), GroupNorm { groups: 2, eps: 0.5 }),
            recomputed,
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let [groups, of_group] = random.pair(1..=4);
        // With few values in a group, the variance can be so small that gradients are little but noise.
        let x = [random.within(1..=3), random.within(3..=5), random.within(3..=5), groups * of_group];
        vec![case(x.into(), GroupNorm { groups, eps: 1e-5 + random.number(1.0).max(0.0) })]
    }
}

fn case(x: Shape, params: GroupNorm) -> Case {
    let channels = Shape::from([x.channels()]);
    let arguments = [("x", x), ("gamma", channels), ("beta", channels)];
    let detail = format!("{x} groups {} eps {:.0e}", params.groups, params.eps);
    Case::new("group_norm", detail, &arguments, move |graph, a| graph.group_norm(a[0], a[1], a[2], params))
}
