// Group normalization. Sums over the pixels of an image are of two floats each, as there may be many.
#include "../../../gpu/common.cuh"

// `Groups` in group_norm/cuda/mod.rs
struct Groups {
    u32 images, rows, channels, groups;
    float eps;
};
static_assert(sizeof(Groups) == 20, "as in Rust");

__device__ __forceinline__ float group_len(const Groups &p) {
    return static_cast<float>(p.rows) * static_cast<float>(p.channels / p.groups);
}

// mean and rstd; a block a group of an image. Deviations are from the rounded mean; their sum corrects for that, as in
// `chunk_moments`.
extern "C" __global__ void __launch_bounds__(BLOCK)
    group_norm_statistics(Groups p, const float *__restrict__ x, float *__restrict__ mean, float *__restrict__ rstd) {
    __shared__ Wide shared[BLOCK / 32];
    __shared__ float center_of_block;
    const u32 of_group = p.channels / p.groups, len = p.rows * of_group;
    const float *from = x + blockIdx.x / p.groups * (p.rows * p.channels) + blockIdx.x % p.groups * of_group;
    Wide sum = {0.0f, 0.0f};
#pragma unroll 1
    for (u32 i = threadIdx.x; i < len; i += BLOCK) {
        sum = add(sum, {from[i / of_group * p.channels + i % of_group], 0.0f});
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        center_of_block = (sum.hi + sum.lo) / group_len(p);
    }
    __syncthreads();
    const float center = center_of_block;
    Wide first = {0.0f, 0.0f}, second = {0.0f, 0.0f};
#pragma unroll 1
    for (u32 i = threadIdx.x; i < len; i += BLOCK) {
        const float d = from[i / of_group * p.channels + i % of_group] - center;
        first = add(first, {d, 0.0f});
        second = add(second, {d * d, 0.0f});
    }
    first = block_sum(first, shared);
    second = block_sum(second, shared);
    if (threadIdx.x == 0) {
        const float correction = (first.hi + first.lo) / group_len(p);
        const float var = (second.hi + second.lo) / group_len(p) - correction * correction;
        mean[blockIdx.x] = center + correction;
        rstd[blockIdx.x] = 1.0f / sqrtf(var + p.eps);
    }
}

// The place of a group's statistics for element i, whose channel is c
__device__ __forceinline__ u32 group_of(const Groups &p, u32 i, u32 c) {
    return i / (p.rows * p.channels) * p.groups + c / (p.channels / p.groups);
}

// y = gamma (x - mean) rstd + beta; y may be x
extern "C" __global__ void __launch_bounds__(BLOCK)
    group_norm_apply(Groups p, const float *x, const float *__restrict__ gamma, const float *__restrict__ beta,
                     const float *__restrict__ mean, const float *__restrict__ rstd, float *y) {
    const u32 first = blockIdx.x * (BLOCK * PER_THREAD) + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < p.images * p.rows * p.channels) {
            const u32 c = i % p.channels, g = group_of(p, i, c);
            y[i] = fmaf(gamma[c] * rstd[g], x[i] - mean[g], beta[c]);
        }
    }
}

// sums[0][image][channel] = sum dy xhat, [1] = sum dy over the pixels of the image; a block has 32 channels
extern "C" __global__ void __launch_bounds__(BLOCK)
    group_norm_sums(Groups p, const float *__restrict__ x, const float *__restrict__ mean, const float *__restrict__ rstd,
                    const float *__restrict__ dy, float *__restrict__ sums) {
    __shared__ Wide shared[2][BLOCK];
    const u32 image = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = blockIdx.y * 32 + lane;
    Wide products = {0.0f, 0.0f}, gradients = {0.0f, 0.0f};
    if (c < p.channels) {
        const u32 g = image * p.groups + c / (p.channels / p.groups);
        const float center = mean[g], scale = rstd[g];
#pragma unroll 1
        for (u32 row = warp; row < p.rows; row += BLOCK / 32) {
            const u32 i = (image * p.rows + row) * p.channels + c;
            const float gradient = dy[i];
            products = add(products, {gradient * ((x[i] - center) * scale), 0.0f});
            gradients = add(gradients, {gradient, 0.0f});
        }
    }
    shared[0][threadIdx.x] = products;
    shared[1][threadIdx.x] = gradients;
    __syncthreads();
    if (warp < 2 && c < p.channels) {
        Wide sum = shared[warp][lane];
        for (u32 i = 1; i < BLOCK / 32; ++i) {
            sum = add(sum, shared[warp][i * 32 + lane]);
        }
        sums[(warp * p.images + image) * p.channels + c] = sum.hi;
    }
}

// gradient[channel] (+)= the sum over images; a warp a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    group_norm_parameters(Groups p, const float *__restrict__ sums, float *__restrict__ gradient, u32 add_to) {
    const u32 c = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (c >= p.channels) {
        return; // the whole warp
    }
    Wide sum = {0.0f, 0.0f};
    for (u32 image = lane; image < p.images; image += 32) {
        sum = add(sum, {sums[image * p.channels + c], 0.0f});
    }
    sum = warp_sum(sum);
    if (lane == 0) {
        put(&gradient[c], sum.hi, add_to);
    }
}

// What dx = gamma rstd dy - a - (x - mean) b subtracts: subtracted[0][image][group] = a, [1] = b; a warp a group of an
// image
extern "C" __global__ void __launch_bounds__(BLOCK)
    group_norm_subtracted(Groups p, const float *__restrict__ sums, const float *__restrict__ gamma,
                          const float *__restrict__ rstd, float *__restrict__ subtracted) {
    const u32 g = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (g >= p.images * p.groups) {
        return; // the whole warp
    }
    const u32 of_group = p.channels / p.groups, first = g % p.groups * of_group;
    const float *of_products = sums + g / p.groups * p.channels, *of_dy = of_products + p.images * p.channels;
    Wide products = {0.0f, 0.0f}, gradients = {0.0f, 0.0f};
    for (u32 c = first + lane; c < first + of_group; c += 32) {
        products = add(products, {gamma[c] * of_products[c], 0.0f});
        gradients = add(gradients, {gamma[c] * of_dy[c], 0.0f});
    }
    products = warp_sum(products);
    gradients = warp_sum(gradients);
    if (lane == 0) {
        const float share = rstd[g] / group_len(p);
        subtracted[g] = share * gradients.hi;
        subtracted[p.images * p.groups + g] = share * rstd[g] * products.hi;
    }
}

// dx (+)= gamma rstd dy - a - (x - mean) b; dx may be dy
extern "C" __global__ void __launch_bounds__(BLOCK)
    group_norm_backward(Groups p, const float *__restrict__ x, const float *__restrict__ gamma, const float *__restrict__ mean,
                        const float *__restrict__ rstd, const float *__restrict__ subtracted, const float *dy, float *dx,
                        u32 add_to) {
    const u32 first = blockIdx.x * (BLOCK * PER_THREAD) + threadIdx.x;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = first + k * BLOCK;
        if (i < p.images * p.rows * p.channels) {
            const u32 c = i % p.channels, g = group_of(p, i, c);
            const float a = subtracted[g], b = subtracted[p.images * p.groups + g];
            put(&dx[i], fmaf(gamma[c] * rstd[g], dy[i], -fmaf(x[i] - mean[g], b, a)), add_to);
        }
    }
}
