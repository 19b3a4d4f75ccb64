#include "mma.h"

#include <cmath>
#include <cstring>

namespace cuda_emulator {
namespace {

// Bits of an f32's mantissa that TF32 does not have.
constexpr uint32_t dropped_bits = 0x1fff;

uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

bool is_tf32(float x) { return std::isnan(x) || (bits_of(x) & dropped_bits) == 0; }

}  // namespace

float to_tf32(float x) {
    uint32_t bits = bits_of(x);
    // PTX's NaN of this type; an infinity stays as it is. A carry out of the mantissa is what rounding up means.
    bits = std::isnan(x) ? 0x7fffffff : (bits + (dropped_bits + 1) / 2) & ~dropped_bits;
    memcpy(&x, &bits, sizeof x);
    return x;
}

const float* not_tf32(const MmaLane& lane) {
    for (int i = 0; i < 4; i++)
        if (!is_tf32(lane.a[i])) return lane.a + i;
    for (int i = 0; i < 2; i++)
        if (!is_tf32(lane.b[i])) return lane.b + i;
    return nullptr;
}

// Products of TF32 are exact in f32. The sum runs over k from 0, rounding to nearest each time; a GPU's order and rounding are
// "unspecified", says the PTX ISA.
void multiply_add(const MmaLane* const* lanes) {
    float a[16][8], b[8][8], d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) {
            a[g + 8 * (i % 2)][t + 4 * (i / 2)] = lanes[lane]->a[i];
            d[g + 8 * (i / 2)][2 * t + i % 2] = lanes[lane]->d[i];
        }
        for (int i = 0; i < 2; i++) b[t + 4 * i][g] = lanes[lane]->b[i];
    }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 8; k++)
            for (int column = 0; column < 8; column++) d[row][column] += a[row][k] * b[k][column];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) lanes[lane]->d[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
    }
}

}  // namespace cuda_emulator
