//! [`Trial`]: a pass with values for its operands, to run on any backend.

use crate::ops::conv2d::{Affine, Algo, Conv2dParams, Forward, GradBias, GradInput, GradWeight};
use crate::testing::{self, Operand};
use crate::{Backend, Call, Context, Reference, Region, Span, Write};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt;

/// Which pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Which {
    Forward,
    GradInput,
    GradWeight,
    GradBias,
}

impl Which {
    pub(super) const ALL: [Which; 4] = [Which::Forward, Which::GradInput, Which::GradWeight, Which::GradBias];
}

/// Which operand is mapped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    X,
    Y,
}

/// Values for the operands of all passes of a shape.
#[derive(Clone)]
pub(super) struct Values {
    pub(super) x: Vec<f32>,
    pub(super) w: Vec<f32>,
    pub(super) y: Vec<f32>,
    pub(super) bias_k: Vec<f32>,
    pub(super) bias_c: Vec<f32>,
    /// Scale and shift of each channel of `x` and of `y`, for those that read them mapped.
    pub(super) maps: [[Vec<f32>; 2]; 2],
}

impl Values {
    /// Whole numbers so small that every sum of their products is exact in f32, in whatever order it is taken.
    pub(super) fn whole(p: &Conv2dParams, seed: u64) -> Values {
        Values::new(p, seed, |rng| f32::from(rng.random_range(-3i8..=3)))
    }

    pub(super) fn real(p: &Conv2dParams, seed: u64) -> Values {
        Values::new(p, seed, |rng| rng.random_range(-1.0f32..1.0))
    }

    fn new(p: &Conv2dParams, seed: u64, value: impl Fn(&mut ChaCha8Rng) -> f32) -> Values {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |len: usize| (0..len).map(|_| value(&mut rng)).collect();
        let (x, w, y) = (draw(p.input_len()), draw(p.weight_len()), draw(p.output_len()));
        let (bias_k, bias_c) = (draw(p.k), draw(p.c));
        let maps = [p.c, p.k].map(|channels| [draw(channels), draw(channels)]);
        Values { x, w, y, bias_k, bias_c, maps }
    }

    /// Their magnitudes.
    pub(super) fn magnitudes(&self) -> Values {
        let abs = |v: &Vec<f32>| v.iter().map(|x| x.abs()).collect();
        Values {
            x: abs(&self.x),
            w: abs(&self.w),
            y: abs(&self.y),
            bias_k: abs(&self.bias_k),
            bias_c: abs(&self.bias_c),
            maps: self.maps.each_ref().map(|map| map.each_ref().map(abs)),
        }
    }
}

/// Where the operands lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// In one region, misaligned, between guard words.
    Together,
    /// Each in a region of its own, so many elements from its beginning: a sanitizer sees where it ends.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Apart(usize),
}

/// Elements between operands: no multiple of a vector, so that most operands are misaligned.
const GUARD: usize = 19;

/// What is between operands: a NaN that no computation gives.
const GUARD_WORD: u32 = 0x7fc0_beef;

/// A pass of a shape with values.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) p: &'a Conv2dParams,
    pub(super) which: Which,
    pub(super) values: &'a Values,
    pub(super) mapped: Option<Side>,
    /// Whether there is a bias, if the pass may have one.
    pub(super) bias: bool,
    pub(super) write: Write,
}

impl fmt::Debug for Trial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial { p, which, mapped, bias, write, .. } = self;
        write!(f, "{which:?} map {mapped:?} bias {bias} {write:?} of {p:?}")
    }
}

impl<'a> Trial<'a> {
    /// Every pass that sets its output, with its operands as they are and with each of them mapped that the pass can
    /// map.
    pub(super) fn all(p: &'a Conv2dParams, values: &'a Values) -> impl Iterator<Item = Trial<'a>> {
        Which::ALL.into_iter().flat_map(move |which| {
            let sides: &[Option<Side>] = match which {
                Which::Forward => &[None, Some(Side::X)],
                Which::GradInput => &[None, Some(Side::Y)],
                Which::GradWeight => &[None, Some(Side::X), Some(Side::Y)],
                Which::GradBias => &[None],
            };
            sides.iter().map(move |&mapped| Trial { mapped, ..Trial::plain(p, which, values) })
        })
    }

    /// The pass, with no bias, that sets its output.
    pub(super) fn plain(p: &'a Conv2dParams, which: Which, values: &'a Values) -> Trial<'a> {
        Trial { p, which, values, mapped: None, bias: false, write: Write::Set }
    }

    /// The same, with a bias if the pass may have one, and added to the output.
    pub(super) fn with_all(self) -> Trial<'a> {
        Trial { bias: true, write: Write::Add, ..self }
    }

    /// Whether the pass may have a bias.
    pub(super) fn takes_bias(&self) -> bool {
        matches!(self.which, Which::Forward | Which::GradInput)
    }

    /// The map of an operand, two empty slices if it has none.
    pub(super) fn map(&self, side: Side) -> [&'a [f32]; 2] {
        match self.mapped == Some(side) {
            true => self.values.maps[side as usize].each_ref().map(|map| &map[..]),
            false => [&[]; 2],
        }
    }

    /// What the pass reads: `x`, its scale and shift, `dy`, its scale and shift, the weight and the bias; empty if it
    /// does not.
    fn reads(&self) -> [&'a [f32]; 8] {
        let (none, v): (&[f32], _) = (&[], self.values);
        let ([x_scale, x_shift], [y_scale, y_shift]) = (self.map(Side::X), self.map(Side::Y));
        let bias = |bias: &'a [f32]| if self.bias { bias } else { none };
        match self.which {
            Which::Forward => [&v.x, x_scale, x_shift, none, none, none, &v.w, bias(&v.bias_k)],
            Which::GradInput => [none, none, none, &v.y, y_scale, y_shift, &v.w, bias(&v.bias_c)],
            Which::GradWeight => [&v.x, x_scale, x_shift, &v.y, y_scale, y_shift, none, none],
            Which::GradBias => [none, none, none, &v.y, none, none, none, none],
        }
    }

    /// The operands, the output last.
    fn operands(&self) -> Vec<Operand> {
        let v = self.values;
        let out = match self.which {
            Which::Forward => &v.y,
            Which::GradInput => &v.x,
            Which::GradWeight => &v.w,
            Which::GradBias => &v.bias_k,
        };
        let reads = self.reads().into_iter().map(|values| Operand::In(values.to_vec()));
        reads.chain([Operand::written(self.write, out.clone())]).collect()
    }

    /// The call, of spans in the order of [`operands`](Self::operands).
    fn call(&self, spans: &[Span], algo: Option<Algo>) -> Call {
        let &[x, x_scale, x_shift, dy, y_scale, y_shift, w, bias, out] = spans else { panic!("{} spans", spans.len()) };
        let (x_map, dy_map) = (Affine { scale: x_scale, shift: x_shift }, Affine { scale: y_scale, shift: y_shift });
        let (params, write) = (*self.p, self.write);
        match self.which {
            Which::Forward => Forward { params, x, x_map, w, bias, y: out, write, algo }.into(),
            Which::GradInput => GradInput { params, dy, dy_map, w, bias, dx: out, write, algo }.into(),
            Which::GradWeight => GradWeight { params, x, x_map, dy, dy_map, dw: out, write, algo }.into(),
            Which::GradBias => GradBias { dy, db: out, write }.into(),
        }
    }

    /// The result of the reference.
    pub(super) fn reference(&self) -> Vec<f64> {
        let mut after = testing::run(&Reference, &|spans: &[Span]| self.call(spans, None), &self.operands());
        after.pop().expect("the output is the last operand")
    }

    /// The result of the algorithm that the backend chooses.
    pub(super) fn run<B: Backend<Element = f32> + Sync>(&self, backend: &B, layout: Layout) -> Vec<f32> {
        self.run_with(backend, None, layout)
    }

    /// The result. What is set, the workspace, and what no pass may touch are NaN; asserts that nothing but the output
    /// and the workspace was written.
    pub(super) fn run_with<B: Backend<Element = f32> + Sync>(
        &self,
        backend: &B,
        algo: Option<Algo>,
        layout: Layout,
    ) -> Vec<f32> {
        let operands: Vec<Vec<f32>> = self
            .operands()
            .into_iter()
            .map(|operand| match operand {
                Operand::In(values) | Operand::InOut(values) => values,
                Operand::Out(len) => vec![f32::NAN; len],
            })
            .collect();
        // How much scratch it needs does not depend on where the operands lie.
        let anywhere: Vec<Span> = operands.iter().map(|values| Span::new(Region(0), 0, values.len())).collect();
        let workspace_len = backend.prepare(&mut self.call(&anywhere, algo));
        let workspace = vec![f32::NAN; workspace_len];
        let (regions, spans) = lay_out(operands.iter().chain([&workspace]), layout);
        let lens: Vec<usize> = regions.iter().map(Vec::len).collect();
        let mut memory = backend.allocate(&lens).expect("memory for a test");
        let whole = |i: usize| Span::new(Region(i as u8), 0, lens[i]);
        for (i, region) in regions.iter().enumerate() {
            backend.write(&mut memory, whole(i), region);
        }
        let (workspace, spans) = spans.split_last().expect("the workspace is the last one");
        let mut call = self.call(spans, algo);
        assert_eq!(backend.prepare(&mut call), workspace_len, "scratch of {self:?}");
        backend.enter(|| backend.run(&mut memory, &call, Context::with_workspace(*workspace)));

        let out = spans[spans.len() - 1];
        let is_written = |region: usize, element: usize| {
            let inside = |span: &Span| {
                usize::from(span.region.0) == region && (span.offset..span.offset + span.len).contains(&element)
            };
            inside(&out) || inside(workspace)
        };
        let mut result = Vec::new();
        for (i, before) in regions.iter().enumerate() {
            let mut after = vec![0.0; before.len()];
            backend.read(&memory, whole(i), &mut after);
            for (element, (before, after)) in before.iter().zip(&after).enumerate() {
                let same = before.to_bits() == after.to_bits();
                assert!(
                    same || is_written(i, element),
                    "{} {self:?}: wrote to element {element} of {i}",
                    backend.name()
                );
            }
            if usize::from(out.region.0) == i {
                result = after[out.offset..out.offset + out.len].to_vec();
            }
        }
        result
    }
}

/// What the regions hold before the pass, and where in them the operands are.
fn lay_out<'v>(operands: impl Iterator<Item = &'v Vec<f32>>, layout: Layout) -> (Vec<Vec<f32>>, Vec<Span>) {
    let guard = |len: usize| vec![f32::from_bits(GUARD_WORD); len];
    let mut spans = Vec::new();
    match layout {
        Layout::Together => {
            let mut region = guard(GUARD);
            for values in operands {
                spans.push(Span::new(Region(0), region.len(), values.len()));
                region.extend(values);
                region.extend(guard(GUARD));
            }
            (vec![region], spans)
        }
        Layout::Apart(offset) => {
            let regions: Vec<Vec<f32>> = operands.map(|values| [&guard(offset), &values[..]].concat()).collect();
            let span = |(i, region): (usize, &Vec<f32>)| Span::new(Region(i as u8), offset, region.len() - offset);
            spans.extend(regions.iter().enumerate().map(span));
            (regions, spans)
        }
    }
}
