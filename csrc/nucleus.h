#pragma once

#include <cstdint>

namespace silmm {

// Samples one token a row; see src/silmm/kernels/nucleus.py for the definition.
//   logits           rows x vocab float32, `row_stride` elements from row to row, unit stride within a row
//   uniforms         rows float64 in [0, 1)
//   inv_temperature  1 / temperature, the same double that the reference multiplies by
//   tokens           rows int64, written
// Returns -1, or the first row that holds NaN, +inf, or nothing but -inf (its token and later ones are not written).
int64_t nucleus(const float* logits, int64_t rows, int64_t vocab, int64_t row_stride, const double* uniforms,
                double inv_temperature, double top_p, int64_t* tokens);

}  // namespace silmm
