#pragma once

#include <cstdint>
#include <cstring>

#include "portable.h"

namespace silmm {

constexpr float kExpLowest = -87.0f, kExpHighest = 87.0f;  // exp and its inverse are normal numbers between them

// exp(x) for x in [kExpLowest, kExpHighest], relative error below 2e-7. NaN stays NaN. Branch-free, so it vectorises;
// single multiplications and additions in one order, so that every machine gives the same bits.
SILMM_BOTH float exp_within(float x) {
    constexpr float log2e = 1.44269504f;
    constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;  // ln 2 in two parts (Cephes)
    constexpr float round = 12582912.0f;                              // 1.5 * 2^23: adding it rounds to an integer
    const float shifted = x * log2e + round;
    const float k = shifted - round;
    const float r = (x - k * ln2_hi) - k * ln2_lo;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r * r + r) + 1.0f;
    int32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = static_cast<int32_t>(static_cast<uint32_t>(bits) << 23) + (127 << 23);  // 2^k
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

// exp(x) for x <= 0; from kExpLowest on down it is exp(kExpLowest).
SILMM_BOTH float exp_of(float x) { return exp_within(x < kExpLowest ? kExpLowest : x); }

}  // namespace silmm
