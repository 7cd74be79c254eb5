#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace silmm {

// Throws (RuntimeError in Python) when a call of the CUDA runtime, or the launch before it, did not succeed.
inline void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

}  // namespace silmm
