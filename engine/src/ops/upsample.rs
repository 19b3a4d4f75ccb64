//! Images of another size.

use super::prelude::*;
use kernels::upsample::{self, SizeError, UpsampleParams, Upsampling};

impl Graph {
    /// `x [N, H, W, C]` as larger or smaller images `[N, size[0], size[1], C]`: [`kernels::upsample`] has the
    /// equations. PyTorch's `interpolate` with a size and `align_corners=False`.
    ///
    /// # Errors
    /// If `x` is no image, or a size is 0.
    pub fn upsample(&mut self, x: NodeId, size: [usize; 2], upsampling: Upsampling) -> Result<NodeId> {
        self.record("upsample", Upsample { size, upsampling }, &[x])
    }

    /// `x [N, H, W, C]` as images `factor` times as high and as wide.
    ///
    /// # Errors
    /// As [`upsample`](Graph::upsample), for `factor` 0.
    pub fn upsample_by(&mut self, x: NodeId, factor: usize, upsampling: Upsampling) -> Result<NodeId> {
        self.check(x)?;
        let size = match self.shape(x).dims() {
            &[_, h, w, _] => [h, w].map(|size| size.saturating_mul(factor)),
            _ => [1; 2], // refused below
        };
        self.upsample(x, size, upsampling)
    }
}

/// [`Graph::upsample`]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upsample {
    size: [usize; 2],
    upsampling: Upsampling,
}

impl Upsample {
    fn params(&self, x: Shape) -> std::result::Result<UpsampleParams, SizeError> {
        let &[n, h, w, c] = x.dims() else { unreachable!("the shape rule refuses {x}") };
        UpsampleParams::new(self.upsampling, [n, h, w, c], self.size)
    }

    /// For an input that has been checked.
    fn checked(&self, x: Shape) -> UpsampleParams {
        self.params(x).expect("checked when it was recorded")
    }
}

impl Operation for Upsample {
    fn kind(&self) -> &'static str {
        "upsample"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let [n, _, _, c] = arguments.dims(0, "x", "[N, H, W, C]")?;
        self.params(arguments.shape(0)).map_err(|error| arguments.wrong_params(error))?;
        Ok([n, self.size[0], self.size[1], c].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        cx.emit(upsample::Forward { params: self.checked(cx.shape(0)), x: cx.input(0), y: cx.output() });
    }

    /// Reads only `dy`.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (params, dy, (dx, write)) = (self.checked(cx.shape(0)), cx.dy(), cx.gradient(0));
        cx.emit(upsample::Backward { params, dy, dx, write });
    }
}

impl Cases for Upsample {
    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for upsampling in [Upsampling::Nearest, Upsampling::Bilinear] {
            let op = |size| Upsample { size, upsampling };
            // Larger in one direction, smaller in the other; one pixel; pixels that no output pixel is in
            for (x, size) in [([2, 3, 5, 2], [7, 4]), ([1, 1, 1, 9], [3, 2]), ([1, 6, 7, 3], [2, 3])] {
                cases.push(case(x, op(size)));
            }
            let twice = move |graph: &mut Graph, a: &[NodeId]| graph.upsample_by(a[0], 2, upsampling);
            let detail = format!("{upsampling:?} by 2");
            cases.push(Case::new("upsample", detail, &[("x", [2, 2, 3, 3].into())], twice).linear_in(&[&[0]]));
        }
        cases
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let mut draw = |upsampling| {
            let [h, w] = random.pair(1..=7);
            let x = [random.within(1..=3), h, w, random.within(1..=9)];
            case(x, Upsample { size: random.pair(1..=9), upsampling })
        };
        [Upsampling::Nearest, Upsampling::Bilinear].map(&mut draw).into()
    }
}

fn case(x: [usize; 4], op: Upsample) -> Case {
    let Upsample { size, upsampling } = op;
    let detail = format!("{upsampling:?} {x:?} to {size:?}");
    Case::new("upsample", detail, &[("x", x.into())], move |graph, a| graph.upsample(a[0], size, upsampling))
        .linear_in(&[&[0]])
}
