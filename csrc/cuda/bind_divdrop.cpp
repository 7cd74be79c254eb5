#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "bind.h"
#include "divdrop.h"

namespace py = pybind11;

namespace silmm {

void bind_divdrop(py::module_& m) {
    using Sizes = std::array<std::int64_t, 8>;
    using Addresses = std::array<std::uintptr_t, 9>;
    using Strides = std::array<std::int64_t, 12>;
    const auto define = [&](const char* name, void (*run)(const DivDrop&, cudaStream_t)) {
        m.def(
            name,
            [run](const Sizes& sizes, const Addresses& addresses, const Strides& strides, std::uintptr_t stream) {
                run(divdrop_call(sizes, addresses, strides), reinterpret_cast<cudaStream_t>(stream));
            },
            "see divdrop_call in divdrop.h", py::arg("sizes"), py::arg("addresses"), py::arg("strides"),
            py::arg("stream"));
    };
    define("divdrop_fwd", divdrop_fwd);
    define("divdrop_bwd", divdrop_bwd);
    m.def("philox", philox_words, "the four words of a counter under a key, for known answers", py::arg("counter"),
          py::arg("key"));
}

}  // namespace silmm
