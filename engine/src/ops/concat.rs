//! Channels of several values one after another, and some of the channels of one.

use super::prelude::*;
use kernels::concat::{self, ChannelsParams, MAX_PARTS};
use kernels::{Span, Write};
use std::ops::Range;

impl Graph {
    /// The channels of several values one after another: `x_0 [.., C_0]`, `x_1 [.., C_1]` and so on as
    /// `[.., C_0 + C_1 + ..]`. PyTorch's `torch.cat(values, dim=1)` of images, whose channels come second there.
    ///
    /// # Errors
    /// If there is no value, or the dimensions before the channels differ.
    pub fn concat(&mut self, values: &[NodeId]) -> Result<NodeId> {
        self.record("concat", Concat, values)
    }

    /// The channels `channels.start` to `channels.end - 1` of `x [.., C]`: the inverse of [`concat`](Graph::concat).
    ///
    /// # Errors
    /// If there is no such channel.
    pub fn slice_channels(&mut self, x: NodeId, channels: Range<usize>) -> Result<NodeId> {
        self.record("slice_channels", SliceChannels { begin: channels.start, end: channels.end }, &[x])
    }
}

/// [`Graph::concat`]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concat;

impl Operation for Concat {
    fn kind(&self) -> &'static str {
        "concat"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        if arguments.len() == 0 {
            return Err(arguments.wrong_params("there must be at least one value"));
        }
        let first = arguments.shape(0);
        let mut channels = 0usize;
        for i in 0..arguments.len() {
            let own = arguments.shape(i).channels();
            if arguments.shape(i) != first.with_channels(own) {
                let expected = format!("the dimensions of `{}` {first} but for the last", arguments.list[0].name);
                return Err(arguments.wrong_shape(i, "values", expected));
            }
            channels = channels.saturating_add(own);
        }
        Ok(first.with_channels(channels))
    }

    /// Many values are joined in groups, whose results are joined.
    fn forward(&self, cx: &mut Emitter<'_>) {
        let rows = cx.output_shape().len() / cx.output_shape().channels();
        let mut parts: Vec<(Span, usize)> = (0..cx.inputs()).map(|i| (cx.input(i), cx.shape(i).channels())).collect();
        while parts.len() > MAX_PARTS {
            let mut joined = |group: &[(Span, usize)]| {
                if let &[part] = group {
                    return part;
                }
                let channels = group.iter().map(|part| part.1).sum();
                let y = cx.new_value([rows, channels].into());
                cx.emit(concat::Concat::new(rows, group, y));
                (y, channels)
            };
            parts = parts.chunks(MAX_PARTS).map(&mut joined).collect();
        }
        let y = cx.output();
        cx.emit(concat::Concat::new(rows, &parts, y));
    }

    /// Reads only `dy`.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (wide, mut begin) = (cx.output_shape(), 0);
        for i in 0..cx.inputs() {
            let narrow = cx.shape(i).channels();
            if cx.wants(i) {
                let (x, (y, write)) = (cx.dy(), cx.gradient(i));
                cx.emit(concat::Slice { params: params(wide, begin, narrow), x, y, write });
            }
            begin += narrow;
        }
    }
}

/// [`Graph::slice_channels`]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SliceChannels {
    begin: usize,
    end: usize,
}

impl SliceChannels {
    fn params(&self, x: Shape) -> ChannelsParams {
        params(x, self.begin, self.end - self.begin)
    }
}

impl Operation for SliceChannels {
    fn kind(&self) -> &'static str {
        "slice_channels"
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let (SliceChannels { begin, end }, x) = (*self, arguments.shape(0));
        if begin >= end || end > x.channels() {
            return Err(arguments
                .wrong_params(format!("channels {begin}..{end} must be some of 0..{}, as x is {x}", x.channels())));
        }
        Ok(x.with_channels(end - begin))
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let (params, x, y) = (self.params(cx.shape(0)), cx.input(0), cx.output());
        cx.emit(concat::Slice { params, x, y, write: Write::Set });
    }

    /// Reads only `dy`.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let (params, x, (y, write)) = (self.params(cx.shape(0)), cx.dy(), cx.gradient(0));
        cx.emit(concat::Embed { params, x, y, write });
    }
}

/// `narrow` channels from `begin` on of a value.
fn params(wide: Shape, begin: usize, narrow: usize) -> ChannelsParams {
    ChannelsParams { rows: wide.len() / wide.channels(), wide: wide.channels(), begin, narrow }
}

impl Cases for Concat {
    fn cases() -> Vec<Case> {
        let twice = |graph: &mut Graph, a: &[NodeId]| graph.concat(&[a[0], a[1], a[0]]);
        let arguments = [("a", [2, 3, 2].into()), ("b", [2, 3, 1].into())];
        vec![
            case([2, 2, 3].into(), &[3, 8]),
            case([1, 2, 2].into(), &[17]),
            Case::new("concat", "of a value twice", &arguments, twice).linear_in(&[&[0, 1]]),
            // More than a pass takes
            case([3].into(), &[1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1]),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let [h, w] = random.pair(1..=4);
        let channels: Vec<usize> = (0..random.within(1..=10)).map(|_| random.within(1..=9)).collect();
        vec![case([random.within(1..=3), h, w].into(), &channels)]
    }
}

/// Of values with these dimensions before the channels.
fn case(rows: Shape, channels: &[usize]) -> Case {
    const NAMES: [&str; 17] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"];
    let value = |channels: usize| match *rows.dims() {
        [n] => Shape::from([n, channels]),
        [n, h, w] => [n, h, w, channels].into(),
        _ => unreachable!("cases have vectors and images"),
    };
    let arguments: Vec<(&str, Shape)> =
        NAMES.into_iter().zip(channels.iter().map(|&channels| value(channels))).collect();
    let all: Vec<usize> = (0..channels.len()).collect();
    Case::new("concat", format!("{rows} channels {channels:?}"), &arguments, Graph::concat).linear_in(&[&all])
}

impl Cases for SliceChannels {
    fn cases() -> Vec<Case> {
        // Slices that overlap and leave a channel out, put together again
        let several = |graph: &mut Graph, a: &[NodeId]| {
            let parts = [graph.slice_channels(a[0], 3..5)?, graph.slice_channels(a[0], 0..4)?];
            graph.concat(&parts)
        };
        vec![
            slice_case([2, 3, 2, 5].into(), 1..4),
            slice_case([4, 9].into(), 0..9),
            slice_case([3, 20].into(), 19..20),
            Case::new("slice_channels", "several", &[("x", [2, 2, 6].into())], several).linear_in(&[&[0]]),
        ]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let x = random.shape();
        let begin = random.within(0..=x.channels() - 1);
        vec![slice_case(x, begin..random.within(begin + 1..=x.channels()))]
    }
}

fn slice_case(x: Shape, channels: Range<usize>) -> Case {
    let detail = format!("{x} {channels:?}");
    Case::new("slice_channels", detail, &[("x", x)], move |graph, a| graph.slice_channels(a[0], channels.clone()))
        .linear_in(&[&[0]])
}
