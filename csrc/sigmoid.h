#pragma once

#include "exp.h"
#include "halves.h"

namespace silmm {

// take ? a : b without a branch that a compiler could see through: gcc would work out what follows for a constant `a`
// as well, for every element, and where that is a subnormal number it costs a hundred cycles.
SILMM_BOTH float select(bool take, float a, float b) {
    const uint32_t mask = 0u - static_cast<uint32_t>(take);
    return bits_float((float_bits(a) & mask) | (float_bits(b) & ~mask));
}

// 1 / (1 + exp(-x)), with the exponent clamped to where exp and its inverse are normal numbers; NaN stays NaN. The
// same bits everywhere, and those of src/silmm/kernels/sigmoid.py.
SILMM_BOTH float sigmoid(float x) {
    float minus = -x;
    minus = select(minus < kExpLowest, kExpLowest, minus);  // not fmin, which may lose a NaN
    minus = select(minus > kExpHighest, kExpHighest, minus);
    const float below = 1.0f + exp_within(minus);
#ifdef __CUDA_ARCH__
    return __frcp_rn(below);  // 1 / below rounded to nearest, as the division
#else
    return 1.0f / below;
#endif
}

}  // namespace silmm
