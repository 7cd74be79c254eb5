#pragma once

// As ../bind.h, for the CUDA kernels.

#include <pybind11/pybind11.h>

namespace silmm {

void bind_divdrop(pybind11::module_& m);
void bind_kc_dpo(pybind11::module_& m);
void bind_selective_logps(pybind11::module_& m);

}  // namespace silmm
