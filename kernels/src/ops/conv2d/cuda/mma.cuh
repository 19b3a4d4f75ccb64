// What the kernels on tensor cores share: the numbers that are multiplied, the product of a warp's matrices, and how it
// writes its sums.
#pragma once
#include "conv2d.cuh"

// The nearest number of 10 bits of mantissa, of two equally near ones that of the larger magnitude.
__device__ __forceinline__ float to_tf32(float x) {
#ifdef CUDA_EMULATOR
    return CUDA_EMULATOR_CVT_RNA_TF32(x);
#else
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
#endif
}

// d = a b + c of the warp's matrices 16x8, 8x8 and 16x8. Lane 4 g + t has, as the PTX ISA says in "Matrix Fragments for
// mma.m16n8k8",
//
//     of a (row, k): (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)          of b (k, column): (t, g), (t + 4, g)
//     of c and d (row, column): (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
//
// All lanes have to come here. The order and the rounding of the sums within is the GPU's, and the same each time.
__device__ __forceinline__ void multiply_matrices(float (&d)[4], const float (&a)[4], const float (&b)[2], const float (&c)[4]) {
#ifdef CUDA_EMULATOR
    CUDA_EMULATOR_MMA_M16N8K8_TF32(d, a, b, c);
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#endif
}

// A value as the numbers of TF32 that are multiplied, whose sum it is. There are one or two of these PARTS:
//
// - 1: the nearest number.
// - 2: that, and the first 11 of the at most 12 bits that are left, so 22 bits or more of a value's 24. An infinity is
//   that and a NaN.

__device__ __forceinline__ void split(float x, float (&part)[1]) {
    part[0] = to_tf32(x);
}

__device__ __forceinline__ void split(float x, float (&part)[2]) {
    constexpr u32 DROPPED = 0x1fff; // bits of the mantissa that TF32 does not have
    // Not to_tf32: that takes more instructions, to keep NaNs. Here the second part keeps them.
    part[0] = __uint_as_float((__float_as_uint(x) + (DROPPED + 1) / 2) & ~DROPPED);
    part[1] = __uint_as_float(__float_as_uint(x - part[0]) & ~DROPPED);
}

// acc += a b
__device__ __forceinline__ void add_product(float (&acc)[4], const float (&a)[1][4], const float (&b)[1][2]) {
    multiply_matrices(acc, a[0], b[0], acc);
}

// acc += a b, but for the product of the second parts, which is less than 2^-22 of the whole. Tensor cores do not round
// their sums, but cut them off, a little towards zero each time. So they sum these products only, the smallest first,
// and the FP32 units add that (Ootomo & Yokota, "Recovering single precision accuracy from Tensor Cores while
// surpassing the FP32 theoretical peak performance", 2022).
__device__ __forceinline__ void add_product(float (&acc)[4], const float (&a)[2][4], const float (&b)[2][2]) {
    const float none[4] = {};
    float sum[4];
    multiply_matrices(sum, a[1], b[0], none);
    multiply_matrices(sum, a[0], b[1], sum);
    multiply_matrices(sum, a[0], b[0], sum);
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        acc[i] += sum[i];
    }
}
