//! Max and average pooling.

use super::prelude::*;
use kernels::Span;
use kernels::pool2d::{self, PoolParams, Pooling};

/// Parameters of [`Graph::max_pool2d`] and [`Graph::avg_pool2d`]: height and width, or rows and columns, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Size of a window.
    pub kernel: [usize; 2],
    /// Distance from one window to the next.
    pub stride: [usize; 2],
    /// Pixels around the image, at most half a window.
    pub padding: [usize; 2],
}

impl Pool2d {
    /// Square windows side by side: PyTorch's defaults.
    pub fn square(size: usize) -> Pool2d {
        Pool2d { kernel: [size; 2], stride: [size; 2], padding: [0; 2] }
    }
}

impl Graph {
    /// The largest value of each window of `x [N, H, W, C]`, channel by channel, giving `[N, P, Q, C]`:
    /// [`kernels::pool2d`] has the equations. Padding counts as minus infinity. The gradient goes to the first of equal
    /// values, as in PyTorch.
    ///
    /// # Errors
    /// If the window is empty or larger than the padded image, or the padding more than half of it.
    pub fn max_pool2d(&mut self, x: NodeId, params: Pool2d) -> Result<NodeId> {
        self.record("max_pool2d", PoolOp { pooling: Pooling::Max, params }, &[x])
    }

    /// The average of each window of `x [N, H, W, C]`. The padding counts as zeros if `count_padding` (PyTorch's
    /// `count_include_pad`, and its default), and not at all otherwise.
    ///
    /// # Errors
    /// As [`max_pool2d`](Graph::max_pool2d).
    pub fn avg_pool2d(&mut self, x: NodeId, params: Pool2d, count_padding: bool) -> Result<NodeId> {
        let pooling = if count_padding { Pooling::Average } else { Pooling::AverageInside };
        self.record("avg_pool2d", PoolOp { pooling, params }, &[x])
    }

    /// The average over all pixels of `x [N, H, W, C]`, giving `[N, 1, 1, C]`.
    ///
    /// # Errors
    /// If `x` is not an image.
    pub fn global_avg_pool2d(&mut self, x: NodeId) -> Result<NodeId> {
        self.check(x)?;
        let size = match self.shape(x).dims() {
            &[_, h, w, _] => [h, w],
            _ => [1; 2], // refused below
        };
        self.avg_pool2d(x, Pool2d { kernel: size, stride: [1; 2], padding: [0; 2] }, true)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolOp {
    pooling: Pooling,
    params: Pool2d,
}

impl PoolOp {
    fn params(&self, x: Shape) -> std::result::Result<PoolParams, pool2d::ShapeError> {
        let &[n, h, w, c] = x.dims() else { unreachable!("the shape rule refuses {x}") };
        let Pool2d { kernel, stride, padding } = self.params;
        PoolParams::new(self.pooling, [n, h, w, c], kernel, stride, padding)
    }

    /// For an input that has been checked.
    fn checked(&self, x: Shape) -> PoolParams {
        self.params(x).expect("checked when it was recorded")
    }
}

impl Operation for PoolOp {
    fn kind(&self) -> &'static str {
        match self.pooling {
            Pooling::Max => "max_pool2d",
            Pooling::Average | Pooling::AverageInside => "avg_pool2d",
        }
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        arguments.dims::<4>(0, "x", "[N, H, W, C]")?;
        let p = self.params(arguments.shape(0)).map_err(|error| arguments.wrong_params(error))?;
        Ok([p.n, p.output[0], p.output[1], p.c].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        cx.emit(pool2d::Forward { params: self.checked(cx.shape(0)), x: cx.input(0), y: cx.output() });
    }

    /// Reads `dy`; for the largest value also `x`.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let params = self.checked(cx.shape(0));
        let x = if self.pooling == Pooling::Max { cx.input(0) } else { Span::EMPTY };
        let (dy, (dx, write)) = (cx.dy(), cx.gradient(0));
        cx.emit(pool2d::Backward { params, x, dy, dx, write });
    }
}

impl Cases for PoolOp {
    fn cases() -> Vec<Case> {
        let op = |pooling, kernel, stride, padding| PoolOp { pooling, params: Pool2d { kernel, stride, padding } };
        let mut cases = Vec::new();
        for pooling in [Pooling::Max, Pooling::Average, Pooling::AverageInside] {
            cases.push(case([2, 4, 6, 3], op(pooling, [2, 2], [2, 2], [0, 0])));
            // Windows that overlap, and some that lie partly outside
            cases.push(case([1, 5, 4, 2], op(pooling, [3, 3], [2, 1], [1, 1])));
            // Pixels that no window covers
            cases.push(case([1, 7, 5, 9], op(pooling, [2, 1], [3, 2], [0, 0])));
        }
        let global = [("x", [2, 3, 4, 3].into())];
        cases.push(
            Case::new("avg_pool2d", "global", &global, |graph, a| graph.global_avg_pool2d(a[0])).linear_in(&[&[0]]),
        );
        cases
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let poolings = [Pooling::Max, Pooling::Average, Pooling::AverageInside];
        let draw = |pooling| loop {
            let [h, w] = random.pair(1..=9);
            let x = [random.within(1..=3), h, w, random.within(1..=9)];
            let (kernel, stride, padding) = (random.pair(1..=4), random.pair(1..=4), random.pair(0..=2));
            if PoolParams::new(pooling, x, kernel, stride, padding).is_ok() {
                break case(x, PoolOp { pooling, params: Pool2d { kernel, stride, padding } });
            }
        };
        poolings.map(draw).into()
    }
}

fn case(x: [usize; 4], op: PoolOp) -> Case {
    let Pool2d { kernel, stride, padding } = op.params;
    let inside = if op.pooling == Pooling::AverageInside { " inside" } else { "" };
    let detail = format!("{x:?} kernel {kernel:?} stride {stride:?} padding {padding:?}{inside}");
    let case = Case::new(op.kind(), detail, &[("x", x.into())], move |graph, a| match op.pooling {
        Pooling::Max => graph.max_pool2d(a[0], op.params),
        pooling => graph.avg_pool2d(a[0], op.params, pooling == Pooling::Average),
    });
    if op.pooling == Pooling::Max { case } else { case.linear_in(&[&[0]]) }
}
