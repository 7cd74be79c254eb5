// The Python face of the CUDA kernels: as in ../module.cpp, addresses and sizes, and the stream that torch works on.
// The CUDA runtime is linked statically, so this loads without a driver; a launch without one is an error.

#include <pybind11/pybind11.h>

#include "bind.h"

PYBIND11_MODULE(_CUDA, m) {
    m.attr("abi") = 4;  // as in ../module.cpp
    m.attr("archs") = SILMM_CUDA_ARCHS;
    silmm::bind_divdrop(m);
    silmm::bind_kc_dpo(m);
    silmm::bind_selective_logps(m);
}
