// One AdamW step over flat arrays: one launch for all parameters of a network. Nothing changes if there is a flag and
// it is up.
#include "../../../gpu/common.cuh"

// `Constants` in adamw/params.rs: computed in f64 on the host.
struct Constants {
    float decay, new_m, new_v, rate, correction, eps;
};
static_assert(sizeof(Constants) == 24, "as in Rust");

// One parameter, its gradient, and the optimizer's state.
struct State {
    float param, grad, m, v;
};

// An element after a step. Moments move by their distance from the new value, as 1 - beta is precise in f32 where beta
// is not. Where that distance overflows (0 times an infinity or NaN is not 0), they are summed.
__device__ State updated(const Constants &c, State old) {
    float new_m = fmaf(c.new_m, old.grad - old.m, old.m);
    float new_v = fmaf(c.new_v, old.grad * old.grad - old.v, old.v);
    if (new_m * 0.0f != 0.0f) {
        new_m = fmaf(c.new_m, old.grad, (1.0f - c.new_m) * old.m);
    }
    if (new_v * 0.0f != 0.0f) {
        new_v = fmaf(c.new_v * old.grad, old.grad, (1.0f - c.new_v) * old.v);
    }
    const float denominator = fmaf(sqrtf(new_v), c.correction, c.eps);
    return {c.decay * old.param - c.rate * new_m / denominator, old.grad, new_m, new_v};
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    adamw_step(Constants c, u32 len, float *__restrict__ param, const float *__restrict__ grad, float *__restrict__ m,
               float *__restrict__ v, const float *__restrict__ unless) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len && !(unless && *unless != 0.0f)) {
        const State next = updated(c, {param[i], grad[i], m[i], v[i]});
        param[i] = next.param;
        m[i] = next.m;
        v[i] = next.v;
    }
}

// Sets *flag to 1 if a step would leave a value that is not finite. All threads that find one write the same, so their
// order is of no matter.
extern "C" __global__ void __launch_bounds__(BLOCK)
    adamw_check(Constants c, u32 len, const float *__restrict__ param, const float *__restrict__ grad,
                const float *__restrict__ m, const float *__restrict__ v, float *flag) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len) {
        const State next = updated(c, {param[i], grad[i], m[i], v[i]});
        if (next.param * 0.0f != 0.0f || next.m * 0.0f != 0.0f || next.v * 0.0f != 0.0f) {
            atomicExch(flag, 1.0f);
        }
    }
}
