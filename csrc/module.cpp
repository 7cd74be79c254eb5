// The Python face of the kernels. No torch headers: tensors arrive as addresses and sizes, checked in Python, which
// also keeps them alive during the call. So the module does not depend on the torch release.

#include <pybind11/pybind11.h>

#include "bind.h"
#include "isa.h"

PYBIND11_MODULE(_C, m) {
    m.attr("abi") = 4;  // raised with every change of a signature; silmm.kernels._dispatch refuses another one
    m.def(
        "isa", [] { return static_cast<int>(silmm::isa(static_cast<int>(silmm::Isa::avx512))); },
        "the highest instruction set that this processor has, as a number of silmm::Isa");
    silmm::bind_decode_attention(m);
    silmm::bind_divdrop(m);
    silmm::bind_kc_dpo(m);
    silmm::bind_nucleus(m);
    silmm::bind_selective_logps(m);
}
