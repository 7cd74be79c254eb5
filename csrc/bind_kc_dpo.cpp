#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "bind.h"
#include "kc_dpo.h"

namespace py = pybind11;

namespace silmm {

void bind_kc_dpo(py::module_& m) {
    m.def(
        "kc_dpo_fwd",
        [](std::int64_t pairs, std::int64_t width, const std::array<std::int64_t, 4>& rows,
           const std::array<int, 4>& dtypes, double gamma, double sft_weight, bool sigmoid, int distance,
           const std::array<std::uintptr_t, 7>& at, int isa) {
            const KcDpoObjective objective = {gamma, sft_weight, sigmoid, static_cast<Distance>(distance)};
            const KcDpo call = kc_dpo_call(pairs, width, rows, dtypes, objective, at.data());
            py::gil_scoped_release release;
            kc_dpo(call, isa);
        },
        "addresses: H, Hr, Hw, Hl, loss, distances, grad or 0", py::arg("pairs"), py::arg("width"), py::arg("rows"),
        py::arg("dtypes"), py::arg("gamma"), py::arg("sft_weight"), py::arg("sigmoid"), py::arg("distance"),
        py::arg("addresses"), py::arg("isa"));
}

}  // namespace silmm
