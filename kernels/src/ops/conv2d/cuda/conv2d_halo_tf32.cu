// 3x3 convolutions of stride 1 on tensor cores, of operands that are rounded to TF32. For GPUs of compute capability
// 8.0 or later.
#include "conv2d.cuh"
#include "halo.cuh"
#include "mma.cuh"
#include "halo_mma.cuh"

GATHER_HALO(conv2d_tf32_forward_halo, false, 1)
GATHER_HALO(conv2d_tf32_adjoint_halo, true, 1)
REDUCE_HALO(conv2d_tf32_weight_halo, 1)
