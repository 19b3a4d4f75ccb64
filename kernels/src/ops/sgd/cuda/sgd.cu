// One step of gradient descent over flat arrays: one launch for all parameters of a network. Nothing changes if there
// is a flag and it is up.
#include "../../../gpu/common.cuh"

// `Constants` in sgd/params.rs.
struct Constants {
    float lr, momentum, weight_decay;
    u32 nesterov;
};
static_assert(sizeof(Constants) == 16, "as in Rust");

// One parameter, and the optimizer's state.
struct State {
    float param, buffer;
};

__device__ __forceinline__ State step(const Constants &c, State old, float grad) {
    const float g = fmaf(c.weight_decay, old.param, grad);
    const float buffer = fmaf(c.momentum, old.buffer, g);
    return {fmaf(-c.lr, c.nesterov ? fmaf(c.momentum, buffer, g) : buffer, old.param), buffer};
}

// 2^64 and its inverse
#define SCALE 18446744073709551616.0f
#define INV_SCALE 5.42101086242752217e-20f

// An element after a step. A step is linear in its operands: where a value on the way to a result overflows (0 times an
// infinity or NaN is not 0), it is taken with all of them divided by SCALE.
__device__ __forceinline__ State updated(const Constants &c, State old, float grad) {
    State next = step(c, old, grad);
    if (next.param * 0.0f != 0.0f || next.buffer * 0.0f != 0.0f) {
        const State scaled = step(c, {old.param * INV_SCALE, old.buffer * INV_SCALE}, grad * INV_SCALE);
        next.param = next.param * 0.0f != 0.0f ? scaled.param * SCALE : next.param;
        next.buffer = next.buffer * 0.0f != 0.0f ? scaled.buffer * SCALE : next.buffer;
    }
    return next;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    sgd_step(Constants c, u32 len, float *__restrict__ param, const float *__restrict__ grad, float *__restrict__ buffer,
             const float *__restrict__ unless) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len && !(unless && *unless != 0.0f)) {
        const State next = updated(c, {param[i], buffer ? buffer[i] : 0.0f}, grad[i]);
        param[i] = next.param;
        if (buffer) {
            buffer[i] = next.buffer;
        }
    }
}

// Sets *flag to 1 if a step would leave a value that is not finite. All threads that find one write the same, so their
// order is of no matter.
extern "C" __global__ void __launch_bounds__(BLOCK)
    sgd_check(Constants c, u32 len, const float *__restrict__ param, const float *__restrict__ grad,
              const float *__restrict__ buffer, float *flag) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len) {
        const State next = updated(c, {param[i], buffer ? buffer[i] : 0.0f}, grad[i]);
        if (next.param * 0.0f != 0.0f || (buffer && next.buffer * 0.0f != 0.0f)) {
            atomicExch(flag, 1.0f);
        }
    }
}
