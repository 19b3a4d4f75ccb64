//! Structural similarity of images.

use super::prelude::*;
use crate::Init;
use kernels::ssim::{self, SsimParams};

impl Graph {
    /// Mean structural similarity (SSIM) of the images `x` and `y`, both `[N, H, W, C]`, giving `[1]`: over all windows
    /// of 7x7 pixels, images and channels. [`kernels::ssim`] has the equations, those of scikit-image's
    /// `structural_similarity` for values from 0 to 1. It is 1 for equal images, and at least -1.
    ///
    /// To train for similar images, minimise the negative: `graph.scale(ssim, -1.0)`, or a
    /// [`weighted_sum`](Graph::weighted_sum) of it and another loss. The gradient is that of `1 - ssim`.
    ///
    /// # Errors
    /// If the shapes differ, or the images are smaller than a window.
    pub fn ssim(&mut self, x: NodeId, y: NodeId) -> Result<NodeId> {
        self.record("ssim", Ssim, &[x, y])
    }
}

/// [`Graph::ssim`]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ssim;

impl Ssim {
    fn params(images: Shape) -> std::result::Result<SsimParams, ssim::SizeError> {
        let &[n, h, w, c] = images.dims() else { unreachable!("the shape rule refuses {images}") };
        SsimParams::new([n, h, w, c])
    }

    /// For images that have been checked.
    fn checked(images: Shape) -> SsimParams {
        Ssim::params(images).expect("checked when it was recorded")
    }
}

impl Operation for Ssim {
    fn kind(&self) -> &'static str {
        "ssim"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        arguments.dims::<4>(0, "x", "[N, H, W, C]")?;
        arguments.expect(1, "y", arguments.shape(0))?;
        Ssim::params(arguments.shape(0)).map_err(|error| arguments.wrong_params(error))?;
        Ok([1].into())
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (params, [x, y], out) = (Ssim::checked(cx.shape(0)), [cx.input(0), cx.input(1)], cx.output());
        cx.emit(ssim::Forward { params, x, y, out });
    }

    /// Reads both inputs. It is symmetric: the gradient of `y` is that of `x` with both exchanged.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let params = Ssim::checked(cx.shape(0));
        for (i, j) in [(0, 1), (1, 0)] {
            if cx.wants(i) {
                let (dx, write) = cx.gradient(i);
                let (x, y, dout) = (cx.input(i), cx.input(j), cx.dy());
                cx.emit(ssim::Backward { params, x, y, dout, dx, write });
            }
        }
    }
}

impl Cases for Ssim {
    fn cases() -> Vec<Case> {
        let itself = Case::new("ssim", "of itself", &[("x", [1, 7, 8, 1].into())], |graph, a| graph.ssim(a[0], a[0]));
        // One window; several, of several images and channels
        vec![case([1, 7, 7, 1]), case([2, 8, 9, 3]), similar([1, 9, 8, 2]), itself]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let mut images = || {
            let [h, w] = random.pair(7..=9);
            [random.within(1..=2), h, w, random.within(1..=3)]
        };
        vec![case(images()), similar(images())]
    }
}

fn case(images: [usize; 4]) -> Case {
    let arguments = [("x", images.into()), ("y", images.into())];
    Case::new("ssim", format!("{images:?}"), &arguments, |graph, a| graph.ssim(a[0], a[1]))
}

/// An image with values from 0 to 1, and one that is like it.
fn similar(images: [usize; 4]) -> Case {
    let arguments = [("x", images.into()), ("difference", images.into())];
    Case::new("ssim", format!("{images:?} similar"), &arguments, move |graph, a| {
        let grey = graph.state(&format!("grey_{}", graph.len()), images, Init::Constant(0.5))?;
        let x = graph.add(grey, a[0], 0.5)?;
        let y = graph.add(x, a[1], 0.1)?;
        graph.ssim(x, y)
    })
}
