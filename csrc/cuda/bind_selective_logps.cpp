#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "bind.h"
#include "selective_logps.h"

namespace py = pybind11;

namespace silmm {

void bind_selective_logps(py::module_& m) {
    m.def(
        "selective_logps_fwd",
        [](const std::array<std::int64_t, 5>& sizes, const std::array<std::uintptr_t, 3>& addresses, bool write,
           std::uintptr_t stream) {
            selective_logps_fwd(logps_tile(sizes, addresses), write, reinterpret_cast<cudaStream_t>(stream));
        },
        "sizes and addresses: see logps_tile", py::arg("sizes"), py::arg("addresses"), py::arg("write"),
        py::arg("stream"));
    m.def(
        "selective_logps_bwd",
        [](const std::array<std::int64_t, 5>& sizes, const std::array<std::uintptr_t, 3>& addresses,
           std::uintptr_t stream) {
            selective_logps_bwd(logps_tile(sizes, addresses), reinterpret_cast<cudaStream_t>(stream));
        },
        "sizes and addresses: see logps_tile", py::arg("sizes"), py::arg("addresses"), py::arg("stream"));
}

}  // namespace silmm
