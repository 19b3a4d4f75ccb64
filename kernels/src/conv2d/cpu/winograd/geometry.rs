//! How a convolution is cut into blocks of tiles, and the scratch of a block.

use crate::conv2d::Conv2dParams;

/// Added to strides that are a multiple of 4 KiB for common channel counts, else their cache lines share one set.
const SKEW: usize = 16;

/// A convolution with stride 1 of `[n,h,w,c]` to `[n,p,q,k]`, cut into blocks of tiles.
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
    /// Vectors of input and output channels.
    pub(super) c_vectors: usize,
    pub(super) k_vectors: usize,
    pub(super) lanes: usize,
    /// Rows of tiles of one image, and of the batch; columns of tiles.
    pub(super) tiles_h: usize,
    pub(super) tile_rows: usize,
    pub(super) tiles_w: usize,
    /// Most rows and columns of tiles of a block.
    pub(super) block_rows: usize,
    pub(super) block_cols: usize,
    /// Blocks in each direction.
    pub(super) blocks_h: usize,
    pub(super) blocks_w: usize,
}

/// Part of a block grid: `rows` rows of tiles from `row`, of `cols` tiles from `col`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) col: usize,
    pub(super) cols: usize,
}

impl Geometry {
    pub(super) fn new(
        [n, h, w, c]: [usize; 4],
        [p, q, k]: [usize; 3],
        pad: [isize; 2],
        m: usize,
        tiles: usize,
        lanes: usize,
    ) -> Geometry {
        let (tiles_h, tiles_w) = (p.div_ceil(m), q.div_ceil(m));
        let tile_rows = n * tiles_h;
        let blocks_w = tiles_w.div_ceil(tiles);
        let block_cols = tiles_w.div_ceil(blocks_w);
        let blocks_h = tile_rows.div_ceil((tiles / block_cols).max(1));
        let block_rows = tile_rows.div_ceil(blocks_h.max(1));
        let (c_vectors, k_vectors) = (c.div_ceil(lanes), k.div_ceil(lanes));
        Geometry {
            h,
            w,
            c,
            p,
            q,
            k,
            pad,
            c_vectors,
            k_vectors,
            lanes,
            tiles_h,
            tile_rows,
            tiles_w,
            block_rows,
            block_cols,
            blocks_h,
            blocks_w,
        }
    }

    /// The geometry of a pass's forward-like convolution, or of its weight gradient.
    pub(super) fn forward(p: &Conv2dParams, m: usize, tiles: usize, lanes: usize) -> Geometry {
        let pad = [p.pad_h as isize, p.pad_w as isize];
        Geometry::new([p.n, p.h, p.w, p.c], [p.p, p.q, p.k], pad, m, tiles, lanes)
    }

    /// The geometry of the input gradient as a convolution of `dy` with flipped taps.
    pub(super) fn grad_input(p: &Conv2dParams, m: usize, tiles: usize, lanes: usize) -> Geometry {
        let pad = [p.r as isize - 1 - p.pad_h as isize, p.s as isize - 1 - p.pad_w as isize];
        Geometry::new([p.n, p.p, p.q, p.k], [p.h, p.w, p.c], pad, m, tiles, lanes)
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks_h * self.blocks_w
    }

    pub(super) fn block(&self, index: usize) -> Block {
        let (i, j) = (index / self.blocks_w, index % self.blocks_w);
        let cut = |i: usize, blocks: usize, tiles: usize| (tiles * i / blocks, tiles * (i + 1) / blocks);
        let (row, row_end) = cut(i, self.blocks_h, self.tile_rows);
        let (col, col_end) = cut(j, self.blocks_w, self.tiles_w);
        Block { row, rows: row_end - row, col, cols: col_end - col }
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
    /// `S`: vertical frequencies of the input's columns.
    pub(super) in_columns: usize,
    /// `V`: horizontal frequencies of the input's tiles, for one vertical one.
    pub(super) in_tiles: usize,
    /// Vertical frequencies of the output's columns.
    pub(super) out_columns: usize,
    /// `M` or `Z`.
    pub(super) out_tiles: usize,
}

impl ScratchLens {
    pub(super) fn new(g: &Geometry, n: usize, m: usize) -> ScratchLens {
        let (c, k) = (g.c_padded(), g.k_padded());
        ScratchLens {
            zeros: (g.block_cols * m + n - m) * c.max(k),
            in_columns: n * skewed(g.block_rows * (m * g.block_cols + n - m) * c),
            in_tiles: n * skewed(g.block_tiles() * c),
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
