// One AdamW step over flat arrays: one launch for all parameters of a network. Nothing changes if there is a flag and
// it is up.
#include "../../../gpu/common.cuh"

// `Constants` in adamw/params.rs: computed in f64 on the host.
struct Constants {
    float decay, new_m, new_v, rate, correction, eps;
};
static_assert(sizeof(Constants) == 24, "as in Rust");

// Moments move by their distance from the new value, as 1 - beta is precise in f32 where beta is not. Where that
// distance overflows (0 times an infinity or NaN is not 0), they are summed.
extern "C" __global__ void __launch_bounds__(BLOCK)
    adamw_step(Constants c, u32 len, float *__restrict__ param, const float *__restrict__ grad, float *__restrict__ m,
               float *__restrict__ v, const float *__restrict__ unless) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len && !(unless && *unless != 0.0f)) {
        const float g = grad[i];
        float new_m = fmaf(c.new_m, g - m[i], m[i]);
        float new_v = fmaf(c.new_v, g * g - v[i], v[i]);
        if (new_m * 0.0f != 0.0f) {
            new_m = fmaf(c.new_m, g, (1.0f - c.new_m) * m[i]);
        }
        if (new_v * 0.0f != 0.0f) {
            new_v = fmaf(c.new_v * g, g, (1.0f - c.new_v) * v[i]);
        }
        const float denominator = fmaf(sqrtf(new_v), c.correction, c.eps);
        param[i] = c.decay * param[i] - c.rate * new_m / denominator;
        m[i] = new_m;
        v[i] = new_v;
    }
}
