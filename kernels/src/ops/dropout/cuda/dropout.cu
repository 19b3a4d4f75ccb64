// Dropout. The input may be the output: neither is __restrict__.
#include "../../../gpu/common.cuh"
#include "../../../gpu/random.cuh"

// y (+)= x times 0 where the element's word is below the threshold, times `scale` elsewhere: the forward pass, and with
// gradients the backward pass.
extern "C" __global__ void __launch_bounds__(BLOCK)
    dropout(u32 len, u32 threshold, float scale, Words words, const float *x, float *y, u32 add) {
#pragma unroll
    for (u32 k = 0; k < PAIRS_PER_THREAD; ++k) {
        const Pair pair = pair_of(words, k);
        if (pair.low < len) {
            put(&y[pair.low], (pair.low_word < threshold ? 0.0f : scale) * x[pair.low], add);
        }
        if (pair.high < len) {
            put(&y[pair.high], (pair.high_word < threshold ? 0.0f : scale) * x[pair.high], add);
        }
    }
}
