#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>

#include "../divdrop.h"

namespace silmm {

// All addresses are on the device.
void divdrop_fwd(const DivDrop& call, cudaStream_t stream);
void divdrop_bwd(const DivDrop& call, cudaStream_t stream);

// philox.h as nvcc compiles it for the host: for known answers where there is no GPU.
std::array<uint32_t, 4> philox_words(std::array<uint32_t, 4> counter, uint64_t key);

}  // namespace silmm
