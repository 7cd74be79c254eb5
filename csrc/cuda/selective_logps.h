#pragma once

#include <cuda_runtime_api.h>

#include "../selective_logps.h"

namespace silmm {

// As in ../selective_logps.h, on the GPU: queued on `stream`, addresses are the device's.
void selective_logps_fwd(const LogpsTile& tile, bool write, cudaStream_t stream);
void selective_logps_bwd(const LogpsTile& tile, cudaStream_t stream);

}  // namespace silmm
