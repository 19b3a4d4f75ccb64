// What the convolution kernels share, those of the FP32 units (conv2d.cu) and those of the tensor cores
// (conv2d_tf32.cu): shapes, windows, loads through an affine map, and which values a thread loads in each step. How the
// values are laid out in shared memory and multiplied is what the two differ in.
#pragma once
#include "../../../gpu/common.cuh"

#define THREADS 128
#define TILE_ROWS 128
#define DEPTH 16
// Rows of the weight gradient's tile.
#define TILE_TAPS 64
// Windows that it has at a time: a thread finds one every THREADS / DEPTH steps.
#define REDUCE_WINDOWS (2 * THREADS)

// `CudaConv` in conv2d/cuda/args.rs. `out` is the image that a kernel walks pixel by pixel, `in` the one whose
// neighbours it reads.
struct Conv {
    u32 pixels, out_h, out_w, out_channels; // of all images
    u32 in_h, in_w, in_channels;
    u32 group_in, group_out; // channels a group
    u32 r, s, stride_h, stride_w, pad_h, pad_w;
    u32 depth;         // r s group_in: length of the sum
    u32 weight_stride; // elements of w between neighbours in its last but one index
    u32 split_pixels;  // pixels that a block of the weight gradient sums, a multiple of DEPTH
    u32 add;
};
static_assert(sizeof(Conv) == 76, "as in Rust");

// Where the window of a pixel begins: index of its image's first pixel, and row and column, which may be outside.
struct Window {
    int base;
    short row, column;
};

// The window of `pixel`; for the adjoint, its last row and column. Outside of everything if there is no such pixel.
template <bool ADJOINT> __device__ __forceinline__ Window window(const Conv &p, u32 pixel, u32 end) {
    if (pixel >= end) {
        return {0, -32768, -32768};
    }
    const int column = pixel % p.out_w, line = pixel / p.out_w;
    const int row = line % p.out_h, image = line / p.out_h;
    const int base = image * p.in_h * p.in_w;
    if (ADJOINT) {
        return {base, static_cast<short>(row + p.pad_h), static_cast<short>(column + p.pad_w)};
    }
    return {base, static_cast<short>(row * p.stride_h - p.pad_h), static_cast<short>(column * p.stride_w - p.pad_w)};
}

// Index of the pixel that tap (r, s) of a window reads, or -1 if it is outside, or falls between the strides.
template <bool ADJOINT> __device__ __forceinline__ int neighbour(const Conv &p, Window at, int r, int s) {
    int row, column;
    if (ADJOINT) {
        row = at.row - r;
        column = at.column - s;
        if (row < 0 || column < 0) {
            return -1;
        }
        if (p.stride_h != 1 || p.stride_w != 1) {
            const int up = row / p.stride_h, left = column / p.stride_w;
            if (up * p.stride_h != row || left * p.stride_w != column) {
                return -1;
            }
            row = up;
            column = left;
        }
    } else {
        row = at.row + r;
        column = at.column + s;
        if (row < 0 || column < 0) {
            return -1;
        }
    }
    return row < p.in_h && column < p.in_w ? at.base + row * static_cast<int>(p.in_w) + column : -1;
}

// What a tap of a window reads: the first element of a pixel, if it is inside.
struct Read {
    u32 index;
    bool inside;
};

// The windows of the kernels below are of one of two kinds, for the same code. A `Tap` is what a thread needs of tap
// (r, s) for all windows, or of none, if `exists` is false.

// Windows of any shape.
template <bool ADJOINT> struct AnyWindow {
    Window at;
    struct Tap {
        int r, s;
        bool exists;
    };

    static __device__ __forceinline__ AnyWindow of(const Conv &p, u32 pixel, u32 end) { return {window<ADJOINT>(p, pixel, end)}; }

    static __device__ __forceinline__ Tap tap(const Conv &, int r, int s, bool exists) { return {r, s, exists}; }

    __device__ __forceinline__ Read read(const Conv &p, const Tap &tap) const {
        const int pixel = tap.exists ? neighbour<ADJOINT>(p, at, tap.r, tap.s) : -1;
        return {static_cast<u32>(pixel) * p.in_channels, pixel >= 0};
    }
};

// Bits begin..end, both cut to 0..taps.
__device__ __forceinline__ u32 bits(int begin, int end, u32 taps) {
    begin = begin > 0 ? begin : 0;
    end = end < static_cast<int>(taps) ? end : static_cast<int>(taps);
    return end > begin ? (1u << end) - (1u << begin) : 0;
}

// Windows of at most 15 taps in each direction, in an ADJOINT of stride 1: each tap reads a pixel at the same distance
// from that of the first tap in all windows. What takes the most instructions, whether it is inside, is found once.
template <bool ADJOINT> struct NearWindow {
    u32 first; // element that tap (0, 0) reads, if the image went on around its edges
    u32 taps;  // bit r: row r of the taps is inside; bit 16 + s: column s is
    struct Tap {
        u32 offset, bits;
    };

    static __device__ __forceinline__ NearWindow of(const Conv &p, u32 pixel, u32 end) {
        if (pixel >= end) {
            return {0, 0};
        }
        const int column = pixel % p.out_w, line = pixel / p.out_w;
        const int row = line % p.out_h, image = line / p.out_h;
        const int height = p.in_h, width = p.in_w;
        int top, left;
        u32 rows, columns;
        if (ADJOINT) {
            top = row + p.pad_h;
            left = column + p.pad_w;
            rows = bits(top - height + 1, top + 1, p.r);
            columns = bits(left - width + 1, left + 1, p.s);
        } else {
            top = row * p.stride_h - p.pad_h;
            left = column * p.stride_w - p.pad_w;
            rows = bits(-top, height - top, p.r);
            columns = bits(-left, width - left, p.s);
        }
        return {static_cast<u32>((image * height + top) * width + left) * p.in_channels, rows | columns << 16};
    }

    static __device__ __forceinline__ Tap tap(const Conv &p, int r, int s, bool exists) {
        const u32 offset = (r * p.in_w + s) * p.in_channels;
        // No window has bit 31.
        return {ADJOINT ? 0 - offset : offset, exists ? 1u << r | 1u << (16 + s) : 1u << 31};
    }

    __device__ __forceinline__ Read read(const Conv &, const Tap &tap) const { return {first + tap.offset, (tap.bits & ~taps) == 0}; }
};

// VEC consecutive values.
template <int VEC> struct Vec {
    float v[VEC];
};

template <int VEC> __device__ __forceinline__ Vec<VEC> load(const float *from, bool inside) {
    Vec<VEC> out;
    if constexpr (VEC == 4) {
        const float4 value = inside ? __ldg(reinterpret_cast<const float4 *>(from)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        out.v[0] = value.x;
        out.v[1] = value.y;
        out.v[2] = value.z;
        out.v[3] = value.w;
    } else {
        out.v[0] = inside ? __ldg(from) : 0.0f;
    }
    return out;
}

__device__ __forceinline__ float4 read4(const float *from) {
    return *reinterpret_cast<const float4 *>(from);
}

__device__ __forceinline__ Vec<4> vec4(const float *from) {
    const float4 value = read4(from);
    return {{value.x, value.y, value.z, value.w}};
}

__device__ __forceinline__ void write4(float *to, const Vec<4> &value) {
    *reinterpret_cast<float4 *>(to) = make_float4(value.v[0], value.v[1], value.v[2], value.v[3]);
}

// `Map` in conv2d/cuda/args.rs: scale[c] a + shift[c] in channel c, or a itself if there is no scale.
struct Map {
    const float *scale, *shift;
};
static_assert(sizeof(Map) == 16, "as in Rust");

// The map of VEC consecutive channels, to be applied to many pixels.
template <int VEC> struct Affine {
    Vec<VEC> scale, shift;

    __device__ __forceinline__ void of(const Map &map, u32 channel, bool inside) {
        scale = load<VEC>(map.scale + (inside ? channel : 0), inside);
        shift = load<VEC>(map.shift + (inside ? channel : 0), inside);
    }

    __device__ __forceinline__ void apply(Vec<VEC> &value) const {
#pragma unroll
        for (u32 v = 0; v < VEC; ++v) {
            value.v[v] = fmaf(scale.v[v], value.v[v], shift.v[v]);
        }
    }
};

// A position in the sum: tap (r, s), channel c of the group.
struct Cursor {
    u32 r, s, c;

    // Carries c over to the taps.
    __device__ __forceinline__ void carry(const Conv &p) {
        while (c >= p.group_in) {
            c -= p.group_in;
            if (++s == p.s) {
                s = 0;
                ++r;
            }
        }
    }
};

// What a thread of a gathering kernel loads in a step: VEC depths of every A_STEP-th pixel of the tile, and as many
// values of the weight. That of an ADJOINT is loaded along the sum, too, the other along the columns.
template <bool ADJOINT, class Windows, int VEC, int COLUMNS> struct GatherLoads {
    static constexpr u32 VECS = DEPTH / VEC;                       // vectors of a pixel in a step
    static constexpr u32 A_STEP = THREADS / VECS;                  // pixels that the block loads at once
    static constexpr u32 A_LOADS = TILE_ROWS / A_STEP;             // vectors of the image that a thread loads in a step
    static constexpr u32 B_LOADS = DEPTH * COLUMNS / VEC / THREADS; // and of the weight

    const Conv &p;
    const Map &map;
    const float *source, *w;
    const Windows *windows; // from row0 on
    const u32 column0, group, vec, row0;
    Cursor at; // of what was fetched last; after `finish`, of what is next
    u32 inside; // a bit for each vector of the image that was fetched last: whether it is inside
    Vec<VEC> image[A_LOADS], weight[B_LOADS];

    // `windows`: those of the tile's pixels, in shared memory.
    __device__ __forceinline__ GatherLoads(const Conv &p, const Map &map, const float *in, const float *w, const Windows *windows)
        : p(p), map(map), source(in + blockIdx.z * p.group_in), w(w), windows(windows + threadIdx.x / VECS), column0(blockIdx.y * COLUMNS),
          group(blockIdx.z), vec(threadIdx.x % VECS), row0(threadIdx.x / VECS), at{0, 0, vec * VEC} {
        at.carry(p);
    }

    // Loads the values of the depths from `depth0` on, those after the last ones. Does nothing with them: that would
    // wait for them, before the block multiplies what it has.
    __device__ __forceinline__ void fetch(u32 depth0) {
        inside = 0;
        const typename Windows::Tap tap = Windows::tap(p, at.r, at.s, at.r < p.r);
#pragma unroll
        for (u32 i = 0; i < A_LOADS; ++i) {
            const Read read = windows[i * A_STEP].read(p, tap);
            image[i] = load<VEC>(source + (read.inside ? read.index + at.c : 0), read.inside);
            inside |= (read.inside ? 1u : 0u) << i;
        }
#pragma unroll
        for (u32 i = 0; i < B_LOADS; ++i) {
            u32 index;
            bool exists;
            if (ADJOINT) {
                const u32 column = column0 + row0 + i * A_STEP;
                exists = at.r < p.r && column < p.group_out;
                index = ((at.r * p.s + at.s) * p.group_out + column) * p.weight_stride + group * p.group_in + at.c;
            } else {
                const u32 depth = depth0 + weight_depth(i), column = column0 + weight_column(i);
                exists = depth < p.depth && column < p.group_out;
                index = depth * p.weight_stride + group * p.group_out + column;
            }
            weight[i] = load<VEC>(w + index, exists);
        }
    }

    // Maps what was fetched, and goes on to the next depths. Scale and shift are loaded only now, from the cache: they
    // would take registers while the block multiplies.
    __device__ __forceinline__ void finish() {
        if (map.scale) {
            Affine<VEC> affine;
            affine.of(map, group * p.group_in + at.c, inside != 0);
#pragma unroll
            for (u32 i = 0; i < A_LOADS; ++i) {
                if (inside >> i & 1) {
                    affine.apply(image[i]);
                }
            }
        }
        at.c += DEPTH;
        at.carry(p);
    }

    // Row of the tile that image[i] is of; its depths are vec * VEC and those that follow.
    __device__ __forceinline__ u32 row(u32 i) const { return row0 + i * A_STEP; }

    // First depth and first column of the tile that weight[i] is of; the adjoint's is of VEC depths of a column.
    __device__ __forceinline__ u32 weight_depth(u32 i) const {
        return ADJOINT ? vec * VEC : (threadIdx.x + i * THREADS) / (COLUMNS / VEC);
    }
    __device__ __forceinline__ u32 weight_column(u32 i) const {
        return ADJOINT ? row0 + i * A_STEP : (threadIdx.x + i * THREADS) % (COLUMNS / VEC) * VEC;
    }
};

// What a thread of a weight gradient loads in a step: the same VA taps and channels of x of every A_STEP-th pixel of
// the step, and the same VB channels of dy of every B_STEP-th.
template <class Windows, int VA, int VB, int COLUMNS> struct ReduceLoads {
    static constexpr u32 A_VECS = TILE_TAPS / VA, B_VECS = COLUMNS / VB;       // vectors of a pixel
    static constexpr u32 A_STEP = THREADS / A_VECS, B_STEP = THREADS / B_VECS; // pixels that the block loads at once
    static constexpr u32 A_LOADS = DEPTH / A_STEP, B_LOADS = DEPTH / B_STEP;

    const Conv &p;
    const Map &in_map, &dy_map;
    const float *source, *dy, *gradient;
    Windows *windows;
    const u32 split, group, row0, column0; // of the block
    const u32 begin, end;                  // its pixels
    const u32 a_row, b_column;             // what the thread loads of the tile
    const bool a_inside, b_inside;
    Cursor at;
    typename Windows::Tap tap;
    Affine<VA> image_affine;
    Affine<VB> gradient_affine;
    u32 inside; // a bit for each vector that was fetched last, those of x first: whether it is inside
    Vec<VA> image[A_LOADS];
    Vec<VB> grad[B_LOADS];

    // `windows`: REDUCE_WINDOWS places in shared memory.
    __device__ __forceinline__ ReduceLoads(const Conv &p, u32 splits, const Map &in_map, const float *in, const Map &dy_map,
                                           const float *dy, Windows *windows)
        : p(p), in_map(in_map), dy_map(dy_map), dy(dy), windows(windows), split(blockIdx.z % splits), group(blockIdx.z / splits),
          row0(blockIdx.x * TILE_TAPS), column0(blockIdx.y * COLUMNS), begin(split * p.split_pixels),
          end(begin + p.split_pixels < p.pixels ? begin + p.split_pixels : p.pixels), a_row(threadIdx.x % A_VECS * VA),
          b_column(threadIdx.x % B_VECS * VB), a_inside(row0 + a_row < p.depth), b_inside(column0 + b_column < p.group_out),
          at{0, 0, a_inside ? row0 + a_row : 0} {
        at.carry(p);
        tap = Windows::tap(p, at.r, at.s, a_inside);
        source = in + group * p.group_in + at.c;
        gradient = dy + group * p.group_out + column0 + b_column;
        if (in_map.scale) {
            image_affine.of(in_map, group * p.group_in + at.c, a_inside);
        }
        if (dy_map.scale) {
            gradient_affine.of(dy_map, group * p.group_out + column0 + b_column, b_inside);
        }
    }

    __device__ __forceinline__ u32 steps() const { return end > begin ? (end - begin + DEPTH - 1) / DEPTH : 0; }

    // If a step needs them first, finds the windows of its pixels and of those that follow, for `fetch` after the next
    // barrier.
    __device__ __forceinline__ void prepare(u32 step) {
        if (step * DEPTH % THREADS == 0) {
            windows[step * DEPTH % REDUCE_WINDOWS + threadIdx.x] = Windows::of(p, begin + step * DEPTH + threadIdx.x, end);
        }
    }

    // Loads the values of a step, and does nothing with them, as in GatherLoads.
    __device__ __forceinline__ void fetch(u32 step) {
        inside = 0;
#pragma unroll
        for (u32 i = 0; i < A_LOADS; ++i) {
            const Read read = windows[step * DEPTH % REDUCE_WINDOWS + a_pixel(i)].read(p, tap);
            image[i] = load<VA>(source + (read.inside ? read.index : 0), read.inside);
            inside |= (read.inside ? 1u : 0u) << i;
        }
#pragma unroll
        for (u32 i = 0; i < B_LOADS; ++i) {
            const u32 pixel = begin + step * DEPTH + b_pixel(i);
            const bool exists = b_inside && pixel < end;
            grad[i] = load<VB>(gradient + pixel * p.out_channels, exists);
            inside |= (exists ? 1u : 0u) << (A_LOADS + i);
        }
    }

    // Maps what was fetched.
    __device__ __forceinline__ void finish() {
        if (in_map.scale) {
#pragma unroll
            for (u32 i = 0; i < A_LOADS; ++i) {
                if (inside >> i & 1) {
                    image_affine.apply(image[i]);
                }
            }
        }
        if (dy_map.scale) {
#pragma unroll
            for (u32 i = 0; i < B_LOADS; ++i) {
                if (inside >> (A_LOADS + i) & 1) {
                    gradient_affine.apply(grad[i]);
                }
            }
        }
    }

    // Pixel of the step that image[i] and grad[i] are of.
    __device__ __forceinline__ u32 a_pixel(u32 i) const { return threadIdx.x / A_VECS + i * A_STEP; }
    __device__ __forceinline__ u32 b_pixel(u32 i) const { return threadIdx.x / B_VECS + i * B_STEP; }
};
