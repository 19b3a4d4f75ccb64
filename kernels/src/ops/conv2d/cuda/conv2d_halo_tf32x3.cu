// 3x3 convolutions of stride 1 on tensor cores, as exact as in f32: of operands that are sums of two numbers of TF32.
// For GPUs of compute capability 8.0 or later.
#include "conv2d.cuh"
#include "halo.cuh"
#include "mma.cuh"
#include "halo_mma.cuh"

GATHER_HALO(conv2d_tf32x3_forward_halo, false, 2)
GATHER_HALO(conv2d_tf32x3_adjoint_halo, true, 2)
REDUCE_HALO(conv2d_tf32x3_weight_halo, 2)
