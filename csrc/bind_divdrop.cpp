#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "bind.h"
#include "divdrop.h"
#include "philox.h"

namespace py = pybind11;

namespace silmm {

void bind_divdrop(py::module_& m) {
    using Sizes = std::array<std::int64_t, 8>;
    using Addresses = std::array<std::uintptr_t, 9>;
    using Strides = std::array<std::int64_t, 12>;
    const auto define = [&](const char* name, void (*run)(const DivDrop&, int)) {
        m.def(
            name,
            [run](const Sizes& sizes, const Addresses& addresses, const Strides& strides, int isa) {
                const DivDrop call = divdrop_call(sizes, addresses, strides);
                py::gil_scoped_release release;
                run(call, isa);
            },
            "see divdrop_call in divdrop.h", py::arg("sizes"), py::arg("addresses"), py::arg("strides"),
            py::arg("isa"));
    };
    define("divdrop_fwd", divdrop_fwd);
    define("divdrop_bwd", divdrop_bwd);
    m.def(
        "philox",
        [](std::array<std::uint32_t, 4> counter, std::uint64_t key) {
            std::uint32_t words[4] = {counter[0], counter[1], counter[2], counter[3]};
            philox(words, static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32));
            return std::array<std::uint32_t, 4>{words[0], words[1], words[2], words[3]};
        },
        "the four words of a counter under a key, for known answers", py::arg("counter"), py::arg("key"));
}

}  // namespace silmm
