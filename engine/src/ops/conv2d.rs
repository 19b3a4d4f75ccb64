//! Convolution, and the linear layer: a convolution of images of one pixel.

use super::case::MOST_FLOPS;
use super::conv_passes;
use super::layout::{self, WeightAxes};
use super::prelude::*;
use kernels::conv2d::{self, Conv2dParams, ConvPasses};

/// Parameters of [`Graph::conv2d`]. The default is stride 1, no padding, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right.
    pub padding: [usize; 2],
    /// Groups that input and output channels are divided into; there are connections only inside a group.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Conv2d {
        Conv2d { stride: [1, 1], padding: [0, 0], groups: 1 }
    }
}

impl Graph {
    /// Convolution of `x [N, H, W, C]` with `w [R, S, C / groups, K]`, plus `bias [K]`, giving `[N, P, Q, K]` with
    /// `P = (H + 2 padding - R) / stride + 1`, rounded down, and `Q` likewise: [`kernels::conv2d`] has the equations.
    ///
    /// # Errors
    /// If the shapes do not match each other or the parameters.
    pub fn conv2d(&mut self, x: NodeId, w: NodeId, bias: Option<NodeId>, params: Conv2d) -> Result<NodeId> {
        let inputs: Vec<NodeId> = [Some(x), Some(w), bias].into_iter().flatten().collect();
        self.record("conv2d", params, &inputs)
    }

    /// Linear layer: `x [N, C]` times `w [C, K]`, plus `bias [K]`, giving `[N, K]`. It is recorded as a convolution of
    /// one-pixel images.
    ///
    /// # Errors
    /// If the shapes do not match each other.
    pub fn linear(&mut self, x: NodeId, w: NodeId, bias: Option<NodeId>) -> Result<NodeId> {
        let inputs: Vec<NodeId> = [Some(x), Some(w), bias].into_iter().flatten().collect();
        let name = format!("linear_{}", self.len());
        let arguments = Arguments { op: "linear", node: &name, list: &self.arguments(&inputs)? };
        let [_, c] = arguments.dims(0, "x", "[N, C]")?;
        let [rows, k] = arguments.dims(1, "w", "[C, K]")?;
        if rows != c {
            let error = arguments.wrong_shape(1, "w", format!("[{c}, K], as x is {}", arguments.shape(0)));
            let hint = if k == c { "; w looks like PyTorch's [K, C]: transpose it" } else { "" };
            return Err(layout::with_hint(error, hint));
        }
        if bias.is_some() {
            arguments.expect(2, "bias", [k].into())?;
        }
        self.record("linear", Conv2d::default(), &inputs)
    }
}

impl Conv2d {
    /// The kernels' parameters. `x` and `w` have four dimensions, or two for a linear layer.
    fn params(&self, x: Shape, w: Shape) -> std::result::Result<Conv2dParams, conv2d::ShapeError> {
        let (x, kernel) = match (x.dims(), w.dims()) {
            (&[n, c], _) => ([n, 1, 1, c], [1, 1]),
            (&[n, h, w, c], &[r, s, _, _]) => ([n, h, w, c], [r, s]),
            dims => unreachable!("the shape rule refuses {dims:?}"),
        };
        Conv2dParams::new(x, w.channels(), kernel, self.stride, self.padding, self.groups)
    }

    /// The passes for shapes that have been checked.
    pub(super) fn passes(&self, x: Shape, w: Shape) -> ConvPasses {
        let params = self.params(x, w).expect("checked when it was recorded");
        ConvPasses { params, transposed: false }
    }
}

impl Operation for Conv2d {
    fn kind(&self) -> &'static str {
        "conv2d"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let (x, w) = (arguments.shape(0), arguments.shape(1));
        let of_linear = x.rank() == 2 && w.rank() == 2;
        if !of_linear {
            arguments.dims::<4>(0, "x", "[N, H, W, C]")?;
            arguments.dims::<4>(1, "w", "[R, S, C / groups, K]")?;
        }
        let axes = WeightAxes { ours: 2, pytorch: 1, groups: self.groups };
        let hinted = |error| layout::hint_of_convolution(error, arguments, axes);
        let p = self.params(x, w).map_err(|error| hinted(arguments.wrong_params(error)))?;
        if of_linear {
            return Ok([p.n, p.k].into());
        }
        let expected = Shape::from([p.r, p.s, p.c / p.groups, p.k]);
        if w != expected {
            let expected = format!("{expected} ([R, S, C / groups, K]), as x is {x} and groups {}", p.groups);
            return Err(hinted(arguments.wrong_shape(1, "w", expected)));
        }
        if arguments.len() > 2 {
            arguments.expect(2, "bias", [p.k].into())?;
        }
        Ok([p.n, p.p, p.q, p.k].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        conv_passes::emit_forward(self.passes(cx.shape(0), cx.shape(1)), cx);
    }

    fn backward(&self, cx: &mut Emitter<'_>) {
        conv_passes::emit_backward(self.passes(cx.shape(0), cx.shape(1)), cx);
    }
}

impl Cases for Conv2d {
    fn cases() -> Vec<Case> {
        let default = Conv2d::default();
        let same = Conv2d { padding: [1, 1], ..default };
        vec![
            case([2, 5, 4, 2], [3, 3, 2, 3], same),
            case([1, 3, 2, 5], [1, 1, 5, 4], default),
            case([1, 6, 5, 2], [3, 2, 2, 3], Conv2d { stride: [2, 2], padding: [1, 0], ..default }),
            case([1, 7, 4, 1], [2, 3, 1, 2], Conv2d { stride: [3, 1], padding: [0, 2], ..default }),
            case([2, 4, 3, 4], [3, 3, 2, 6], Conv2d { groups: 2, ..same }),
            // Depthwise
            case([1, 4, 4, 3], [3, 3, 1, 3], Conv2d { groups: 3, ..same }),
            // Sizes around the tiles of Winograd's algorithm and the lanes of a vector
            case([1, 4, 4, 8], [3, 3, 8, 8], same),
            case([1, 5, 9, 9], [3, 3, 9, 7], same),
            // Winograd's larger kernels, in one piece and in several
            case([2, 5, 6, 3], [5, 5, 3, 2], Conv2d { padding: [2, 2], ..default }),
            case([1, 6, 9, 2], [4, 7, 2, 3], Conv2d { padding: [2, 3], ..default }),
            // What a GPU has kernels for: one channel on either side, 64 channels, strides with channels in fours, and
            // tiles of 8x16 pixels and 32 channels, of 3x3 kernels
            case([1, 3, 4, 4], [3, 3, 4, 1], same),
            case([1, 4, 3, 1], [3, 3, 1, 4], same),
            case([1, 2, 3, 64], [1, 1, 64, 4], default),
            case([1, 2, 3, 4], [1, 1, 4, 64], default),
            case([1, 5, 4, 4], [3, 3, 4, 4], Conv2d { stride: [2, 2], ..same }),
            case([1, 8, 16, 4], [3, 3, 4, 4], same),
            // Filters as large as the image or larger
            case([1, 3, 3, 2], [3, 3, 2, 17], default),
            case([1, 1, 1, 1], [3, 3, 1, 1], same),
            case([1, 2, 3, 2], [3, 3, 2, 2], Conv2d { padding: [3, 3], ..default }),
            Case::new(
                "conv2d",
                "without bias",
                &[("x", [1, 3, 3, 2].into()), ("w", [2, 2, 2, 2].into())],
                |graph, a| graph.conv2d(a[0], a[1], None, Conv2d::default()),
            )
            .linear_in(&[&[0], &[1]]),
            linear_case([3, 4], 5),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let conv = loop {
            // About half of the cases have a shape that most algorithms support.
            let [r, s] = if random.within(0..=1) == 0 { [3, 3] } else { random.pair(1..=5) };
            let (stride, padding, groups) = match [r, s] {
                [3, 3] => ([1, 1], random.pair(0..=2), 1),
                _ => (random.pair(1..=3), random.pair(0..=3), random.within(1..=3)),
            };
            let [h, w] = random.pair(1..=21);
            let [c, k] = random.pair(1..=35).map(|channels| channels * groups);
            let n = random.within(1..=3);
            let params = Conv2dParams::new([n, h, w, c], k, [r, s], stride, padding, groups);
            if params.is_ok_and(|p| p.flops() <= MOST_FLOPS) {
                break case([n, h, w, c], [r, s, c / groups, k], Conv2d { stride, padding, groups });
            }
        };
        vec![conv, linear_case([random.within(1..=9), random.within(1..=40)], random.within(1..=20))]
    }
}

fn case(x: [usize; 4], w: [usize; 4], params: Conv2d) -> Case {
    let Conv2d { stride, padding, groups } = params;
    let detail = format!("x {x:?} w {w:?} stride {stride:?} padding {padding:?} groups {groups}");
    let arguments = [("x", x.into()), ("w", w.into()), ("bias", [w[3]].into())];
    Case::new("conv2d", detail, &arguments, move |graph, a| graph.conv2d(a[0], a[1], Some(a[2]), params))
        .linear_in(&[&[0, 2], &[1, 2]])
}

fn linear_case(x: [usize; 2], k: usize) -> Case {
    let arguments = [("x", x.into()), ("w", [x[1], k].into()), ("bias", [k].into())];
    Case::new("linear", format!("{x:?} to {k}"), &arguments, |graph, a| graph.linear(a[0], a[1], Some(a[2])))
        .linear_in(&[&[0, 2], &[1, 2]])
}
