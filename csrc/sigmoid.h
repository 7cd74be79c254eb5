#pragma once

#include "exp.h"

namespace silmm {

// 1 / (1 + exp(-x)), with the exponent clamped to where exp and its inverse are normal numbers; NaN stays NaN. The
// same bits everywhere, and those of src/silmm/kernels/sigmoid.py.
SILMM_BOTH float sigmoid(float x) {
    float minus = -x;
    minus = minus < kExpLowest ? kExpLowest : minus;  // comparisons, not fmin: they let NaN through
    minus = minus > kExpHighest ? kExpHighest : minus;
    const float below = 1.0f + exp_within(minus);
#ifdef __CUDA_ARCH__
    return __frcp_rn(below);  // 1 / below rounded to nearest, as the division
#else
    return 1.0f / below;
#endif
}

}  // namespace silmm
