//! The [module documentation](super)'s equations as copies and sums of strided rows.

use super::MAX_PARTS;
use super::params::ChannelsParams;
use crate::host::Cpu;
use crate::loops::for_rows;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};

/// `y[r, begin_i + c] = x_i[r, c]`
pub(super) fn concat(cpu: &Cpu, parts: [&[f32]; MAX_PARTS], channels: [usize; MAX_PARTS], y: &mut [f32]) {
    let width = channels.iter().sum();
    for_rows(cpu, y, width, width, |rows, y| {
        cpu.isa.dispatch(Parts { parts, channels, first: rows.start, y });
    });
}

/// The rows from `first` on of a concatenation.
struct Parts<'a> {
    parts: [&'a [f32]; MAX_PARTS],
    channels: [usize; MAX_PARTS],
    first: usize,
    y: &'a mut [f32],
}

impl Kernel for Parts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// Values of so few rows that memory is written almost in order, though part by part.
        const BLOCK: usize = 256;
        let width: usize = self.channels.iter().sum();
        let block_rows = (BLOCK / width).max(1);
        for (block, y) in self.y.chunks_mut(block_rows * width).enumerate() {
            let first = self.first + block * block_rows;
            let (rows, mut begin) = (first..first + y.len() / width, 0);
            for (part, len) in self.parts.into_iter().zip(self.channels).filter(|(_, len)| *len > 0) {
                let from = &part[rows.start * len..rows.end * len];
                Rows { from, to: &mut y[begin..], strides: [len, width], len, write: Write::Set }.run(s);
                begin += len;
            }
        }
    }
}

/// `y[r, c] (+)= x[r, begin + c]`
pub(super) fn slice(cpu: &Cpu, p: &ChannelsParams, x: &[f32], y: &mut [f32], write: Write) {
    for_rows(cpu, y, p.narrow, p.wide, |rows, y| {
        let from = &x[rows.start * p.wide + p.begin..rows.end * p.wide];
        cpu.isa.dispatch(Rows { from, to: y, strides: [p.wide, p.narrow], len: p.narrow, write });
    });
}

/// `y[r, begin + c] (+)= x[r, c]`, else `(+)= 0`
pub(super) fn embed(cpu: &Cpu, p: &ChannelsParams, x: &[f32], y: &mut [f32], write: Write) {
    for_rows(cpu, y, p.wide, p.wide, |rows, y| {
        if write == Write::Set {
            y.fill(0.0);
        }
        let from = &x[rows.start * p.narrow..rows.end * p.narrow];
        cpu.isa.dispatch(Rows { from, to: &mut y[p.begin..], strides: [p.narrow, p.wide], len: p.narrow, write });
    });
}

/// `to[r, i] (+)= from[r, i]` for the first `len` values of rows that are `strides` apart in `from` and in `to`. Both
/// begin with the first row's values, and end after the last row's at least.
struct Rows<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    strides: [usize; 2],
    len: usize,
    write: Write,
}

impl Rows<'_> {
    /// Rows whose length the compiler knows: it makes a few moves of each.
    #[inline(always)]
    fn short<const LEN: usize>(self) {
        let rows = self.from.chunks(self.strides[0]).zip(self.to.chunks_mut(self.strides[1]));
        for (from, to) in rows.map(|(from, to)| (from.first_chunk::<LEN>(), to.first_chunk_mut::<LEN>())) {
            if let (Some(from), Some(to)) = (from, to) {
                match self.write {
                    Write::Set => *to = *from,
                    Write::Add => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
                }
            }
        }
    }

    #[inline(always)]
    fn long(self) {
        let len = self.len;
        for (from, to) in self.from.chunks(self.strides[0]).zip(self.to.chunks_mut(self.strides[1])) {
            let (from, to) = (&from[..len], &mut to[..len]);
            match self.write {
                Write::Set => copy_long(to, from),
                Write::Add => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
            }
        }
    }
}

/// Copies a row of 16 values at least, the last 16 maybe twice. Rows of a few cache lines are too short for what a
/// general copy begins with.
#[inline(always)]
fn copy_long(to: &mut [f32], from: &[f32]) {
    const CHUNK: usize = 16;
    for (to, from) in to.chunks_exact_mut(CHUNK).zip(from.chunks_exact(CHUNK)) {
        to.copy_from_slice(from);
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<CHUNK>(), from.last_chunk::<CHUNK>()) {
        *to = *from;
    }
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.len {
            0 => {}
            1 => self.short::<1>(),
            2 => self.short::<2>(),
            3 => self.short::<3>(),
            4 => self.short::<4>(),
            5 => self.short::<5>(),
            6 => self.short::<6>(),
            7 => self.short::<7>(),
            8 => self.short::<8>(),
            9 => self.short::<9>(),
            10 => self.short::<10>(),
            11 => self.short::<11>(),
            12 => self.short::<12>(),
            13 => self.short::<13>(),
            14 => self.short::<14>(),
            15 => self.short::<15>(),
            16 => self.short::<16>(),
            _ => self.long(),
        }
    }
}
