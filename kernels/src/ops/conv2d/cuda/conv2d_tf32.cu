// The convolutions of conv2d.cu on tensor cores, for GPUs that have TF32 (compute capability 8.0 or later): the same
// tiles, loads and sums of as many parts, but operands are rounded to TF32, 10 bits of mantissa in place of 23, and
// each warp multiplies matrices of 16x8 and 8x8. Sums are of 32 bits.
//
// A step's values are rounded once, on their way to shared memory. In a block of 4 warps, each has 32 rows of
// `gather`'s tile (2 fragments) x all columns (COLUMNS / 8 fragments), or 32 rows x half of the columns of
// `reduce_rows`'. For DEPTH = 16 depths of 128 x 32 sums, the block writes 10 KiB to shared memory, reads 16 KiB and
// multiplies 64 pairs of matrices: at 128 bytes a clock, reading takes as long as multiplying on an A100 (2 clocks a
// pair), which is why ROOFLINE.md counts it.
//
// Shared memory has two layouts, one for each way that a thread's 4 values lie. Both are written 16 bytes at a time,
// and read 4 bytes at a time without conflicts: of lane 4 g + t, a fragment's address has to be another one modulo 32
// for each g and t.
//
// - `Across`: a row of the tile has one depth, and a thread writes 4 columns of it. Lanes read [t][g]: the distance of
//   rows, modulo 32, has to be 8 or 24.
// - `Along`: a row of the tile has all DEPTH depths of a pixel or channel, and a thread writes 4 of them. Lanes read
//   [g][t], 4 consecutive depths of each of 8 rows. Without padding two rows fill the 32 banks, so that 8 lanes that
//   write two rows do not meet; and for the 8 rows that are read not to, depths are permuted: groups of 4 by exclusive
//   or with half of the row's number.
//
// Other shapes than those with channels in groups of 4, and operands that are not aligned, stay with conv2d.cu.
#include "conv2d.cuh"
#include "mma.cuh"

#define WARPS (THREADS / 32)
#define WARP_ROWS 32

// Rounds and writes 4 values that are neighbours in a tile.
__device__ __forceinline__ void put_tf32(float *tile, const Vec<4> &value) {
    write4(tile, {{to_tf32(value.v[0]), to_tf32(value.v[1]), to_tf32(value.v[2]), to_tf32(value.v[3])}});
}

__device__ __forceinline__ void put2(float *out, float2 value, u32 add) {
    float2 *to = reinterpret_cast<float2 *>(out);
    if (add) {
        const float2 old = *to;
        value.x += old.x;
        value.y += old.y;
    }
    *to = value;
}

// [DEPTH][rows], rows contiguous.
template <u32 ROWS> struct Across {
    static constexpr u32 STRIDE = ROWS + 8, SIZE = DEPTH * STRIDE;
    static_assert(STRIDE % 32 == 8 || STRIDE % 32 == 24, "see above");

    static __device__ __forceinline__ u32 at(u32 row, u32 depth) { return depth * STRIDE + row; }

    // The value `rows` after `row` and `depths` after `depth`.
    static __device__ __forceinline__ float read(const float *tile, u32 row, u32 depth, u32 rows, u32 depths) {
        return (tile + at(row, depth))[depths * STRIDE + rows];
    }
};

// [rows][DEPTH], depths contiguous in groups of 4.
template <u32 ROWS> struct Along {
    static constexpr u32 SIZE = ROWS * DEPTH;
    static_assert(DEPTH == 16, "4 groups of depths, and two rows in the 32 banks");

    static __device__ __forceinline__ u32 at(u32 row, u32 depth) { return row * DEPTH + ((depth / 4) ^ (row / 2 % 4)) * 4 + depth % 4; }

    // As above; `rows` is a multiple of 8, after which the permutation is the same.
    static __device__ __forceinline__ float read(const float *tile, u32 row, u32 depth, u32 rows, u32 depths) {
        return (tile + at(row, depth + depths))[rows * DEPTH];
    }
};

// acc[i][j] += a b for DEPTH depths: i counts fragments of 16 rows of `a` from `row` on, j those of 8 columns of `b`
// from `column` on. What the compiler knows of a place, `rows` and `depths`, is added to an address, not to an index of
// 32 bits: that could wrap around, so the compiler may not make it the offset of a load, which costs nothing.
template <class A, class B, int M, int N>
__device__ __forceinline__ void multiply(float (&acc)[M][N][4], const float *a, u32 row, const float *b, u32 column) {
    const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (u32 k = 0; k < DEPTH; k += 8) {
        float left[M][1][4];
#pragma unroll
        for (u32 i = 0; i < M; ++i) {
#pragma unroll
            for (u32 v = 0; v < 4; ++v) {
                left[i][0][v] = A::read(a, row + g, t, 16 * i + v % 2 * 8, k + v / 2 * 4);
            }
        }
#pragma unroll
        for (u32 j = 0; j < N; ++j) {
            float right[1][2];
#pragma unroll
            for (u32 v = 0; v < 2; ++v) {
                right[0][v] = B::read(b, column + g, t, 8 * j, k + v * 4);
            }
#pragma unroll
            for (u32 i = 0; i < M; ++i) {
                add_product(acc[i][j], left[i], right);
            }
        }
    }
}

// As in conv2d.cu: the forward pass, or its ADJOINT, the input gradient. Grid: tiles of pixels, tiles of channels,
// groups.
template <bool ADJOINT, class Windows, u32 COLUMNS, class B>
__device__ __forceinline__ void gather(const Conv &p, const Map &map, const float *__restrict__ in, const float *__restrict__ w,
                                       const float *__restrict__ bias, float *__restrict__ out, Windows *windows, float *a,
                                       float *b) {
    using A = Along<TILE_ROWS>;
    using Loads = GatherLoads<ADJOINT, Windows, 4, COLUMNS>;
    static_assert(WARPS * WARP_ROWS == TILE_ROWS, "each warp has its rows");
    const u32 first = blockIdx.x * TILE_ROWS;
    windows[threadIdx.x] = Windows::of(p, first + threadIdx.x, p.pixels);
    Loads loads(p, map, in, w, windows);
    auto store = [&](u32 buffer) {
        loads.finish();
#pragma unroll
        for (u32 i = 0; i < Loads::A_LOADS; ++i) {
            put_tf32(a + buffer * A::SIZE + A::at(loads.row(i), loads.vec * 4), loads.image[i]);
        }
#pragma unroll
        for (u32 i = 0; i < Loads::B_LOADS; ++i) {
            put_tf32(b + buffer * B::SIZE + B::at(loads.weight_column(i), loads.weight_depth(i)), loads.weight[i]);
        }
    };

    const u32 row0 = threadIdx.x / 32 * WARP_ROWS;
    float acc[WARP_ROWS / 16][COLUMNS / 8][4] = {};
    const u32 steps = (p.depth + DEPTH - 1) / DEPTH;
    __syncthreads(); // windows
    loads.fetch(0);
    store(0);
    __syncthreads();
    for (u32 step = 0; step < steps; ++step) {
        const u32 buffer = step % 2;
        if (step + 1 < steps) {
            loads.fetch((step + 1) * DEPTH);
        }
        multiply<A, B>(acc, a + buffer * A::SIZE, row0, b + buffer * B::SIZE, 0);
        if (step + 1 < steps) {
            store(1 - buffer);
        }
        __syncthreads();
    }

    const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (u32 j = 0; j < COLUMNS / 8; ++j) {
        const u32 column = loads.column0 + 8 * j + 2 * t, channel = loads.group * p.group_out + column;
        if (column < p.group_out) {
            const float2 more = bias ? make_float2(bias[channel], bias[channel + 1]) : make_float2(0.0f, 0.0f);
#pragma unroll
            for (u32 i = 0; i < WARP_ROWS / 16; ++i) {
#pragma unroll
                for (u32 v = 0; v < 2; ++v) {
                    const u32 pixel = first + row0 + 16 * i + 8 * v + g;
                    if (pixel < p.pixels) {
                        const float2 value = make_float2(acc[i][j][2 * v] + more.x, acc[i][j][2 * v + 1] + more.y);
                        put2(out + pixel * p.out_channels + channel, value, p.add);
                    }
                }
            }
        }
    }
}

// The weight of an adjoint is contiguous along the sum, the other along the columns.
#define GATHER(NAME, ADJOINT, WINDOW, COLUMNS, B)                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, (COLUMNS) == 32 ? 4 : 3)                                                 \
        NAME(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,           \
             float *__restrict__ out) {                                                                                            \
        __shared__ WINDOW<ADJOINT> windows[TILE_ROWS];                                                                             \
        __shared__ float4 a[2 * Along<TILE_ROWS>::SIZE / 4];                                                                       \
        __shared__ float4 b[2 * B<COLUMNS>::SIZE / 4];                                                                             \
        gather<ADJOINT, WINDOW<ADJOINT>, COLUMNS, B<COLUMNS>>(p, map, in, w, bias, out, windows, reinterpret_cast<float *>(a),     \
                                                              reinterpret_cast<float *>(b));                                       \
    }

GATHER(conv2d_tf32_forward_32, false, NearWindow, 32, Across)
GATHER(conv2d_tf32_forward_64, false, NearWindow, 64, Across)
GATHER(conv2d_tf32_adjoint_32, true, NearWindow, 32, Along)
GATHER(conv2d_tf32_adjoint_64, true, NearWindow, 64, Along)
GATHER(conv2d_tf32_adjoint_any_32, true, AnyWindow, 32, Along)

// As in conv2d.cu: weight gradient of a part of the pixels. Grid: tiles of (r, s, c), tiles of k, splits x groups.
template <u32 COLUMNS>
__device__ __forceinline__ void reduce_rows(const Conv &p, u32 splits, const Map &in_map, const float *__restrict__ in,
                                            const Map &dy_map, const float *__restrict__ dy, float *__restrict__ partial,
                                            NearWindow<false> *windows, float *a, float *b) {
    using A = Across<TILE_TAPS>;
    using B = Across<COLUMNS>;
    using Loads = ReduceLoads<NearWindow<false>, 4, 4, COLUMNS>;
    static_assert(WARPS == 4 && TILE_TAPS == 2 * WARP_ROWS, "two warps beside each other, and two below each other");
    Loads loads(p, splits, in_map, in, dy_map, dy, windows);
    auto store = [&](u32 buffer) {
        loads.finish();
#pragma unroll
        for (u32 i = 0; i < Loads::A_LOADS; ++i) {
            put_tf32(a + buffer * A::SIZE + A::at(loads.a_row, loads.a_pixel(i)), loads.image[i]);
        }
#pragma unroll
        for (u32 i = 0; i < Loads::B_LOADS; ++i) {
            put_tf32(b + buffer * B::SIZE + B::at(loads.b_column, loads.b_pixel(i)), loads.grad[i]);
        }
    };

    const u32 warp = threadIdx.x / 32, row0 = warp % 2 * WARP_ROWS, column0 = warp / 2 * (COLUMNS / 2);
    float acc[WARP_ROWS / 16][COLUMNS / 16][4] = {};
    const u32 steps = loads.steps();
    loads.prepare(0);
    __syncthreads();
    if (steps > 0) {
        loads.fetch(0);
        store(0);
    }
    __syncthreads();
    for (u32 step = 0; step < steps; ++step) {
        const u32 buffer = step % 2;
        if (step + 1 < steps) {
            loads.fetch(step + 1);
            // in the place of windows that were read before the last barrier
            loads.prepare(step + 2);
        }
        multiply<A, B>(acc, a + buffer * A::SIZE, row0, b + buffer * B::SIZE, column0);
        if (step + 1 < steps) {
            store(1 - buffer);
        }
        __syncthreads();
    }

    const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float *out = partial + loads.split * (p.depth * p.weight_stride) + loads.group * p.group_out;
#pragma unroll
    for (u32 i = 0; i < WARP_ROWS / 16; ++i) {
#pragma unroll
        for (u32 j = 0; j < COLUMNS / 16; ++j) {
#pragma unroll
            for (u32 v = 0; v < 4; ++v) {
                const u32 row = loads.row0 + row0 + 16 * i + v / 2 * 8 + g;
                const u32 column = loads.column0 + column0 + 8 * j + 2 * t + v % 2;
                if (row < p.depth && column < p.group_out) {
                    out[row * p.weight_stride + column] = acc[i][j][v];
                }
            }
        }
    }
}

#define REDUCE_ROWS(NAME, COLUMNS)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, (COLUMNS) == 32 ? 5 : 4)                                                 \
        NAME(Conv p, u32 splits, Map in_map, const float *__restrict__ in, Map dy_map, const float *__restrict__ dy,               \
             float *__restrict__ partial) {                                                                                        \
        __shared__ NearWindow<false> windows[REDUCE_WINDOWS];                                                                      \
        __shared__ float4 a[2 * Across<TILE_TAPS>::SIZE / 4];                                                                      \
        __shared__ float4 b[2 * Across<COLUMNS>::SIZE / 4];                                                                        \
        reduce_rows<COLUMNS>(p, splits, in_map, in, dy_map, dy, partial, windows, reinterpret_cast<float *>(a),                    \
                             reinterpret_cast<float *>(b));                                                                        \
    }

REDUCE_ROWS(conv2d_tf32_weight_32, 32)
REDUCE_ROWS(conv2d_tf32_weight_64, 64)
