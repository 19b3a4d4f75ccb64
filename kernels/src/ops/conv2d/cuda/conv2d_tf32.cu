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

#define WARPS (THREADS / 32)
#define WARP_ROWS 32

// The nearest number of 10 bits of mantissa, of two equally near ones that of the larger magnitude.
__device__ __forceinline__ float to_tf32(float x) {
#ifdef CUDA_EMULATOR
    return CUDA_EMULATOR_CVT_RNA_TF32(x);
#else
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
#endif
}

// d += a b of the warp's matrices 16x8, 8x8 and 16x8. Lane 4 g + t has, as the PTX ISA says in "Matrix Fragments for
// mma.m16n8k8",
//
//     of a (row, k): (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)          of b (k, column): (t, g), (t + 4, g)
//     of d (row, column): (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
//
// All lanes have to come here. The order and the rounding of the sums within is the GPU's, and the same each time.
__device__ __forceinline__ void multiply_matrices(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
#ifdef CUDA_EMULATOR
    CUDA_EMULATOR_MMA_M16N8K8_TF32(d, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
}

// Rounds and writes 4 values that are neighbours in a tile.
__device__ __forceinline__ void put_tf32(float *tile, const Vec<4> &value) {
    *reinterpret_cast<float4 *>(tile) = make_float4(to_tf32(value.v[0]), to_tf32(value.v[1]), to_tf32(value.v[2]), to_tf32(value.v[3]));
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
        float left[M][4];
#pragma unroll
        for (u32 i = 0; i < M; ++i) {
#pragma unroll
            for (u32 v = 0; v < 4; ++v) {
                left[i][v] = A::read(a, row + g, t, 16 * i + v % 2 * 8, k + v / 2 * 4);
            }
        }
#pragma unroll
        for (u32 j = 0; j < N; ++j) {
            float right[2];
#pragma unroll
            for (u32 v = 0; v < 2; ++v) {
                right[v] = B::read(b, column + g, t, 8 * j, k + v * 4);
            }
#pragma unroll
            for (u32 i = 0; i < M; ++i) {
                multiply_matrices(acc[i][j], left[i], right);
            }
        }
    }
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

// As in conv2d.cu, from a halo in shared memory; `gather`'s sums, if there are CHUNK channels at most.
//
// Of 4 warps, each has 2 rows of pixels (2 fragments) x all columns. A value of lane 4 g + t is one of 8 pixels beside
// each other, and one of 4 channels: with HALO_STRIDE values from pixel to pixel there is another bank for each.
template <bool ADJOINT>
__device__ __forceinline__ void gather_halo(const Conv &p, const Map &map, const float *__restrict__ in, const float *__restrict__ w,
                                            const float *__restrict__ bias, float *__restrict__ out, float *a, float *b) {
    static_assert(WARPS * 2 == HALO_ROWS && HALO_COLUMNS == 16, "each warp has two rows, of a fragment each");
    static_assert(HALO_STRIDE % 32 == 4, "see above");
    // From one depth of a tap's weights to the next, and from one column to the next.
    constexpr u32 B_STRIDE = ADJOINT ? CHUNK + 4 : HALO_OUTPUTS + 8, B_SIZE = CHUNK * B_STRIDE;
    constexpr u32 B_DEPTH = ADJOINT ? 1 : B_STRIDE, B_COLUMN = ADJOINT ? B_STRIDE : 1;
    const Halo<ADJOINT> halo(p, in, blockIdx.x);
    auto store = [&](u32 buffer, const TapLoads<ADJOINT> &loads) {
        loads.each([&](u32 depth, u32 column, const Vec<4> &value) { put_tf32(b + buffer * B_SIZE + depth * B_DEPTH + column * B_COLUMN, value); });
    };
    const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, row0 = threadIdx.x / 32 * 2;
    float acc[2][HALO_OUTPUTS / 8][4] = {};
    TapLoads<ADJOINT> loads;
    for (u32 channel0 = 0; channel0 < p.group_in; channel0 += CHUNK) {
        loads.fetch(p, w, 0, channel0);
        halo.template load<THREADS, 6>(p, map, channel0, [&](u32 pixel, u32 channel, const Vec<4> &value) { put_tf32(a + pixel * HALO_STRIDE + channel, value); });
        store(0, loads);
        __syncthreads();
#pragma unroll
        for (u32 tap = 0; tap < HALO_TAPS * HALO_TAPS; ++tap) {
            const bool is_last = tap + 1 == HALO_TAPS * HALO_TAPS;
            if (!is_last) {
                loads.fetch(p, w, tap + 1, channel0);
            }
            const float *a_of_lane = a + (row0 * HALO_WIDTH + g + Halo<ADJOINT>::pixel_of(tap)) * HALO_STRIDE + t;
            const float *b_of_lane = b + tap % 2 * B_SIZE + g * B_COLUMN + t * B_DEPTH;
#pragma unroll
            for (u32 k = 0; k < CHUNK; k += 8) {
                if (channel0 + k >= p.group_in) {
                    break;
                }
                float image[2][4];
#pragma unroll
                for (u32 i = 0; i < 2; ++i) {
#pragma unroll
                    for (u32 v = 0; v < 4; ++v) {
                        image[i][v] = a_of_lane[(i * HALO_WIDTH + v % 2 * 8) * HALO_STRIDE + k + v / 2 * 4];
                    }
                }
#pragma unroll
                for (u32 j = 0; j < HALO_OUTPUTS / 8; ++j) {
                    float weight[2];
#pragma unroll
                    for (u32 v = 0; v < 2; ++v) {
                        weight[v] = b_of_lane[8 * j * B_COLUMN + (k + v * 4) * B_DEPTH];
                    }
#pragma unroll
                    for (u32 i = 0; i < 2; ++i) {
                        multiply_matrices(acc[i][j], image[i], weight);
                    }
                }
            }
            if (!is_last) {
                store((tap + 1) % 2, loads);
            }
            __syncthreads();
        }
    }

#pragma unroll
    for (u32 j = 0; j < HALO_OUTPUTS / 8; ++j) {
        const u32 column = blockIdx.y * HALO_OUTPUTS + 8 * j + 2 * t, channel = blockIdx.z * p.group_out + column;
        if (column < p.group_out) {
            const float2 more = bias ? make_float2(bias[channel], bias[channel + 1]) : make_float2(0.0f, 0.0f);
#pragma unroll
            for (u32 i = 0; i < 2; ++i) {
#pragma unroll
                for (u32 v = 0; v < 2; ++v) {
                    const u32 row = halo.tile.row + row0 + i, x = halo.tile.column + 8 * v + g;
                    if (row < p.out_h && x < p.out_w) {
                        const float2 value = make_float2(acc[i][j][2 * v] + more.x, acc[i][j][2 * v + 1] + more.y);
                        put2(out + halo.tile.pixel(p, row, x) * p.out_channels + channel, value, p.add);
                    }
                }
            }
        }
    }
}

#define GATHER_HALO(NAME, ADJOINT)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, 4)                                                                       \
        NAME(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,           \
             float *__restrict__ out) {                                                                                            \
        __shared__ float4 a[HALO_PIXELS * HALO_STRIDE / 4];                                                                        \
        __shared__ float4 b[2 * CHUNK * (HALO_OUTPUTS + ((ADJOINT) ? 4 : 8)) / 4];                                                 \
        gather_halo<ADJOINT>(p, map, in, w, bias, out, reinterpret_cast<float *>(a), reinterpret_cast<float *>(b));                \
    }

GATHER_HALO(conv2d_tf32_forward_halo, false)
GATHER_HALO(conv2d_tf32_adjoint_halo, true)

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

// As in conv2d.cu, from a halo in shared memory: a warp for each tap, whose sums of CHUNK x HALO_OUTPUTS are 2 x 4
// fragments. Those of x are read [t][g], one of 4 pixels and of 8 channels: with CHUNK + 8 values from pixel to pixel
// there is another bank for each. For dy as well there would not be shared memory enough, so groups of 8 channels are
// permuted by exclusive or with the pixel's number modulo 4, which is t. Grid: chunks of channels of x, tiles of k,
// splits x groups.
#define TAP_THREADS (32 * HALO_TAPS * HALO_TAPS)
__device__ __forceinline__ void reduce_halo(const Conv &p, u32 splits, const Map &in_map, const float *__restrict__ in,
                                            const Map &dy_map, const float *__restrict__ dy, float *__restrict__ partial, float *a,
                                            float *b) {
    constexpr u32 A_STRIDE = CHUNK + 8;
    static_assert(CHUNK == 32 && HALO_OUTPUTS == 32 && A_STRIDE % 32 == 8, "see above");
    const HaloSplit range(p, splits);
    const u32 channel0 = blockIdx.x * CHUNK, column0 = blockIdx.y * HALO_OUTPUTS;
    const u32 tap = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float acc[2][4][4] = {};
#pragma unroll 1
    for (u32 tile = range.begin; tile < range.end; ++tile) {
        const Halo<false> halo(p, in, tile, range.group);
        halo.load<TAP_THREADS, 5>(
            p, in_map, channel0, [&](u32 pixel, u32 channel, const Vec<4> &value) { put_tf32(a + pixel * A_STRIDE + channel, value); },
            range.group);
        halo.tile.load<TAP_THREADS>(p, dy_map, dy, range.group, column0, [&](u32 pixel, u32 channel, const Vec<4> &value) {
            put_tf32(b + pixel * HALO_OUTPUTS + (channel ^ (8 * (pixel % 4))), value);
        });
        __syncthreads();
        const float *a_of_lane = a + (Halo<false>::pixel_of(tap) + t) * A_STRIDE + g;
        const float *b_of_lane = b + t * HALO_OUTPUTS + g;
#pragma unroll 4 // more would take more registers than there are
        for (u32 pixel = 0; pixel < HALO_ROWS * HALO_COLUMNS; pixel += 8) {
            const u32 of_halo = pixel / HALO_COLUMNS * HALO_WIDTH + pixel % HALO_COLUMNS;
            float left[2][4];
#pragma unroll
            for (u32 i = 0; i < 2; ++i) {
#pragma unroll
                for (u32 v = 0; v < 4; ++v) {
                    left[i][v] = a_of_lane[(of_halo + v / 2 * 4) * A_STRIDE + 16 * i + v % 2 * 8];
                }
            }
#pragma unroll
            for (u32 j = 0; j < 4; ++j) {
                float right[2];
#pragma unroll
                for (u32 v = 0; v < 2; ++v) {
                    right[v] = (b_of_lane + 8 * (j ^ t))[(pixel + v * 4) * HALO_OUTPUTS];
                }
#pragma unroll
                for (u32 i = 0; i < 2; ++i) {
                    multiply_matrices(acc[i][j], left[i], right);
                }
            }
        }
        __syncthreads(); // before the next tile takes its place
    }

    float *out = partial + range.split * (p.depth * p.weight_stride) + range.group * p.group_out;
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
#pragma unroll
            for (u32 v = 0; v < 4; ++v) {
                const u32 channel = channel0 + 16 * i + v / 2 * 8 + g, column = column0 + 8 * j + 2 * t + v % 2;
                if (channel < p.group_in && column < p.group_out) {
                    out[(tap * p.group_in + channel) * p.weight_stride + column] = acc[i][j][v];
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(TAP_THREADS, 2)
    conv2d_tf32_weight_halo(Conv p, u32 splits, Map in_map, const float *__restrict__ in, Map dy_map, const float *__restrict__ dy,
                            float *__restrict__ partial) {
    __shared__ float4 a[HALO_PIXELS * (CHUNK + 8) / 4];
    __shared__ float4 b[HALO_ROWS * HALO_COLUMNS * HALO_OUTPUTS / 4];
    reduce_halo(p, splits, in_map, in, dy_map, dy, partial, reinterpret_cast<float *>(a), reinterpret_cast<float *>(b));
}
