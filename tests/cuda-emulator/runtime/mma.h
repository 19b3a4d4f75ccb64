// The tensor cores' product of two small matrices, which the lanes of a warp hold together.
#pragma once
#include <cstdint>

namespace cuda_emulator {

// What a lane has of `mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32`, d = a b + c of matrices 16x8, 8x8 and 16x8: the registers of
// its fragments, as the PTX ISA gives them in "Matrix Fragments for mma.m16n8k8". With g = lane / 4 and t = lane % 4, they are
struct MmaLane {
    const float* a;  // (row, k): (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
    const float* b;  // (k, column): (t, g), (t + 4, g)
    const float* c;  // (row, column): (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
    float* d;        // as c, and may be c
};

// `lanes`: of one warp, 32. Numbers are those of an A100, the coarsest of the tensor cores that have TF32.
void multiply_add(const MmaLane* const* lanes);

// `cvt.rna.tf32.f32`: the nearest number with 10 bits of mantissa, of two equally near ones that of the larger magnitude.
float to_tf32(float x);

// The first operand of a lane that is not such a number, or null. To multiply one is undefined.
const float* not_tf32(const MmaLane& lane);

}  // namespace cuda_emulator
