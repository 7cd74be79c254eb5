#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "bind.h"
#include "decode_attention.h"

namespace py = pybind11;

namespace silmm {

void bind_decode_attention(py::module_& m) {
    m.def(
        "decode_attention",
        [](std::int64_t prompts, std::int64_t samples, std::int64_t heads, std::int64_t dim, std::int64_t start,
           std::int64_t length, std::int64_t place, float scale, const std::array<std::uintptr_t, 11>& at, int isa) {
            const auto in = [&](int i) { return reinterpret_cast<const float*>(at[i]); };
            const auto out = [&](int i) { return reinterpret_cast<float*>(at[i]); };
            py::gil_scoped_release release;
            decode_attention({prompts, samples, heads, dim, start, length, place, in(0), in(1), in(2), in(3),
                                     in(4), in(5), in(6), reinterpret_cast<const std::uint8_t*>(at[7]), out(8), out(9),
                                     scale, out(10)},
                                    isa);
        },
        "addresses: q, k, v, cos, sin, prefix keys, prefix values, seen, keys, values, out", py::arg("prompts"),
        py::arg("samples"), py::arg("heads"), py::arg("dim"), py::arg("start"), py::arg("length"), py::arg("place"),
        py::arg("scale"), py::arg("addresses"), py::arg("isa"));
}

}  // namespace silmm
