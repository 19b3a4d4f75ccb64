//! Transposed convolution.

use super::case::MOST_FLOPS;
use super::conv_passes;
use super::layout::{self, WeightAxes};
use super::prelude::*;
use kernels::conv2d::{self, Conv2dParams, ConvPasses};

/// Parameters of [`Graph::conv_transpose2d`]. The default is stride 1, no padding, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvTranspose2d {
    /// Stride of the convolution that this is the adjoint of: the factor by which the output is larger than the input.
    pub stride: [usize; 2],
    /// Padding of that convolution: rows and columns that are cut off on each side of the output.
    pub padding: [usize; 2],
    /// Rows and columns added to the output at the bottom and right; below the stride.
    pub output_padding: [usize; 2],
    /// Groups that input and output channels are divided into; there are connections only inside a group.
    pub groups: usize,
}

impl Default for ConvTranspose2d {
    fn default() -> ConvTranspose2d {
        ConvTranspose2d { stride: [1, 1], padding: [0, 0], output_padding: [0, 0], groups: 1 }
    }
}

impl Graph {
    /// Transposed convolution of `x [N, P, Q, Cin]` with `w [R, S, Cout / groups, Cin]`, plus `bias [Cout]`, giving
    /// `[N, H, W, Cout]` with `H = (P - 1) stride - 2 padding + R + output_padding`, and `W` likewise.
    ///
    /// It is the adjoint of the convolution from `[N, H, W, Cout]` to `[N, P, Q, Cin]` with the same weight: see
    /// [`kernels::conv2d`].
    ///
    /// # Errors
    /// If the shapes do not match each other or the parameters.
    pub fn conv_transpose2d(
        &mut self,
        x: NodeId,
        w: NodeId,
        bias: Option<NodeId>,
        params: ConvTranspose2d,
    ) -> Result<NodeId> {
        let inputs: Vec<NodeId> = [Some(x), Some(w), bias].into_iter().flatten().collect();
        self.record("conv_transpose2d", params, &inputs)
    }
}

impl ConvTranspose2d {
    /// The kernels' parameters of the convolution that this is the adjoint of.
    fn params(&self, x: Shape, w: Shape) -> std::result::Result<Conv2dParams, conv2d::ShapeError> {
        let (&[n, p, q, k], &[r, s, group, _]) = (x.dims(), w.dims()) else {
            unreachable!("the shape rule refuses {x} and {w}");
        };
        let c = group * self.groups;
        Conv2dParams::transposed([n, p, q, k], c, [r, s], self.stride, self.padding, self.output_padding, self.groups)
    }

    /// The passes for shapes that have been checked.
    pub(super) fn passes(&self, x: Shape, w: Shape) -> ConvPasses {
        let params = self.params(x, w).expect("checked when it was recorded");
        ConvPasses { params, transposed: true }
    }
}

impl Operation for ConvTranspose2d {
    fn kind(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let [_, _, _, cin] = arguments.dims(0, "x", "[N, P, Q, Cin]")?;
        let [r, s, group, k] = arguments.dims(1, "w", "[R, S, Cout / groups, Cin]")?;
        let (x, w) = (arguments.shape(0), arguments.shape(1));
        let axes = WeightAxes { ours: 3, pytorch: 0, groups: 1 };
        let hinted = |error| layout::hint_of_convolution(error, arguments, axes);
        if k != cin {
            let expected = Shape::from([r, s, group, cin]);
            let expected = format!("{expected} ([R, S, Cout / groups, Cin]), as x is {x}");
            return Err(hinted(arguments.wrong_shape(1, "w", expected)));
        }
        let p = self.params(x, w).map_err(|error| hinted(arguments.wrong_params(error)))?;
        if arguments.len() > 2 {
            arguments.expect(2, "bias", [p.c].into())?;
        }
        Ok([p.n, p.h, p.w, p.c].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        conv_passes::emit_forward(self.passes(cx.shape(0), cx.shape(1)), cx);
    }

    fn backward(&self, cx: &mut Emitter<'_>) {
        conv_passes::emit_backward(self.passes(cx.shape(0), cx.shape(1)), cx);
    }
}

impl Cases for ConvTranspose2d {
    fn cases() -> Vec<Case> {
        let default = ConvTranspose2d::default();
        let padded = ConvTranspose2d { padding: [1, 1], ..default };
        let no_bias = [("x", [1, 3, 2, 2].into()), ("w", [2, 2, 3, 2].into())];
        vec![
            case([2, 4, 5, 3], [3, 3, 2, 3], padded),
            case([1, 2, 3, 4], [1, 1, 5, 4], default),
            case(
                [1, 3, 4, 2],
                [3, 2, 3, 2],
                ConvTranspose2d { stride: [2, 2], padding: [1, 0], output_padding: [1, 0], ..default },
            ),
            case(
                [1, 4, 2, 2],
                [2, 4, 1, 2],
                ConvTranspose2d { stride: [1, 3], padding: [0, 1], output_padding: [0, 2], ..default },
            ),
            case([2, 3, 4, 6], [3, 3, 2, 6], ConvTranspose2d { groups: 2, ..padded }),
            // Sizes around the tiles of Winograd's algorithm and the lanes of a vector
            case([1, 4, 4, 8], [3, 3, 8, 8], padded),
            case([1, 5, 9, 7], [3, 3, 9, 7], padded),
            // Winograd's larger kernels, in one piece and in several
            case([2, 5, 6, 3], [5, 5, 2, 3], ConvTranspose2d { padding: [2, 2], ..default }),
            case([1, 6, 5, 2], [4, 7, 3, 2], ConvTranspose2d { padding: [1, 3], ..default }),
            // What a GPU has kernels for, as for a convolution
            case([1, 4, 3, 4], [3, 3, 1, 4], padded),
            case([1, 8, 16, 4], [3, 3, 4, 4], padded),
            Case::new("conv_transpose2d", "without bias", &no_bias, |graph, a| {
                graph.conv_transpose2d(a[0], a[1], None, ConvTranspose2d::default())
            })
            .linear_in(&[&[0], &[1]]),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        loop {
            // About half of the cases have a shape that most algorithms support.
            let kernel = if random.within(0..=1) == 0 { [3, 3] } else { random.pair(1..=5) };
            let (stride, padding, groups) = match kernel {
                [3, 3] => ([1, 1], random.pair(0..=2), 1),
                _ => (random.pair(1..=3), random.pair(0..=3), random.within(1..=3)),
            };
            let output_padding = stride.map(|stride| random.within(0..=stride - 1));
            let [p, q] = random.pair(1..=19);
            let [cout, cin] = random.pair(1..=35).map(|channels| channels * groups);
            let x = [random.within(1..=3), p, q, cin];
            let params = Conv2dParams::transposed(x, cout, kernel, stride, padding, output_padding, groups);
            if params.is_ok_and(|p| p.flops() <= MOST_FLOPS) {
                let [r, s] = kernel;
                let params = ConvTranspose2d { stride, padding, output_padding, groups };
                return vec![case(x, [r, s, cout / groups, cin], params)];
            }
        }
    }
}

fn case(x: [usize; 4], w: [usize; 4], params: ConvTranspose2d) -> Case {
    let ConvTranspose2d { stride, padding, output_padding, groups } = params;
    let detail = format!(
        "x {x:?} w {w:?} stride {stride:?} padding {padding:?} output padding {output_padding:?} groups {groups}"
    );
    let arguments = [("x", x.into()), ("w", w.into()), ("bias", [w[2] * groups].into())];
    Case::new("conv_transpose2d", detail, &arguments, move |graph, a| {
        graph.conv_transpose2d(a[0], a[1], Some(a[2]), params)
    })
    .linear_in(&[&[0, 2], &[1, 2]])
}
