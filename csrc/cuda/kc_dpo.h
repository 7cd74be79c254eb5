#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../kc_dpo.h"

namespace silmm {

// Bytes that kc_dpo_fwd needs to work in.
int64_t kc_dpo_workspace(const KcDpo& call);

// As kc_dpo of ../kc_dpo.h, on the stream. Dtypes: Hr, Hw, Hl all as H, or all float32.
//   workspace  kc_dpo_workspace bytes, aligned to 16; read only where this call wrote
//   counters   [pairs + 1], zero
void kc_dpo_fwd(const KcDpo& call, void* workspace, int* counters, cudaStream_t stream);

// grad *= *scale; where that is 1, the kernel looks at it and is done.
void kc_dpo_scale(void* grad, Dtype dtype, int64_t size, const float* scale, cudaStream_t stream);

}  // namespace silmm
