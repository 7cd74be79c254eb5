#pragma once

// As ../bind.h, for the CUDA kernels.

#include <pybind11/pybind11.h>

namespace silmm {}  // namespace silmm
