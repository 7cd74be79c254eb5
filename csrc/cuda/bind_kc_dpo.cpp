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
        "kc_dpo_workspace",
        [](std::int64_t pairs, std::int64_t width, const std::array<std::int64_t, 4>& rows) {
            KcDpo call = {};
            call.pairs = pairs, call.width = width;
            for (int s = 0; s < 4; ++s) call.rows[s] = rows[s];
            return kc_dpo_workspace(call);
        },
        "bytes", py::arg("pairs"), py::arg("width"), py::arg("rows"));
    m.def(
        "kc_dpo_fwd",
        [](std::int64_t pairs, std::int64_t width, const std::array<std::int64_t, 4>& rows,
           const std::array<int, 4>& dtypes, double gamma, double sft_weight, bool sigmoid, int distance,
           const std::array<std::uintptr_t, 9>& at, std::uintptr_t stream) {
            const KcDpoObjective objective = {gamma, sft_weight, sigmoid, static_cast<Distance>(distance)};
            const KcDpo call = kc_dpo_call(pairs, width, rows, dtypes, objective, at.data());
            py::gil_scoped_release release;
            kc_dpo_fwd(call, reinterpret_cast<void*>(at[7]), reinterpret_cast<int*>(at[8]),
                       reinterpret_cast<cudaStream_t>(stream));
        },
        "addresses: H, Hr, Hw, Hl, loss, distances, grad or 0, workspace, counters", py::arg("pairs"),
        py::arg("width"), py::arg("rows"), py::arg("dtypes"), py::arg("gamma"), py::arg("sft_weight"),
        py::arg("sigmoid"), py::arg("distance"), py::arg("addresses"), py::arg("stream"));
    m.def(
        "kc_dpo_scale",
        [](std::uintptr_t grad, int dtype, std::int64_t size, std::uintptr_t scale, std::uintptr_t stream) {
            py::gil_scoped_release release;
            kc_dpo_scale(reinterpret_cast<void*>(grad), static_cast<Dtype>(dtype), size,
                         reinterpret_cast<const float*>(scale), reinterpret_cast<cudaStream_t>(stream));
        },
        py::arg("grad"), py::arg("dtype"), py::arg("size"), py::arg("scale"), py::arg("stream"));
}

}  // namespace silmm
