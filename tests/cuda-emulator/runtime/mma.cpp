#include "mma.h"

#include <algorithm>
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

// The exponent of a number that is not 0: that of its leading bit, but for numbers too small for that, which count as the smallest.
int exponent_of(float x) {
    int biased = bits_of(x) >> 23 & 0xff;
    return (biased > 0 ? biased : 1) - 127;
}

double power_of_2(int exponent) {
    uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

// How an A100 adds products of TF32, which the PTX ISA leaves open: 4 at a time to c, all of them first cut off to a multiple of the
// same number. That has one bit more than the mantissa of the largest would have. The exact sum of what is left is cut off to 24 bits
// (Khattak & Mikaitis, "Accurate Models of NVIDIA Tensor Cores", 2025; an H100 adds 8 at a time, with two bits more).
constexpr int products_at_once = 4, more_bits = 1;
constexpr int exponent_of_zero = -1000;  // less than any other

float sum_cut_off(float c, const float* a, const float* b) {
    int exponent = c == 0 ? exponent_of_zero : exponent_of(c);
    bool finite = std::isfinite(c);
    for (int i = 0; i < products_at_once; i++) {
        finite = finite && std::isfinite(a[i]) && std::isfinite(b[i]);
        if (a[i] != 0 && b[i] != 0) exponent = std::max(exponent, exponent_of(a[i]) + exponent_of(b[i]));
    }
    if (!finite) return c + a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
    if (exponent == exponent_of_zero) return c;
    int last_place = exponent - 23 - more_bits;
    double places = power_of_2(-last_place);
    int64_t sum = static_cast<int64_t>(c * places);  // a conversion cuts off
    for (int i = 0; i < products_at_once; i++) sum += static_cast<int64_t>(static_cast<double>(a[i]) * b[i] * places);
    double exact = static_cast<double>(sum) * power_of_2(last_place);
    if (std::abs(exact) >= power_of_2(128)) return std::copysign(INFINITY, static_cast<float>(exact));
    float nearest = static_cast<float>(exact);
    return std::abs(nearest) > std::abs(exact) ? std::nextafter(nearest, 0.0f) : nearest;
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

void multiply_add(const MmaLane* const* lanes) {
    float a[16][8], b[8][8], d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) {
            a[g + 8 * (i % 2)][t + 4 * (i / 2)] = lanes[lane]->a[i];
            d[g + 8 * (i / 2)][2 * t + i % 2] = lanes[lane]->c[i];
        }
        for (int i = 0; i < 2; i++) b[t + 4 * i][g] = lanes[lane]->b[i];
    }
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++)
            for (int k = 0; k < 8; k += products_at_once) {
                float of_b[products_at_once];
                for (int i = 0; i < products_at_once; i++) of_b[i] = b[k + i][column];
                d[row][column] = sum_cut_off(d[row][column], a[row] + k, of_b);
            }
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) lanes[lane]->d[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
    }
}

}  // namespace cuda_emulator
