// 3x3 convolutions of stride 1, by kernels that read an image once and not for every tap (halo.cuh).
//
// Forward pass and input gradient are `gather_halo`: 4 depths of 8 pixels x 4 channels are 12 reads of 16 bytes for 128
// FMAs, and hardly anything else. In the weight gradient, `reduce_halo`, a block has all 9 taps of CHUNK channels in
// its registers: a pixel of dy and 3 of x, read from shared memory, are 72 FMAs of a thread. Otherwise they are as
// those of conv2d.cu, whose first comment tells what they compute.
#include "conv2d.cuh"
#include "halo.cuh"

// Values from one pixel of the halo to the next, and from one row of a tap's weights: 16-byte reads, off a multiple of
// 32 for the banks.
#define HALO_STRIDE (CHUNK + 4)
#define TAP_STRIDE (CHUNK + 4)
#define TAP_SIZE (CHUNK * TAP_STRIDE)

// As `gather` of conv2d.cu, with its sums, if there are CHUNK channels at most. A thread computes a column
// of HALO_ROWS pixels x 4 channels. Grid: tiles of all images, tiles of channels, groups.
template <bool ADJOINT>
__device__ __forceinline__ void gather_halo(const Conv &p, const Map &map, const float *__restrict__ in, const float *__restrict__ w,
                                            const float *__restrict__ bias, float *__restrict__ out, float *a, float *b) {
    static_assert(THREADS == 8 * HALO_COLUMNS && HALO_OUTPUTS == 32, "8 threads have the channels of a column of pixels");
    static_assert(HALO_STRIDE % 32 == 4, "4 pixels beside each other, that a warp reads, are in other banks");
    const Halo<ADJOINT> halo(p, in, blockIdx.x);
    // Weights lie as they were loaded: columns of a depth beside each other, or depths of a column.
    auto store = [&](u32 buffer, const TapLoads<ADJOINT> &loads) {
        loads.each([&](u32 depth, u32 column, const Vec<4> &value) {
            write4(b + buffer * TAP_SIZE + (ADJOINT ? column * TAP_STRIDE + depth : depth * TAP_STRIDE + column), value);
        });
    };
    const u32 tx = threadIdx.x % 8, x = threadIdx.x / 8;
    // In an ADJOINT, a thread's channels are 8 apart: then the depths of 8 columns are in other banks.
    const u32 column0 = blockIdx.y * HALO_OUTPUTS + (ADJOINT ? tx : 4 * tx);
    float acc[HALO_ROWS][4] = {};
    TapLoads<ADJOINT> loads;
    for (u32 channel0 = 0; channel0 < p.group_in; channel0 += CHUNK) {
        loads.fetch(p, w, 0, channel0);
        halo.template load<THREADS, 6>(p, map, channel0, [&](u32 pixel, u32 channel, const Vec<4> &value) { write4(a + pixel * HALO_STRIDE + channel, value); });
        store(0, loads);
        __syncthreads();
#pragma unroll 1
        for (u32 tap = 0; tap < HALO_TAPS * HALO_TAPS; ++tap) {
            const bool is_last = tap + 1 == HALO_TAPS * HALO_TAPS;
            if (!is_last) {
                loads.fetch(p, w, tap + 1, channel0);
            }
            const float *image = a + (x + Halo<ADJOINT>::pixel_of(tap)) * HALO_STRIDE;
            const float *weight = b + tap % 2 * TAP_SIZE + tx * (ADJOINT ? TAP_STRIDE : 4);
#pragma unroll
            for (u32 k = 0; k < CHUNK; k += 4) {
                // Groups of up to half a chunk of channels have zeros in the other half.
                if (k == CHUNK / 2 && channel0 + k >= p.group_in) {
                    break;
                }
                Vec<4> left[HALO_ROWS], right[4];
#pragma unroll
                for (u32 i = 0; i < HALO_ROWS; ++i) {
                    left[i] = vec4(image + i * HALO_WIDTH * HALO_STRIDE + k);
                }
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    right[j] = vec4(weight + (ADJOINT ? 8 * j * TAP_STRIDE + k : (k + j) * TAP_STRIDE));
                }
#pragma unroll
                for (u32 depth = 0; depth < 4; ++depth) {
#pragma unroll
                    for (u32 i = 0; i < HALO_ROWS; ++i) {
#pragma unroll
                        for (u32 j = 0; j < 4; ++j) {
                            acc[i][j] = fmaf(left[i].v[depth], ADJOINT ? right[j].v[depth] : right[depth].v[j], acc[i][j]);
                        }
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
    for (u32 i = 0; i < HALO_ROWS; ++i) {
        const u32 row = halo.tile.row + i, column = halo.tile.column + x;
        if (row < p.out_h && column < p.out_w) {
            float *to = out + halo.tile.pixel(p, row, column) * p.out_channels + blockIdx.z * p.group_out;
            if (ADJOINT) {
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    const u32 channel = column0 + 8 * j;
                    if (channel < p.group_out) {
                        put(to + channel, acc[i][j] + (bias ? bias[blockIdx.z * p.group_out + channel] : 0.0f), p.add);
                    }
                }
            } else if (column0 < p.group_out) {
                float4 value = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
                if (bias) {
                    const float *more = bias + blockIdx.z * p.group_out + column0;
                    value = make_float4(value.x + more[0], value.y + more[1], value.z + more[2], value.w + more[3]);
                }
                put4(to + column0, value, p.add);
            }
        }
    }
}

#define GATHER_HALO(NAME, ADJOINT)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, 3)                                                                       \
        NAME(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,           \
             float *__restrict__ out) {                                                                                            \
        __shared__ float4 a[HALO_PIXELS * HALO_STRIDE / 4];                                                                        \
        __shared__ float4 b[2 * TAP_SIZE / 4];                                                                                     \
        gather_halo<ADJOINT>(p, map, in, w, bias, out, reinterpret_cast<float *>(a), reinterpret_cast<float *>(b));                \
    }

GATHER_HALO(conv2d_forward_halo, false)
GATHER_HALO(conv2d_adjoint_halo, true)

// Weight gradient of a part of the tiles, as `reduce_rows`: a thread has all taps of 2 channels of x x 4 of dy. From
// pixel to pixel of a row, 6 of the 9 values of x that it multiplies are those of the last one. Grid: chunks of
// channels of x, tiles of k, splits x groups.
__device__ __forceinline__ void reduce_halo(const Conv &p, u32 splits, const Map &in_map, const float *__restrict__ in,
                                            const Map &dy_map, const float *__restrict__ dy, float *__restrict__ partial, float *a,
                                            float *b) {
    static_assert(CHUNK == 2 * THREADS / 8 && HALO_OUTPUTS == 32, "8 threads have the same channels of x");
    const HaloSplit range(p, splits);
    const u32 channel0 = blockIdx.x * CHUNK;
    const u32 tx = threadIdx.x % 8, ty = threadIdx.x / 8, column0 = blockIdx.y * HALO_OUTPUTS + 4 * tx;
    float acc[HALO_TAPS * HALO_TAPS][2][4] = {};
    for (u32 tile = range.begin; tile < range.end; ++tile) {
        const Halo<false> halo(p, in, tile, range.group);
        halo.load<THREADS, 6>(p, in_map, channel0, [&](u32 pixel, u32 channel, const Vec<4> &value) { write4(a + pixel * CHUNK + channel, value); }, range.group);
        halo.tile.load<THREADS>(p, dy_map, dy, range.group, blockIdx.y * HALO_OUTPUTS, [&](u32 pixel, u32 channel, const Vec<4> &even, const Vec<4> &odd) {
            write4(b + pixel * HALO_OUTPUTS + channel, even);
            write4(b + (pixel + 1) * HALO_OUTPUTS + channel, odd);
        });
        __syncthreads();
#pragma unroll 1
        for (u32 row = 0; row < HALO_ROWS; ++row) {
            const float *image = a + row * HALO_WIDTH * CHUNK + 2 * ty, *from = b + row * HALO_COLUMNS * HALO_OUTPUTS + 4 * tx;
            // Of each row of taps, the pixels of 3 columns: column c of the halo is in place c % 3.
            float2 window[HALO_TAPS][HALO_TAPS];
            auto read = [&](u32 c) {
#pragma unroll
                for (u32 r = 0; r < HALO_TAPS; ++r) {
                    window[r][c % HALO_TAPS] = *reinterpret_cast<const float2 *>(image + (r * HALO_WIDTH + c) * CHUNK);
                }
            };
#pragma unroll
            for (u32 c = 0; c < HALO_TAPS - 1; ++c) {
                read(c);
            }
#pragma unroll
            for (u32 x = 0; x < HALO_COLUMNS; ++x) {
                read(x + HALO_TAPS - 1);
                const Vec<4> right = vec4(from + x * HALO_OUTPUTS);
#pragma unroll
                for (u32 tap = 0; tap < HALO_TAPS * HALO_TAPS; ++tap) {
                    const float2 left = window[tap / HALO_TAPS][(x + tap) % HALO_TAPS];
#pragma unroll
                    for (u32 j = 0; j < 4; ++j) {
                        acc[tap][0][j] = fmaf(left.x, right.v[j], acc[tap][0][j]);
                        acc[tap][1][j] = fmaf(left.y, right.v[j], acc[tap][1][j]);
                    }
                }
            }
        }
        __syncthreads(); // before the next tile takes its place
    }

    float *out = partial + range.split * (p.depth * p.weight_stride) + range.group * p.group_out;
#pragma unroll
    for (u32 tap = 0; tap < HALO_TAPS * HALO_TAPS; ++tap) {
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            const u32 channel = channel0 + 2 * ty + i;
#pragma unroll
            for (u32 j = 0; j < 4; ++j) {
                if (channel < p.group_in && column0 + j < p.group_out) {
                    out[(tap * p.group_in + channel) * p.weight_stride + column0 + j] = acc[tap][i][j];
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    conv2d_weight_halo(Conv p, u32 splits, Map in_map, const float *__restrict__ in, Map dy_map, const float *__restrict__ dy,
                       float *__restrict__ partial) {
    __shared__ float4 a[HALO_PIXELS * CHUNK / 4];
    __shared__ float4 b[HALO_ROWS * HALO_COLUMNS * HALO_OUTPUTS / 4];
    reduce_halo(p, splits, in_map, in, dy_map, dy, partial, reinterpret_cast<float *>(a), reinterpret_cast<float *>(b));
}

