#include <pybind11/pybind11.h>

#include <cstdint>

#include "bind.h"
#include "nucleus.h"

namespace py = pybind11;

namespace silmm {

void bind_nucleus(py::module_& m) {
    m.def(
        "nucleus",
        [](std::uintptr_t logits, std::int64_t rows, std::int64_t vocab, std::int64_t row_stride,
           std::uintptr_t uniforms, double inv_temperature, double top_p, std::uintptr_t tokens) {
            py::gil_scoped_release release;
            return nucleus(reinterpret_cast<const float*>(logits), rows, vocab, row_stride,
                                  reinterpret_cast<const double*>(uniforms), inv_temperature, top_p,
                                  reinterpret_cast<std::int64_t*>(tokens));
        },
        py::arg("logits"), py::arg("rows"), py::arg("vocab"), py::arg("row_stride"), py::arg("uniforms"),
        py::arg("inv_temperature"), py::arg("top_p"), py::arg("tokens"));
}

}  // namespace silmm
