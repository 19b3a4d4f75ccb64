// Convolution as matrix multiplication without the matrix ("implicit GEMM"), channels last.
//
// Forward and input gradient are one kernel, `gather`. Both compute an image of pixels from another one,
//
//     out[pixel, j] = bias[j] + sum over taps (r, s) and channels c of in[neighbour(pixel, r, s), c] w[..]
//
// and differ in which neighbour a tap reads, and in whether the weight's last index is the output or the sum. A block
// computes TILE_ROWS pixels x 8 TN channels; a thread 8 pixels x TN channels, in registers. The sum runs over (r, s, c)
// as one index of depth R S C, in steps of DEPTH: each step's values go from memory to registers, then to one of two
// buffers in shared memory, while the block multiplies those of the other. Pixels outside the image are zeros that are
// never loaded. Of shared memory's bandwidth, a step of a warp takes 3 reads for 32 FMAs (TN = 4): not the limit.
// Layers of many channels take TN = 8.
//
// An operand may be read through an affine map of its channels, a batch normalization that needs no pass of its own.
// Zeros of the padding are zeros of the mapped operand, so they are not mapped.
//
// Loads are 16 bytes wide (VEC = 4) if the channels allow, which keeps 4 consecutive depths inside one tap. The windows
// of these kernels are near ones (conv2d.cuh), which takes a quarter of the instructions off the input gradient's loop;
// for input gradients of strided convolutions, and of very large kernels, there is `any_4x32`.
//
// The weight gradient is `reduce_rows`: dw[(r,s,c), k] = sum over pixels of x[neighbour, c] dy[pixel, k], a small
// matrix and a long sum. The sum is cut into `splits` parts whose boundaries depend on the shape alone;
// `conv2d_sum_splits` adds them in order.
//
// Images of one channel, the first and last of the network, would leave most of a tile empty: `from_one` and `to_one`.
//
// 3x3 kernels of stride 1 are in conv2d_halo.cu.
#include "conv2d.cuh"

// Row lengths in shared memory: a multiple of 4 for 16-byte reads, off a multiple of 32 for the banks.
#define ROWS_STRIDE (TILE_ROWS + 4)
#define TAPS_STRIDE (TILE_TAPS + 4)
#define COLUMNS_STRIDE(TN) (8 * (TN) + 4)

// acc[i][j] += a[i] b[j] for DEPTH steps of the tiles in shared memory.
template <int TM, int TN>
__device__ __forceinline__ void multiply(float (&acc)[TM][TN], const float *a, u32 a_stride, const float *b, u32 b_stride) {
#pragma unroll
    for (u32 k = 0; k < DEPTH; ++k) {
        float left[TM], right[TN];
#pragma unroll
        for (u32 i = 0; i < TM; i += 4) {
            const float4 v = read4(a + k * a_stride + i);
            left[i] = v.x;
            left[i + 1] = v.y;
            left[i + 2] = v.z;
            left[i + 3] = v.w;
        }
#pragma unroll
        for (u32 j = 0; j < TN; j += 4) {
            const float4 v = read4(b + k * b_stride + 8 * j);
            right[j] = v.x;
            right[j + 1] = v.y;
            right[j + 2] = v.z;
            right[j + 3] = v.w;
        }
#pragma unroll
        for (u32 i = 0; i < TM; ++i) {
#pragma unroll
            for (u32 j = 0; j < TN; ++j) {
                acc[i][j] = fmaf(left[i], right[j], acc[i][j]);
            }
        }
    }
}

// Forward (the weight is [depth][K], its last index the output's channel), or its ADJOINT, the input gradient (the
// weight is [taps][C][K], its last index the sum's channel). Grid: tiles of pixels, tiles of channels, groups.
template <bool ADJOINT, class Windows, int VEC, int TN>
__device__ __forceinline__ void gather(const Conv &p, const Map &map, const float *__restrict__ in, const float *__restrict__ w,
                                       const float *__restrict__ bias, float *__restrict__ out, Windows *windows, float *a,
                                       float *b) {
    constexpr u32 COLUMNS = 8 * TN, B_STRIDE = COLUMNS_STRIDE(TN);
    using Loads = GatherLoads<ADJOINT, Windows, VEC, COLUMNS>;
    const u32 tid = threadIdx.x, first = blockIdx.x * TILE_ROWS, column0 = blockIdx.y * COLUMNS, group = blockIdx.z;
    windows[tid] = Windows::of(p, first + tid, p.pixels);
    Loads loads(p, map, in, w, windows);
    auto store = [&](u32 buffer) {
        loads.finish();
        float *to_a = a + buffer * DEPTH * ROWS_STRIDE + loads.vec * VEC * ROWS_STRIDE + loads.row0;
        float *to_b = b + buffer * DEPTH * B_STRIDE;
#pragma unroll
        for (u32 i = 0; i < Loads::A_LOADS; ++i) {
#pragma unroll
            for (u32 v = 0; v < VEC; ++v) {
                to_a[v * ROWS_STRIDE + i * Loads::A_STEP] = loads.image[i].v[v];
            }
        }
#pragma unroll
        for (u32 i = 0; i < Loads::B_LOADS; ++i) {
#pragma unroll
            for (u32 v = 0; v < VEC; ++v) {
                const u32 depth = loads.weight_depth(i) + (ADJOINT ? v : 0), column = loads.weight_column(i) + (ADJOINT ? 0 : v);
                to_b[depth * B_STRIDE + column] = loads.weight[i].v[v];
            }
        }
    };

    const u32 tx = tid % 8, ty = tid / 8;
    float acc[8][TN] = {};
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
        multiply<8, TN>(acc, a + buffer * DEPTH * ROWS_STRIDE + ty * 8, ROWS_STRIDE, b + buffer * DEPTH * B_STRIDE + tx * 4,
                        B_STRIDE);
        if (step + 1 < steps) {
            store(1 - buffer);
        }
        __syncthreads();
    }

#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
        const u32 pixel = first + ty * 8 + i;
#pragma unroll
        for (u32 j = 0; j < TN; j += 4) {
            const u32 column = column0 + 8 * j + tx * 4, channel = group * p.group_out + column;
            if (pixel < p.pixels) {
                float *to = out + pixel * p.out_channels + channel;
                if (VEC == 4) {
                    if (column < p.group_out) {
                        float4 value = make_float4(acc[i][j], acc[i][j + 1], acc[i][j + 2], acc[i][j + 3]);
                        if (bias) {
                            value.x += bias[channel];
                            value.y += bias[channel + 1];
                            value.z += bias[channel + 2];
                            value.w += bias[channel + 3];
                        }
                        put4(to, value, p.add);
                    }
                } else {
#pragma unroll
                    for (u32 v = 0; v < 4; ++v) {
                        if (column + v < p.group_out) {
                            put(to + v, acc[i][j + v] + (bias ? bias[channel + v] : 0.0f), p.add);
                        }
                    }
                }
            }
        }
    }
}

// The second launch bound, blocks that fit on a multiprocessor, is how many registers a thread may have: left alone,
// ptxas spills rather than use a few more.
#define GATHER(NAME, ADJOINT, WINDOW, VEC, TN)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, (TN) == 4 ? 4 : 2)                                                       \
        NAME(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,           \
             float *__restrict__ out) {                                                                                            \
        __shared__ WINDOW<ADJOINT> windows[TILE_ROWS];                                                                             \
        __shared__ float4 a[2 * DEPTH * ROWS_STRIDE / 4];                                                                          \
        __shared__ float4 b[2 * DEPTH * COLUMNS_STRIDE(TN) / 4];                                                                   \
        gather<ADJOINT, WINDOW<ADJOINT>, VEC, TN>(p, map, in, w, bias, out, windows, reinterpret_cast<float *>(a),                 \
                                                  reinterpret_cast<float *>(b));                                                   \
    }

GATHER(conv2d_forward_1x32, false, AnyWindow, 1, 4)
GATHER(conv2d_forward_4x32, false, NearWindow, 4, 4)
GATHER(conv2d_forward_4x64, false, NearWindow, 4, 8)
GATHER(conv2d_adjoint_1x32, true, AnyWindow, 1, 4)
GATHER(conv2d_adjoint_4x32, true, NearWindow, 4, 4)
GATHER(conv2d_adjoint_4x64, true, NearWindow, 4, 8)
GATHER(conv2d_adjoint_any_4x32, true, AnyWindow, 4, 4)

// Weight gradient of a part of the pixels. `in` is x, `dy` has the walked pixels; partial[split] is laid out as the
// weight. VA is the width of loads of x, VB of dy. Grid: tiles of (r, s, c), tiles of k, splits x groups.
template <class Windows, int VA, int VB, int TN>
__device__ __forceinline__ void reduce_rows(const Conv &p, u32 splits, const Map &in_map, const float *__restrict__ in,
                                            const Map &dy_map, const float *__restrict__ dy, float *__restrict__ partial,
                                            Windows *windows, float *a, float *b) {
    constexpr u32 COLUMNS = 8 * TN, B_STRIDE = COLUMNS_STRIDE(TN);
    using Loads = ReduceLoads<Windows, VA, VB, COLUMNS>;
    Loads loads(p, splits, in_map, in, dy_map, dy, windows);
    auto store = [&](u32 buffer) {
        loads.finish();
        float *to_a = a + buffer * DEPTH * TAPS_STRIDE, *to_b = b + buffer * DEPTH * B_STRIDE;
#pragma unroll
        for (u32 i = 0; i < Loads::A_LOADS; ++i) {
#pragma unroll
            for (u32 v = 0; v < VA; ++v) {
                to_a[loads.a_pixel(i) * TAPS_STRIDE + loads.a_row + v] = loads.image[i].v[v];
            }
        }
#pragma unroll
        for (u32 i = 0; i < Loads::B_LOADS; ++i) {
#pragma unroll
            for (u32 v = 0; v < VB; ++v) {
                to_b[loads.b_pixel(i) * B_STRIDE + loads.b_column + v] = loads.grad[i].v[v];
            }
        }
    };

    const u32 tx = threadIdx.x % 8, ty = threadIdx.x / 8;
    float acc[4][TN] = {};
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
        multiply<4, TN>(acc, a + buffer * DEPTH * TAPS_STRIDE + ty * 4, TAPS_STRIDE, b + buffer * DEPTH * B_STRIDE + tx * 4,
                        B_STRIDE);
        if (step + 1 < steps) {
            store(1 - buffer);
        }
        __syncthreads();
    }

    float *out = partial + loads.split * (p.depth * p.weight_stride) + loads.group * p.group_out;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 row = loads.row0 + ty * 4 + i;
#pragma unroll
        for (u32 j = 0; j < TN; ++j) {
            const u32 column = loads.column0 + j / 4 * 32 + tx * 4 + j % 4;
            if (row < p.depth && column < p.group_out) {
                out[row * p.weight_stride + column] = acc[i][j];
            }
        }
    }
}

#define REDUCE_ROWS(NAME, WINDOW, VA, VB, TN)                                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS, (TN) == 4 ? 5 : 4)                                                       \
        NAME(Conv p, u32 splits, Map in_map, const float *__restrict__ in, Map dy_map, const float *__restrict__ dy,               \
             float *__restrict__ partial) {                                                                                        \
        __shared__ WINDOW<false> windows[REDUCE_WINDOWS];                                                                          \
        __shared__ float4 a[2 * DEPTH * TAPS_STRIDE / 4];                                                                          \
        __shared__ float4 b[2 * DEPTH * COLUMNS_STRIDE(TN) / 4];                                                                   \
        reduce_rows<WINDOW<false>, VA, VB, TN>(p, splits, in_map, in, dy_map, dy, partial, windows, reinterpret_cast<float *>(a),  \
                                               reinterpret_cast<float *>(b));                                                      \
    }

REDUCE_ROWS(conv2d_weight_1x1x32, AnyWindow, 1, 1, 4)
REDUCE_ROWS(conv2d_weight_1x4x32, NearWindow, 1, 4, 4)
REDUCE_ROWS(conv2d_weight_4x4x32, NearWindow, 4, 4, 4)
REDUCE_ROWS(conv2d_weight_4x4x64, NearWindow, 4, 4, 8)

// dw (+)= sum of partial over the splits. A block sums 32 elements; 8 threads share one, each takes every eighth split.
extern "C" __global__ void __launch_bounds__(BLOCK)
    conv2d_sum_splits(u32 len, u32 splits, const float *__restrict__ partial, float *__restrict__ dw, u32 add) {
    __shared__ float shared[BLOCK];
    const u32 lane = threadIdx.x % 32, part = threadIdx.x / 32, i = blockIdx.x * 32 + lane;
    float sum = 0.0f;
    if (i < len) {
#pragma unroll 4
        for (u32 split = part; split < splits; split += BLOCK / 32) {
            sum += partial[split * len + i];
        }
    }
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (part == 0 && i < len) {
        for (u32 other = 1; other < BLOCK / 32; ++other) {
            sum += shared[other * 32 + lane];
        }
        put(&dw[i], sum, add);
    }
}

// Pixels that a thread of the kernels for one channel computes: the weight is loaded once for all.
#define ONE_PIXELS 4

// An image of one channel out of one of many, a multiple of 4: 8 lanes share a pixel, each takes every eighth 4
// channels, and add their sums. The weight is contiguous along the sum in both directions.
template <bool ADJOINT>
__device__ __forceinline__ void to_one(const Conv &p, const Map &map, const float *__restrict__ in, const float *__restrict__ w,
                                        const float *__restrict__ bias, float *__restrict__ out) {
    const u32 lane = threadIdx.x % 8, first = (blockIdx.x * (BLOCK / 8) + threadIdx.x / 8) * ONE_PIXELS;
    Window windows[ONE_PIXELS];
    float acc[ONE_PIXELS] = {};
#pragma unroll
    for (u32 i = 0; i < ONE_PIXELS; ++i) {
        windows[i] = window<ADJOINT>(p, first + i, p.pixels);
    }
    // Not unrolled: the indices of a second tap in flight would cost registers, and the occupancy that hides the loads.
#pragma unroll 1
    for (u32 r = 0; r < p.r; ++r) {
#pragma unroll 1
        for (u32 s = 0; s < p.s; ++s) {
            int pixels[ONE_PIXELS];
#pragma unroll
            for (u32 i = 0; i < ONE_PIXELS; ++i) {
                pixels[i] = neighbour<ADJOINT>(p, windows[i], r, s);
            }
            const float *taps = w + (r * p.s + s) * p.group_in;
            for (u32 c = lane * 4; c < p.group_in; c += 32) {
                const Vec<4> weight = load<4>(taps + c, true);
                Affine<4> affine;
                if (map.scale) {
                    affine.of(map, c, true);
                }
#pragma unroll
                for (u32 i = 0; i < ONE_PIXELS; ++i) {
                    const bool inside = pixels[i] >= 0;
                    Vec<4> x = load<4>(in + (inside ? static_cast<u32>(pixels[i]) * p.in_channels + c : 0), inside);
                    if (map.scale && inside) {
                        affine.apply(x);
                    }
#pragma unroll
                    for (u32 v = 0; v < 4; ++v) {
                        acc[i] = fmaf(x.v[v], weight.v[v], acc[i]);
                    }
                }
            }
        }
    }
#pragma unroll
    for (u32 i = 0; i < ONE_PIXELS; ++i) {
        float sum = acc[i];
        sum += __shfl_xor_sync(FULL_WARP, sum, 4);
        sum += __shfl_xor_sync(FULL_WARP, sum, 2);
        sum += __shfl_xor_sync(FULL_WARP, sum, 1);
        if (lane == i && first + i < p.pixels) {
            put(&out[first + i], sum + (bias ? *bias : 0.0f), p.add);
        }
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
    conv2d_forward_to_one(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,
                          float *__restrict__ out) {
    to_one<false>(p, map, in, w, bias, out);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
    conv2d_adjoint_to_one(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,
                          float *__restrict__ out) {
    to_one<true>(p, map, in, w, bias, out);
}

// An image of many channels, a multiple of 4, out of one of one channel: a thread computes 4 channels of some pixels.
template <bool ADJOINT>
__device__ __forceinline__ void from_one(const Conv &p, const Map &map, const float *__restrict__ in, const float *__restrict__ w,
                                          const float *__restrict__ bias, float *__restrict__ out) {
    const u32 index = blockIdx.x * BLOCK + threadIdx.x, vecs = p.group_out / 4;
    const u32 channel = index % vecs * 4, first = index / vecs * ONE_PIXELS;
    Window windows[ONE_PIXELS];
    float acc[ONE_PIXELS][4] = {};
    const float scale = map.scale ? *map.scale : 1.0f, shift = map.scale ? *map.shift : 0.0f;
#pragma unroll
    for (u32 i = 0; i < ONE_PIXELS; ++i) {
        windows[i] = window<ADJOINT>(p, first + i, p.pixels);
    }
    // Not unrolled: the indices of a second tap in flight would cost registers, and the occupancy that hides the loads.
#pragma unroll 1
    for (u32 r = 0; r < p.r; ++r) {
#pragma unroll 1
        for (u32 s = 0; s < p.s; ++s) {
            const Vec<4> weight = load<4>(w + (r * p.s + s) * p.group_out + channel, true);
#pragma unroll
            for (u32 i = 0; i < ONE_PIXELS; ++i) {
                const int pixel = neighbour<ADJOINT>(p, windows[i], r, s);
                const float x = pixel >= 0 ? fmaf(scale, __ldg(in + pixel), shift) : 0.0f;
#pragma unroll
                for (u32 v = 0; v < 4; ++v) {
                    acc[i][v] = fmaf(x, weight.v[v], acc[i][v]);
                }
            }
        }
    }
#pragma unroll
    for (u32 i = 0; i < ONE_PIXELS; ++i) {
        if (first + i < p.pixels) {
            float4 value = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
            if (bias) {
                value.x += bias[channel];
                value.y += bias[channel + 1];
                value.z += bias[channel + 2];
                value.w += bias[channel + 3];
            }
            put4(&out[(first + i) * p.out_channels + channel], value, p.add);
        }
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
    conv2d_forward_from_one(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,
                            float *__restrict__ out) {
    from_one<false>(p, map, in, w, bias, out);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
    conv2d_adjoint_from_one(Conv p, Map map, const float *__restrict__ in, const float *__restrict__ w, const float *__restrict__ bias,
                            float *__restrict__ out) {
    from_one<true>(p, map, in, w, bias, out);
}

// Rows that a thread of the bias gradient sums.
#define BIAS_ROWS 32

// partial[channel][chunk] = sum of the chunk's rows
extern "C" __global__ void __launch_bounds__(BLOCK)
    conv2d_bias_sums(Columns p, const float *__restrict__ dy, float *__restrict__ partial) {
    __shared__ float shared[BLOCK];
    const Place at = place(p);
    float sum = 0.0f;
#pragma unroll 8
    for (u32 i = 0; i < BIAS_ROWS; ++i) {
        const u32 row = at.row + i * at.step;
        if (row < at.end) {
            sum += dy[row * p.channels + at.channel];
        }
    }
    sum = column_sum(sum, p.lanes, shared);
    if (threadIdx.x < p.lanes && at.channel < p.channels) {
        partial[at.channel * p.chunks + blockIdx.x] = sum;
    }
}

// db (+)= sum of partial over the chunks; a warp a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    conv2d_bias(Columns p, const float *__restrict__ partial, float *__restrict__ db, u32 add_to) {
    const u32 channel = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (channel >= p.channels) {
        return; // the whole warp
    }
    Wide sum = {0.0f, 0.0f};
    for (u32 i = lane; i < p.chunks; i += 32) {
        sum = add(sum, {partial[channel * p.chunks + i], 0.0f});
    }
    sum = warp_sum(sum);
    if (lane == 0) {
        put(&db[channel], sum.hi, add_to);
    }
}
