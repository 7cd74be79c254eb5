#pragma once

// Each kernel's Python face is a function of its own, so that a kernel is a pair of files and a line in module.cpp.

#include <pybind11/pybind11.h>

namespace silmm {

void bind_decode_attention(pybind11::module_& m);
void bind_divdrop(pybind11::module_& m);
void bind_kc_dpo(pybind11::module_& m);
void bind_nucleus(pybind11::module_& m);
void bind_selective_logps(pybind11::module_& m);

}  // namespace silmm
