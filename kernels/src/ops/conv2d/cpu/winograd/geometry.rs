//! How a convolution is cut into blocks of tiles, and the scratch of a block.

use crate::ops::conv2d::params::{Conv2dParams, Direction};
use std::ops::Range;

/// Added to the distance between two frequencies. Without it, the distance would be a multiple of 4 KiB for common
/// numbers of channels, and the cache lines of all frequencies would share one set of the cache.
const SKEW: usize = 16;

/// The parts in one direction of a kernel of `taps` taps, for a transform of `r` taps and `m` outputs. Part `i` begins
/// at tap `i m`, so that the input tile that it meets is that of the output tile `i` further on. Parts have `m` taps,
/// the last one up to `r`; what is missing to `r` are zeros.
pub(super) const fn parts(taps: usize, m: usize, r: usize) -> usize {
    if taps <= r { 1 } else { 1 + (taps - r).div_ceil(m) }
}

/// The taps of part `i` of `parts`.
pub(super) fn part_taps(taps: usize, m: usize, parts: usize, i: usize) -> Range<usize> {
    i * m..if i + 1 == parts { taps } else { (i + 1) * m }
}

/// A convolution with stride 1 of `[n,h,w,c]` to `[n,p,q,k]`, cut into blocks of tiles. In an input gradient these are
/// the letters of what is read and what is written: `[h,w,c]` of `dy` and `[p,q,k]` of `dx`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) c: usize,
    pub(super) p: usize,
    pub(super) q: usize,
    pub(super) k: usize,
    /// Rows of zeros above and columns of zeros left of the input; below 0 they cut the input.
    pub(super) pad: [isize; 2],
    /// Rows and columns of parts that the kernel is cut into.
    pub(super) parts: [usize; 2],
    /// Vectors of input and output channels.
    pub(super) c_vectors: usize,
    pub(super) k_vectors: usize,
    pub(super) lanes: usize,
    /// Rows and columns of tiles of one image.
    pub(super) tiles_h: usize,
    pub(super) tiles_w: usize,
    /// Bands of rows of tiles, which no block crosses, and the rows of one. A band is all images together or, if the
    /// kernel has parts, one image: then a tile reads the tiles of the next rows, which must be of the same image.
    pub(super) bands: usize,
    pub(super) band_rows: usize,
    /// Most rows and columns of tiles of a block.
    pub(super) block_rows: usize,
    pub(super) block_cols: usize,
    /// Blocks of a band, and of a row.
    pub(super) blocks_h: usize,
    pub(super) blocks_w: usize,
}

/// The transform that a geometry is for, and the size of its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocking {
    /// Outputs of a tile, and taps, in one direction.
    pub(super) m: usize,
    pub(super) r: usize,
    /// Tiles that a block should have.
    pub(super) tiles: usize,
    /// Values in a vector.
    pub(super) lanes: usize,
}

/// A block of tiles: `rows` rows of tiles from `row`, of `cols` tiles from `col`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) col: usize,
    pub(super) cols: usize,
}

impl Geometry {
    /// The geometry of a forward pass or of a weight gradient; of the adjoint it is that of an input gradient, which is
    /// a convolution of `dy` with flipped taps.
    pub(super) fn new(params: &Conv2dParams, direction: Direction, blocking: Blocking) -> Geometry {
        let Blocking { m, r, tiles, lanes } = blocking;
        let (kernel, padding) = ([params.r, params.s], [params.pad_h, params.pad_w]);
        let [[h, w, c], [p, q, k]] = params.images(direction);
        let pad = [0, 1].map(|dim| match direction {
            Direction::Forward => padding[dim] as isize,
            Direction::Adjoint => kernel[dim] as isize - 1 - padding[dim] as isize,
        });
        let parts = kernel.map(|taps| parts(taps, m, r));
        let (tiles_h, tiles_w) = (p.div_ceil(m), q.div_ceil(m));
        let (bands, band_rows) = if parts == [1; 2] { (1, params.n * tiles_h) } else { (params.n, tiles_h) };
        let blocks_w = tiles_w.div_ceil(tiles);
        let block_cols = tiles_w.div_ceil(blocks_w);
        let blocks_h = band_rows.div_ceil((tiles / block_cols).max(1));
        let block_rows = band_rows.div_ceil(blocks_h.max(1));
        let (c_vectors, k_vectors) = (c.div_ceil(lanes), k.div_ceil(lanes));
        Geometry {
            h,
            w,
            c,
            p,
            q,
            k,
            pad,
            parts,
            c_vectors,
            k_vectors,
            lanes,
            tiles_h,
            tiles_w,
            bands,
            band_rows,
            block_rows,
            block_cols,
            blocks_h,
            blocks_w,
        }
    }

    pub(super) fn blocks(&self) -> usize {
        self.bands * self.blocks_h * self.blocks_w
    }

    pub(super) fn block(&self, index: usize) -> Block {
        let (i, j) = (index / self.blocks_w, index % self.blocks_w);
        let (band, i) = (i / self.blocks_h, i % self.blocks_h);
        let cut = |i: usize, blocks: usize, tiles: usize| (tiles * i / blocks, tiles * (i + 1) / blocks);
        let (row, row_end) = cut(i, self.blocks_h, self.band_rows);
        let (col, col_end) = cut(j, self.blocks_w, self.tiles_w);
        Block { row: band * self.band_rows + row, rows: row_end - row, col, cols: col_end - col }
    }

    /// Rows and columns of input tiles of a block.
    pub(super) fn in_tiles(&self, b: &Block) -> [usize; 2] {
        [b.rows + self.parts[0] - 1, b.cols + self.parts[1] - 1]
    }

    /// The image of row `row` of a block's input tiles, and which of its rows it is; behind the last are those that
    /// only a kernel in parts reads.
    pub(super) fn in_tile_row(&self, b: &Block, row: usize) -> (usize, usize) {
        if self.parts == [1; 2] { self.tile_row(b, row) } else { (b.row / self.tiles_h, b.row % self.tiles_h + row) }
    }

    /// The image of row `row` of a block's tiles, and which of its rows it is.
    pub(super) fn tile_row(&self, b: &Block, row: usize) -> (usize, usize) {
        ((b.row + row) / self.tiles_h, (b.row + row) % self.tiles_h)
    }

    /// The values of the input that block `index` reads, and the block before it did not, if blocks are whole rows of
    /// tiles. It is empty if there is no such block. An estimate, for [`Stream`](super::gemm::Stream).
    pub(super) fn new_input(&self, index: usize, n: usize, m: usize) -> Range<usize> {
        let end = |index: usize| {
            let b = self.block(index);
            let (image, tile) = self.in_tile_row(&b, self.in_tiles(&b)[0] - 1);
            let row = (tile * m + n) as isize - self.pad[0];
            (image * self.h + row.clamp(0, self.h as isize) as usize) * self.w * self.c
        };
        if index >= self.blocks() { 0..0 } else { index.checked_sub(1).map_or(0, end)..end(index) }
    }

    /// The values of the output in the rows of tiles of a block.
    pub(super) fn output(&self, b: &Block, m: usize) -> Range<usize> {
        let start = |row: usize| {
            let (image, tile) = (row / self.tiles_h, row % self.tiles_h);
            (image * self.p + tile * m) * self.q * self.k
        };
        start(b.row)..start(b.row + b.rows)
    }

    /// Products of a frequency that an output channel sums: channels times parts.
    pub(super) fn depth(&self) -> usize {
        self.parts[0] * self.parts[1] * self.c
    }

    pub(super) fn c_padded(&self) -> usize {
        self.c_vectors * self.lanes
    }

    pub(super) fn k_padded(&self) -> usize {
        self.k_vectors * self.lanes
    }

    pub(super) fn block_tiles(&self) -> usize {
        self.block_rows * self.block_cols
    }
}

/// Elements between two frequencies of a buffer of `len` elements each.
pub(super) const fn skewed(len: usize) -> usize {
    len + SKEW
}

/// Lengths of the scratch buffers of a block, in elements. `in_*` hold input channels, `out_*` output channels.
pub(super) struct ScratchLens {
    pub(super) zeros: usize,
    /// `S`: vertical frequencies of the input's columns; in the forward pass, then of the output's.
    pub(super) in_columns: usize,
    /// `V`: horizontal frequencies of the input's tiles, for one vertical one.
    pub(super) in_tiles: usize,
    /// In the weight gradient: vertical frequencies of the output's columns.
    pub(super) out_columns: usize,
    /// `M` or `Z`.
    pub(super) out_tiles: usize,
}

impl ScratchLens {
    /// Those of a forward pass.
    pub(super) fn forward(g: &Geometry, n: usize, m: usize) -> ScratchLens {
        let lens = ScratchLens::grad_weight(g, n, m);
        ScratchLens { in_columns: lens.in_columns.max(lens.out_columns), out_columns: 0, ..lens }
    }

    /// Those of a weight gradient.
    pub(super) fn grad_weight(g: &Geometry, n: usize, m: usize) -> ScratchLens {
        let (c, k) = (g.c_padded(), g.k_padded());
        let [in_rows, in_cols] = [g.block_rows + g.parts[0] - 1, g.block_cols + g.parts[1] - 1];
        ScratchLens {
            zeros: (in_cols * m + n - m) * c.max(k),
            in_columns: n * skewed(in_rows * (m * in_cols + n - m) * c),
            in_tiles: n * skewed(in_rows * in_cols * c),
            out_columns: n * skewed(g.block_rows * m * g.block_cols * k),
            out_tiles: n * skewed(g.block_tiles() * k),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.zeros + self.in_columns + self.in_tiles + self.out_columns + self.out_tiles
    }

    pub(super) fn cut<'a>(&self, scratch: &'a mut [f32]) -> Scratch<'a> {
        let (zeros, rest) = scratch.split_at_mut(self.zeros);
        let (in_columns, rest) = rest.split_at_mut(self.in_columns);
        let (in_tiles, rest) = rest.split_at_mut(self.in_tiles);
        let (out_columns, rest) = rest.split_at_mut(self.out_columns);
        let (out_tiles, rest) = rest.split_at_mut(self.out_tiles);
        zeros.fill(0.0);
        Scratch { zeros, in_columns, in_tiles, out_columns, out_tiles, rest }
    }
}

/// The buffers that [`ScratchLens`] describes; `rest` is what remains.
pub(super) struct Scratch<'a> {
    pub(super) zeros: &'a [f32],
    pub(super) in_columns: &'a mut [f32],
    pub(super) in_tiles: &'a mut [f32],
    pub(super) out_columns: &'a mut [f32],
    pub(super) out_tiles: &'a mut [f32],
    pub(super) rest: &'a mut [f32],
}
