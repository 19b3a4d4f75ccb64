// The convolutions of conv2d_halo.cu on tensor cores, in two precisions. They differ in the numbers of TF32 that a
// value is multiplied as, PARTS (mma.cuh): one (conv2d_halo_tf32.cu), of 10 bits of mantissa in place of 23, or two
// (conv2d_halo_tf32x3.cu). Three of the four products of those are added, which is as exact as f32.
//
// Single values are rounded once, on their way to shared memory. Of those that become two, only the weights are split
// on their way: for both parts of the pixels there would not be shared memory enough.
//
// Which of a tile's rows, columns and depths a fragment's are, is free, if both operands agree, and the sums are
// written to where they belong. So they are chosen for a lane to read what it needs in few wide loads, whose lanes'
// addresses, 4, 8 or 16 at a time, are in other banks. In a fragment of 8 depths, lane 4 g + t has depths 2 t and
// 2 t + 1 (as those that the PTX ISA calls t and t + 4).
#pragma once
#include "conv2d.cuh"
#include "halo.cuh"
#include "mma.cuh"

#define WARPS (THREADS / 32)

// What shared memory has of a value that is split when it is read.
template <u32 PARTS> __device__ __forceinline__ float kept(float x) {
    return PARTS == 1 ? to_tf32(x) : x;
}

template <u32 PARTS> __device__ __forceinline__ Vec<4> kept(const Vec<4> &value) {
    return {{kept<PARTS>(value.v[0]), kept<PARTS>(value.v[1]), kept<PARTS>(value.v[2]), kept<PARTS>(value.v[3])}};
}

// Register i of a fragment, from what shared memory has.
template <int N> __device__ __forceinline__ void set(float (&fragment)[1][N], u32 i, float kept) {
    fragment[0][i] = kept;
}

template <int N> __device__ __forceinline__ void set(float (&fragment)[2][N], u32 i, float kept) {
    float part[2];
    split(kept, part);
    fragment[0][i] = part[0];
    fragment[1][i] = part[1];
}

// The weights of a tap in shared memory. Both depths of a lane in both columns of a fragment, 2 channels beside each
// other, are 16 bytes: the fragment of a lane.
template <u32 PARTS> struct TapWeights {
    static constexpr u32 DEPTHS = 2 * HALO_OUTPUTS + 8; // from one pair of depths to the next
    static constexpr u32 PART = CHUNK / 2 * DEPTHS, SIZE = PARTS * PART;
    static_assert(HALO_OUTPUTS == 32, "8 lanes have 4 columns each");
    static_assert(DEPTHS % 32 == 8, "8 lanes that read 16 bytes, of 4 pairs of depths and 2 columns, are in other banks");

    static __device__ __forceinline__ u32 at(u32 depth, u32 column) {
        return depth / 2 * DEPTHS + column / 2 % 2 * HALO_OUTPUTS + column / 4 * 4 + depth % 2 * 2 + column % 2;
    }

    // 4 columns of a depth from an even one on, or 4 depths of a column of an ADJOINT's.
    template <bool ADJOINT> static __device__ __forceinline__ void put(float *weights, u32 depth, u32 column, const Vec<4> &value) {
        float part[4][PARTS];
#pragma unroll
        for (u32 v = 0; v < 4; ++v) {
            split(value.v[v], part[v]);
        }
#pragma unroll
        for (u32 i = 0; i < PARTS; ++i) {
#pragma unroll
            for (u32 v = 0; v < 4; v += ADJOINT ? 1 : 2) {
                float *to = weights + i * PART + at(depth + (ADJOINT ? v : 0), column + (ADJOINT ? 0 : v));
                if (ADJOINT) {
                    *to = part[v][i];
                } else {
                    *reinterpret_cast<float2 *>(to) = make_float2(part[v][i], part[v + 1][i]);
                }
            }
        }
    }

    // Fragment 0 or 1 of a lane, for 8 depths from `depth` on: rows g and g + 8 are columns 4 g and 4 g + 1, or the two
    // that follow.
    static __device__ __forceinline__ void read(const float *weights, u32 depth, u32 fragment, float (&to)[PARTS][4]) {
        const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (u32 i = 0; i < PARTS; ++i) {
            const float4 value = read4(weights + (t * DEPTHS + g * 4) + (i * PART + depth / 2 * DEPTHS + fragment * HALO_OUTPUTS));
            to[i][0] = value.x;
            to[i][1] = value.y;
            to[i][2] = value.z;
            to[i][3] = value.w;
        }
    }
};

// As in conv2d_halo.cu. Of 4 warps, each has 2 rows of pixels (4 fragments of 8 columns) x all channels (2 fragments of
// 16 rows).
template <bool ADJOINT, u32 PARTS>
__device__ __forceinline__ void gather_halo(const Conv &p, const Map &map, const float *__restrict__ in, const float *__restrict__ w,
                                            const float *__restrict__ bias, float *__restrict__ out, float *a, float *b) {
    using Weights = TapWeights<PARTS>;
    static_assert(WARPS * 2 == HALO_ROWS && HALO_COLUMNS == 16, "each warp has two rows, of two fragments each");
    constexpr u32 STRIDE = CHUNK + 8; // from pixel to pixel
    static_assert(STRIDE % 32 == 8, "16 lanes that read 8 bytes, of 4 pixels and 4 pairs of depths, are in other banks");
    const Halo<ADJOINT> halo(p, in, blockIdx.x);
    auto store = [&](u32 buffer, const TapLoads<ADJOINT> &loads) {
        loads.each([&](u32 depth, u32 column, const Vec<4> &value) {
            Weights::template put<ADJOINT>(b + buffer * Weights::SIZE, depth, column, value);
        });
    };
    const u32 g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, row0 = threadIdx.x / 32 * 2;
    float acc[2][4][4] = {};
    TapLoads<ADJOINT> loads;
    for (u32 channel0 = 0; channel0 < p.group_in; channel0 += CHUNK) {
        loads.fetch(p, w, 0, channel0);
        halo.template load<THREADS, 6>(p, map, channel0, [&](u32 pixel, u32 channel, const Vec<4> &value) {
            write4(a + pixel * STRIDE + channel, kept<PARTS>(value));
        });
        store(0, loads);
        __syncthreads();
#pragma unroll (PARTS == 1 ? HALO_TAPS * HALO_TAPS : 1)
        for (u32 tap = 0; tap < HALO_TAPS * HALO_TAPS; ++tap) {
            const bool is_last = tap + 1 == HALO_TAPS * HALO_TAPS;
            if (!is_last) {
                loads.fetch(p, w, tap + 1, channel0);
            }
            const float *image = a + (row0 * HALO_WIDTH + g + Halo<ADJOINT>::pixel_of(tap)) * STRIDE + 2 * t;
            const float *weights = b + tap % 2 * Weights::SIZE;
#pragma unroll
            for (u32 k = 0; k < CHUNK; k += 8) {
                if (channel0 + k >= p.group_in) {
                    break;
                }
                float left[2][PARTS][4];
#pragma unroll
                for (u32 i = 0; i < 2; ++i) {
                    Weights::read(weights, k, i, left[i]);
                }
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    const float2 value = *reinterpret_cast<const float2 *>(image + (j / 2 * HALO_WIDTH + j % 2 * 8) * STRIDE + k);
                    float right[PARTS][2];
                    set(right, 0, value.x);
                    set(right, 1, value.y);
#pragma unroll
                    for (u32 i = 0; i < 2; ++i) {
                        add_product(acc[i][j], left[i], right);
                    }
                }
            }
            if (!is_last) {
                store((tap + 1) % 2, loads);
            }
            __syncthreads();
        }
    }

    const u32 column = blockIdx.y * HALO_OUTPUTS + 4 * g, channel = blockIdx.z * p.group_out + column;
    if (column < p.group_out) {
        Vec<4> more = {};
        if (bias) { // which may not be aligned
#pragma unroll
            for (u32 v = 0; v < 4; ++v) {
                more.v[v] = bias[channel + v];
            }
        }
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
#pragma unroll
            for (u32 v = 0; v < 2; ++v) {
                const u32 row = halo.tile.row + row0 + j / 2, x = halo.tile.column + j % 2 * 8 + 2 * t + v;
                if (row < p.out_h && x < p.out_w) {
                    const float4 value = make_float4(acc[0][j][v] + more.v[0], acc[0][j][2 + v] + more.v[1], acc[1][j][v] + more.v[2],
                                                     acc[1][j][2 + v] + more.v[3]);
                    put4(out + halo.tile.pixel(p, row, x) * p.out_channels + channel, value, p.add);
                }
            }
        }
    }
}

#define GATHER_HALO(NAME, ADJOINT, PARTS)                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, 4)                                                                       \
        NAME(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,           \
             float *__restrict__ out) {                                                                                            \
        __shared__ float4 a[HALO_PIXELS * (CHUNK + 8) / 4];                                                                        \
        __shared__ float4 b[2 * TapWeights<PARTS>::SIZE / 4];                                                                      \
        gather_halo<ADJOINT, PARTS>(p, map, in, w, bias, out, reinterpret_cast<float *>(a), reinterpret_cast<float *>(b));         \
    }

// As in conv2d_halo.cu: a warp for each tap, whose sums of CHUNK channels of x x HALO_OUTPUTS of dy are 2 x 4
// fragments. A lane's depths are two pixels beside each other. Of x it reads 2 channels at a time, rows g and g + 8 of
// a fragment; of dy, whose pixels lie in pairs in shared memory, 2 channels of both pixels, column g of 2 fragments.
// Grid: chunks of channels of x, tiles of k, splits x groups.
#define TAP_THREADS (32 * HALO_TAPS * HALO_TAPS)
#define X_STRIDE (CHUNK + 4)             // from pixel to pixel
#define PAIR_STRIDE (2 * HALO_OUTPUTS + 8) // from one pair of pixels to the next
template <u32 PARTS>
__device__ __forceinline__ void reduce_halo(const Conv &p, u32 splits, const Map &in_map, const float *__restrict__ in,
                                            const Map &dy_map, const float *__restrict__ dy, float *__restrict__ partial, float *a,
                                            float *b) {
    static_assert(CHUNK == 32 && HALO_OUTPUTS == 32 && HALO_COLUMNS % 8 == 0, "2 x 4 fragments; 8 pixels are in one row");
    static_assert(2 * X_STRIDE % 32 == 8 && PAIR_STRIDE % 32 == 8, "lanes that read at once are in other banks");
    const HaloSplit range(p, splits);
    const u32 channel0 = blockIdx.x * CHUNK, column0 = blockIdx.y * HALO_OUTPUTS;
    const u32 tap = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float acc[2][4][4] = {};
#pragma unroll 1
    for (u32 tile = range.begin; tile < range.end; ++tile) {
        const Halo<false> halo(p, in, tile, range.group);
        halo.load<TAP_THREADS, 5>(
            p, in_map, channel0, [&](u32 pixel, u32 channel, const Vec<4> &value) { write4(a + pixel * X_STRIDE + channel, kept<PARTS>(value)); },
            range.group);
        halo.tile.load<TAP_THREADS>(p, dy_map, dy, range.group, column0, [&](u32 pixel, u32 channel, const Vec<4> &even, const Vec<4> &odd) {
            const Vec<4> one = kept<PARTS>(even), other = kept<PARTS>(odd);
            float *pair = b + pixel / 2 * PAIR_STRIDE + 2 * channel;
            write4(pair, {{one.v[0], other.v[0], one.v[1], other.v[1]}});
            write4(pair + 4, {{one.v[2], other.v[2], one.v[3], other.v[3]}});
        });
        __syncthreads();
        const float *x_of_lane = a + (Halo<false>::pixel_of(tap) + 2 * t) * X_STRIDE + 2 * g;
        const float *dy_of_lane = b + t * PAIR_STRIDE + 4 * g;
#pragma unroll (PARTS == 1 ? 4 : 1) // more would take more registers than there are
        for (u32 pixel = 0; pixel < HALO_ROWS * HALO_COLUMNS; pixel += 8) {
            const u32 of_halo = pixel / HALO_COLUMNS * HALO_WIDTH + pixel % HALO_COLUMNS;
            float left[2][PARTS][4];
#pragma unroll
            for (u32 i = 0; i < 2; ++i) {
#pragma unroll
                for (u32 v = 0; v < 4; v += 2) {
                    const float2 value = *reinterpret_cast<const float2 *>(x_of_lane + (of_halo + v / 2) * X_STRIDE + 16 * i);
                    set(left[i], v, value.x);
                    set(left[i], v + 1, value.y);
                }
            }
#pragma unroll
            for (u32 j = 0; j < 4; j += 2) {
                const Vec<4> value = vec4(dy_of_lane + pixel / 2 * PAIR_STRIDE + 16 * j);
                float right[2][PARTS][2];
#pragma unroll
                for (u32 v = 0; v < 4; ++v) {
                    set(right[v / 2], v % 2, value.v[v]);
                }
#pragma unroll
                for (u32 of_pair = 0; of_pair < 2; ++of_pair) {
#pragma unroll
                    for (u32 i = 0; i < 2; ++i) {
                        add_product(acc[i][j + of_pair], left[i], right[of_pair]);
                    }
                }
            }
        }
        __syncthreads(); // before the next tile takes its place
    }

    float *out = partial + range.split * (p.depth * p.weight_stride) + range.group * p.group_out;
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
#pragma unroll
        for (u32 j = 0; j < 4; j += 2) {
#pragma unroll
            for (u32 v = 0; v < 4; v += 2) {
                const u32 channel = channel0 + 16 * i + 2 * g + v / 2, column = column0 + 8 * j + 4 * t;
                if (channel < p.group_in && column < p.group_out) {
                    write4(out + (tap * p.group_in + channel) * p.weight_stride + column,
                           {{acc[i][j][v], acc[i][j + 1][v], acc[i][j][v + 1], acc[i][j + 1][v + 1]}});
                }
            }
        }
    }
}

#define REDUCE_HALO(NAME, PARTS)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(TAP_THREADS, 2)                                                                   \
        NAME(Conv p, u32 splits, Map in_map, const float *__restrict__ in, Map dy_map, const float *__restrict__ dy,               \
             float *__restrict__ partial) {                                                                                        \
        __shared__ float4 a[HALO_PIXELS * X_STRIDE / 4];                                                                           \
        __shared__ float4 b[HALO_ROWS * HALO_COLUMNS / 2 * PAIR_STRIDE / 4];                                                       \
        reduce_halo<PARTS>(p, splits, in_map, in, dy_map, dy, partial, reinterpret_cast<float *>(a), reinterpret_cast<float *>(b)); \
    }
