//! Zeros at the bottom and right.

use super::prelude::*;
use kernels::pad::{self, PadParams};

/// Size of the padded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pad {
    height: usize,
    width: usize,
}

impl Graph {
    /// `x [N, H, W, C]` with zeros added at the bottom and right up to `[N, height, width, C]`.
    ///
    /// # Errors
    /// If `x` is higher or wider than that.
    pub fn pad(&mut self, x: NodeId, height: usize, width: usize) -> Result<NodeId> {
        self.record("pad", Pad { height, width }, &[x])
    }
}

impl Pad {
    fn params(&self, x: Shape) -> PadParams {
        let &[n, h0, w0, c] = x.dims() else { unreachable!("the shape rule refuses {x}") };
        PadParams { n, h0, w0, h1: self.height, w1: self.width, c }
    }
}

impl Operation for Pad {
    fn kind(&self) -> &'static str {
        "pad"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let Pad { height, width } = *self;
        let [n, h, w, c] = arguments.dims(0, "x", "[N, H, W, C]")?;
        if h > height || w > width {
            return Err(arguments.wrong_shape(0, "x", format!("[N, H, W, C] with H <= {height} and W <= {width}")));
        }
        Ok([n, height, width, c].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        cx.emit(pad::Forward { params: self.params(cx.shape(0)), x: cx.input(0), y: cx.output() });
    }

    /// Reads only `dy`.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (dx, write) = cx.gradient(0);
        cx.emit(pad::Backward { params: self.params(cx.shape(0)), dy: cx.dy(), dx, write });
    }
}

impl Cases for Pad {
    fn cases() -> Vec<Case> {
        [[3, 5], [2, 4], [2, 3]].map(|to| case([2, 2, 3, 2], to)).into()
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let x = [random.within(1..=3), random.within(1..=6), random.within(1..=6), random.within(1..=5)];
        let more = random.pair(0..=3);
        vec![case(x, [x[1] + more[0], x[2] + more[1]])]
    }
}

fn case(x: [usize; 4], [height, width]: [usize; 2]) -> Case {
    let detail = format!("{x:?} to {height}x{width}");
    Case::new("pad", detail, &[("x", x.into())], move |graph, a| graph.pad(a[0], height, width)).linear_in(&[&[0]])
}
