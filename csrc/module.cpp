// The Python face of the kernels. No torch headers: tensors arrive as addresses and sizes, checked in Python, which
// also keeps them alive during the call. So the module does not depend on the torch release.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "decode_attention.h"
#include "nucleus.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
    m.attr("abi") = 2;  // raised with every change of a signature; silmm.kernels._dispatch refuses another one
    m.def(
        "nucleus",
        [](std::uintptr_t logits, std::int64_t rows, std::int64_t vocab, std::int64_t row_stride,
           std::uintptr_t uniforms, double inv_temperature, double top_p, std::uintptr_t tokens) {
            py::gil_scoped_release release;
            return silmm::nucleus(reinterpret_cast<const float*>(logits), rows, vocab, row_stride,
                                  reinterpret_cast<const double*>(uniforms), inv_temperature, top_p,
                                  reinterpret_cast<std::int64_t*>(tokens));
        },
        py::arg("logits"), py::arg("rows"), py::arg("vocab"), py::arg("row_stride"), py::arg("uniforms"),
        py::arg("inv_temperature"), py::arg("top_p"), py::arg("tokens"));
    m.def(
        "decode_attention",
        [](std::int64_t prompts, std::int64_t samples, std::int64_t heads, std::int64_t dim, std::int64_t start,
           std::int64_t length, std::int64_t place, float scale, const std::array<std::uintptr_t, 11>& at, int isa) {
            const auto in = [&](int i) { return reinterpret_cast<const float*>(at[i]); };
            const auto out = [&](int i) { return reinterpret_cast<float*>(at[i]); };
            py::gil_scoped_release release;
            silmm::decode_attention({prompts, samples, heads, dim, start, length, place, in(0), in(1), in(2), in(3),
                                     in(4), in(5), in(6), reinterpret_cast<const std::uint8_t*>(at[7]), out(8), out(9),
                                     scale, out(10)},
                                    isa);
        },
        "addresses: q, k, v, cos, sin, prefix keys, prefix values, seen, keys, values, out", py::arg("prompts"),
        py::arg("samples"), py::arg("heads"), py::arg("dim"), py::arg("start"), py::arg("length"), py::arg("place"),
        py::arg("scale"), py::arg("addresses"), py::arg("isa"));
}
