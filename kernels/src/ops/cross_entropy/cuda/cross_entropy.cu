// Softmax cross-entropy, a thread a row, in two stages: blocks sum the losses of their rows, then one block sums the
// sums.
#include "../../../gpu/common.cuh"

// `Rows` in cross_entropy/cuda/mod.rs: `own` is the target's share of its class alone, `spread` of every class.
struct Rows {
    u32 rows, classes, has_ignored;
    float ignored, own, spread;
};
static_assert(sizeof(Rows) == 24, "as in Rust");

__device__ __forceinline__ bool is_ignored(const Rows &p, float target) {
    return p.has_ignored && target == p.ignored;
}

// Whether a target is one of the classes; NaN is not.
__device__ __forceinline__ bool is_class(const Rows &p, float target) {
    return target >= 0.0f && target < static_cast<float>(p.classes) && truncf(target) == target;
}

// The largest logit of a row, and the sum of the exponentials of all after it is subtracted.
struct Softmax {
    float largest, sum;
};

__device__ __forceinline__ Softmax softmax(const Rows &p, const float *__restrict__ x) {
    Softmax result = {x[0], 0.0f};
#pragma unroll 1
    for (u32 k = 1; k < p.classes; ++k) {
        result.largest = x[k] > result.largest ? x[k] : result.largest;
    }
#pragma unroll 1
    for (u32 k = 0; k < p.classes; ++k) {
        result.sum += expf(x[k] - result.largest);
    }
    return result;
}

// partial[2 block] = sum of the losses of the block's rows, partial[2 block + 1] = how many of them count
extern "C" __global__ void __launch_bounds__(BLOCK)
    cross_entropy_sums(Rows p, const float *__restrict__ logits, const float *__restrict__ targets, float *__restrict__ partial) {
    __shared__ Wide shared[BLOCK / 32];
    const u32 row = blockIdx.x * BLOCK + threadIdx.x;
    float loss = 0.0f, count = 0.0f;
    if (row < p.rows && !is_ignored(p, targets[row])) {
        const float *x = logits + row * p.classes, target = targets[row];
        const Softmax of_row = softmax(p, x);
        const float log_sum = logf(of_row.sum);
        count = 1.0f;
        if (!is_class(p, target)) {
            loss = __int_as_float(0x7fffffff);
        } else {
            if (p.own != 0.0f) {
                loss = p.own * (log_sum - (x[static_cast<u32>(target)] - of_row.largest));
            }
            if (p.spread != 0.0f) {
                float sum = 0.0f;
#pragma unroll 1
                for (u32 k = 0; k < p.classes; ++k) {
                    sum += log_sum - (x[k] - of_row.largest);
                }
                loss = fmaf(p.spread, sum, loss);
            }
        }
    }
    const Wide total = block_sum({loss, 0.0f}, shared), rows = block_sum({count, 0.0f}, shared);
    if (threadIdx.x == 0) {
        partial[2 * blockIdx.x] = total.hi;
        partial[2 * blockIdx.x + 1] = rows.hi;
    }
}

// The mean over all rows that count, and their number; one block
extern "C" __global__ void __launch_bounds__(BLOCK)
    cross_entropy_mean(u32 partials, const float *__restrict__ partial, float *__restrict__ out, float *__restrict__ count) {
    __shared__ Wide shared[BLOCK / 32];
    Wide sum = {0.0f, 0.0f}, rows = {0.0f, 0.0f};
    for (u32 i = threadIdx.x; i < partials; i += BLOCK) {
        sum = add(sum, {partial[2 * i], 0.0f});
        rows = add(rows, {partial[2 * i + 1], 0.0f});
    }
    sum = block_sum(sum, shared);
    rows = block_sum(rows, shared);
    if (threadIdx.x == 0) {
        *out = (sum.hi + sum.lo) / rows.hi;
        *count = rows.hi;
    }
}

// dlogits (+)= dloss / count (softmax - q)
extern "C" __global__ void __launch_bounds__(BLOCK)
    cross_entropy_backward(Rows p, const float *__restrict__ logits, const float *__restrict__ targets,
                           const float *__restrict__ count, const float *__restrict__ dloss, float *__restrict__ dlogits, u32 add) {
    const u32 row = blockIdx.x * BLOCK + threadIdx.x;
    if (row >= p.rows) {
        return;
    }
    const float *x = logits + row * p.classes, target = targets[row];
    float *dx = dlogits + row * p.classes;
    const bool ignored = is_ignored(p, target), valid = is_class(p, target);
    const Softmax of_row = softmax(p, x);
    const float scale = *dloss / *count, share = 1.0f / of_row.sum;
#pragma unroll 1
    for (u32 k = 0; k < p.classes; ++k) {
        const float q = target == static_cast<float>(k) ? p.own + p.spread : p.spread;
        const float slope = scale * (expf(x[k] - of_row.largest) * share - q);
        put(&dx[k], ignored ? 0.0f : valid ? slope : __int_as_float(0x7fffffff), add);
    }
}
