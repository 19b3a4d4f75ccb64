//! What a pass of a convolution of stride 1, in one group, takes with an algorithm: estimated nanoseconds on one thread
//! of the machine of the measurement. Elsewhere only their ratios mean something.
//!
//! A time is a sum of counts, each times what one of it takes. The counts follow from how the algorithms work: products
//! of padded channels, values that a transform makes, weights that are packed or transformed. Winograd's algorithm pays
//! for whole tiles, so images that are little larger than a tile, or smaller, are dear; and for a weight that it makes
//! larger, so few pixels are.
//!
//! What one takes was fitted to the times of 1,300 passes: those of `resconv profile conv --preset all` that have a
//! choice, and random ones with outputs of 1x1 to 28x28, kernels of 3x3 to 13x13, 2 to 512 channels and 1 to 64 images,
//! on one core of an AMD EPYC (Zen 3) with AVX2. Times are right within 25 % (standard deviation); the algorithm of the
//! least is more than 10 % slower than the fastest in 3 % of the passes, and in none of the presets' by more than what
//! differs from run to run. With AVX-512 of half width (Zen 4) it was in 5 of 168 passes of the presets, all of 128
//! channels or more. A CPU with AVX-512 of full width multiplies more than twice as fast, but memory is not as much
//! faster: [`Rates`] has what differs.

use super::params::{Conv2dParams, Direction};
use super::tile::Tile;
use crate::simd::Isa;

/// How long things take, compared with the machine that the times below are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Values in a vector.
    lanes: usize,
    /// Products of the direct algorithm, and of Winograd's.
    products: f64,
    tile_products: f64,
    /// Values of Winograd's transforms.
    transforms: f64,
    /// Values of the input that the direct algorithm copies.
    copies: f64,
    /// Weights that it packs, and sums of its weight gradient, a strip each.
    packing: f64,
    sums: f64,
    /// Weights that Winograd's algorithm transforms, and in addition those of large ones.
    weights: f64,
    large_weights: f64,
    /// Elements of its accumulators, a share each, and a block each.
    shares: f64,
    blocks: f64,
}

impl Rates {
    /// Vectors of 8 values, or of 16 in two halves.
    pub(super) const NARROW: Rates = Rates {
        lanes: 8,
        products: 1.0,
        tile_products: 1.0,
        transforms: 1.0,
        copies: 1.0,
        packing: 1.0,
        sums: 1.0,
        weights: 1.0,
        large_weights: 1.0,
        shares: 1.0,
        blocks: 1.0,
    };

    /// Vectors of 16 values. Fitted to two runs of `resconv profile conv --preset all` on an AMD EPYC (Zen 5), for the
    /// least number of passes whose algorithm is more than 10 % slower than the fastest.
    pub(super) const WIDE: Rates = Rates {
        lanes: 16,
        products: 0.39,
        tile_products: 0.31,
        transforms: 0.67,
        copies: 2.2,
        packing: 1.53,
        sums: 0.33,
        weights: 1.32,
        large_weights: 0.59,
        shares: 0.49,
        blocks: 1.35,
    };

    /// Those of the CPU that this runs on, with an instruction set.
    pub(super) fn of(isa: Isa) -> Rates {
        if isa.is_wide() { Rates::WIDE } else { Rates::NARROW }
    }
}

/// Values in a vector that channels are padded to. It is that of AVX2 on every CPU; [`Rates`] has what differs.
const LANES: usize = 8;

/// Independent sums that hide the latency of an addition.
const SUMS: f64 = 8.0;

/// Elements of a transformed weight that a second-level cache has room for.
const CACHED_WEIGHT: f64 = (1 << 18) as f64;

fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// A product, of counts so large that it may not be a `usize`.
fn product<const N: usize>(counts: [usize; N]) -> f64 {
    counts.into_iter().map(|count| count as f64).product()
}

/// The sum of counts times what each takes.
fn sum<const N: usize>(terms: [(f64, f64); N]) -> f64 {
    terms.into_iter().map(|(count, each)| count * each).sum()
}

/// How many pairs of an output and a tap read inside the image, in one dimension.
fn taps_inside(outputs: usize, taps: usize, pad: usize, len: usize) -> usize {
    (0..outputs).map(|e| (len + pad).saturating_sub(e).min(taps).saturating_sub(pad.saturating_sub(e))).sum()
}

/// How many register blocks' worth of time so many sums take: fewer than [`SUMS`] take as long.
fn stretched(sums: usize, channels: usize) -> f64 {
    let vectors = channels.div_ceil(LANES).clamp(1, 2);
    (sums as f64).max(SUMS / vectors as f64)
}

/// A forward pass or an input gradient with the direct algorithm.
pub(super) fn direct_convolution(rates: &Rates, p: &Conv2dParams, direction: Direction) -> f64 {
    let p = &p.flattened();
    let [[_, width, inputs], [rows, columns, outputs]] = p.images(direction);
    let row_taps = p.n * taps_inside(p.p, p.r, p.pad_h, p.h);
    let is_narrow = outputs <= 4 && p.s <= width;
    let products = match is_narrow {
        true => product([row_taps, columns, padded(p.s * inputs), outputs]),
        // Of a kernel wider than the image, only columns of taps that meet it.
        false => {
            let taps = p.s.min(width + columns.min(8) - 1);
            product([row_taps, taps, inputs, padded(outputs)]) * stretched(columns, outputs)
        }
    };
    let weight = product([p.r, p.s, inputs, padded(outputs)]);
    sum([
        (products, 0.030 * rates.products),
        (weight, rates.packing * if direction == Direction::Forward { 0.25 } else { 0.60 }),
        (product([p.n, rows, columns, outputs]), 0.090),
        (product([p.n, rows + p.r - 1, columns + p.s - 1, inputs]), 0.30 * rates.copies),
        (1.0, 500.0),
    ])
}

/// A weight gradient with the direct algorithm.
pub(super) fn direct_gradient(rates: &Rates, p: &Conv2dParams) -> f64 {
    /// Elements of a strip, and of all shares' sums.
    const STRIP: usize = 32 * 1024;
    const SUMS: usize = 4 * 1024 * 1024;
    /// What an element of a share's sums costs, compared with one that is read.
    const COST_OF_SUM: f64 = 3.0;
    /// Rows of the weight that a piece has at least, if pieces are cut by rows.
    const PIECE_ROWS: usize = 128;
    let p = &p.flattened();
    let is_narrow = p.k <= 4 && p.s <= p.w;
    let row_taps = p.n * taps_inside(p.p, p.r, p.pad_h, p.h);
    let column_taps = if p.s > p.w { taps_inside(p.q, p.s, p.pad_w, p.w) } else { p.q * p.s };
    let (products, weight) = match is_narrow {
        true => {
            let depth = padded(p.s * p.c);
            (product([row_taps, p.q, depth, p.k]), product([p.r, depth, p.k]))
        }
        false => (product([row_taps, column_taps, p.c, padded(p.k)]), product([p.r, p.s, p.c, padded(p.k)])),
    };
    let copy = product([p.p + p.r - 1, p.q + p.s - 1, p.c]);
    let tasks = (p.flops() / 2_000_000).clamp(1, 16) as f64;
    let pieces = (p.r * if is_narrow { 1 } else { p.k.div_ceil(2 * rates.lanes) }) as f64;
    let is_cut = !is_narrow && p.s <= p.w && pieces < tasks;
    let row_pieces = if is_cut { (p.s * p.c).div_ceil(PIECE_ROWS) } else { 1 } as f64;
    let copy_at_a_time = if [p.r, p.s] == [1; 2] { copy / row_pieces } else { copy };
    let strips = ((copy_at_a_time + product([p.p, p.q, padded(p.k)])) / STRIP as f64).ceil();
    let strips_of_image = strips.clamp(1.0, p.p.max(p.q / 28) as f64);
    let strips = p.n as f64 * strips_of_image;
    let shares = tasks.min(strips).min((SUMS as f64 / weight).floor()).max(1.0);
    let read = p.n as f64 * ((tasks / row_pieces).ceil() * copy + tasks * product([p.p, p.q, padded(p.k)]));
    let is_one_share = pieces * row_pieces >= tasks && COST_OF_SUM * shares * weight > read;
    let shares = if is_one_share { 1.0 } else { shares };
    // Neither are the images copied nor the sums: the pieces are cut so that there is one share of sums, the weight.
    let is_whole = strips_of_image == 1.0 && [p.pad_h, p.pad_w] == [0; 2] && p.k.is_multiple_of(LANES);
    let copies = if is_whole && is_one_share && row_pieces > 1.0 { 0.0 } else { 1.0 };
    sum([
        (products, 0.028 * rates.products),
        // Rows of taps that are outside all images cost nothing.
        (copies * strips * weight * p.r.min(p.h + p.p - 1) as f64 / p.r as f64, 0.091 * rates.sums),
        (copies * shares * weight, 0.73),
        (copies * copy * p.n as f64, 0.20 * rates.copies),
        (product([p.n, p.p, p.q, p.k]), 0.096),
        (1.0, 2200.0),
    ])
}

/// The counts that the passes of Winograd's algorithm have in common.
struct Tiles {
    /// Rows and columns of tiles of an image's outputs, and of parts of the kernel.
    tiles: [usize; 2],
    parts: [usize; 2],
    /// Tiles of all images.
    all: usize,
    /// Values of the transformed input, output and weight.
    input: f64,
    output: f64,
    weight: f64,
}

impl Tiles {
    fn new(tile: Tile, p: &Conv2dParams, direction: Direction) -> Tiles {
        let [outputs_of_tile, taps_of_tile] = tile.sizes();
        let frequencies = (outputs_of_tile + taps_of_tile - 1).pow(2);
        let [[.., inputs], [rows, columns, outputs]] = p.images(direction);
        let tiles = [rows, columns].map(|len| len.div_ceil(outputs_of_tile));
        let parts = [p.r, p.s].map(|taps| 1 + taps.saturating_sub(taps_of_tile).div_ceil(outputs_of_tile));
        let all = p.n * tiles[0] * tiles[1];
        let input_tiles = product([p.n, tiles[0] + parts[0] - 1, tiles[1] + parts[1] - 1]);
        Tiles {
            tiles,
            parts,
            all,
            input: input_tiles * product([frequencies, padded(inputs)]),
            output: product([all, frequencies, padded(outputs)]),
            weight: product([frequencies, parts[0] * parts[1], inputs, padded(outputs)]),
        }
    }
}

/// A forward pass or an input gradient with Winograd's algorithm.
pub(super) fn winograd_convolution(rates: &Rates, tile: Tile, p: &Conv2dParams, direction: Direction) -> f64 {
    let Tiles { tiles, parts, all, input, output, weight } = Tiles::new(tile, p, direction);
    let [_, [.., outputs]] = p.images(direction);
    // Tiles that are multiplied at a time.
    let run = if parts[1] > 1 { tiles[1] } else { all }.max(1);
    let products = all as f64 / run as f64 * stretched(run, outputs) * weight;
    let (of_weight, of_large_weight) = match (direction, tile) {
        (Direction::Forward, Tile::F2x3) => (0.50, 0.50),
        (Direction::Forward, Tile::F4x3) => (0.53, 0.50),
        (Direction::Forward, Tile::F4x4 | Tile::F4x5) => (1.0, 0.50),
        (Direction::Adjoint, Tile::F2x3) => (1.3, 1.2),
        (Direction::Adjoint, Tile::F4x3) => (0.68, 1.2),
        (Direction::Adjoint, Tile::F4x4 | Tile::F4x5) => (1.05, 1.2),
    };
    let large = (weight - CACHED_WEIGHT).max(0.0);
    sum([
        (products, 0.029 * rates.tile_products),
        (input, 0.33 * rates.transforms),
        (output, 0.31 * rates.transforms),
        (weight, of_weight * rates.weights),
        (large, of_large_weight * rates.large_weights),
    ])
}

/// A weight gradient with Winograd's algorithm.
pub(super) fn winograd_gradient(rates: &Rates, tile: Tile, p: &Conv2dParams) -> f64 {
    /// Elements of the accumulators of all shares.
    const ACCUMULATORS: f64 = (2 * 1024 * 1024) as f64;
    let Tiles { tiles, parts, all, input, output, weight } = Tiles::new(tile, p, Direction::Forward);
    let blocks = if parts == [1; 2] { all.div_ceil(32) } else { p.n * (tiles[0] * tiles[1]).div_ceil(64) } as f64;
    let shares = (blocks / 4.0).ceil().clamp(4.0, (ACCUMULATORS / weight).floor().clamp(4.0, 16.0)).min(blocks);
    let of_share = match tile {
        Tile::F2x3 => 1.2,
        Tile::F4x3 => 1.3,
        Tile::F4x4 | Tile::F4x5 => 1.6,
    };
    sum([
        (all as f64 * weight, 0.026 * rates.tile_products),
        (input, 0.20 * rates.transforms),
        (output, 0.16 * rates.transforms),
        (shares * weight, of_share * rates.shares),
        (blocks * weight, 0.24 * rates.blocks),
    ])
}
