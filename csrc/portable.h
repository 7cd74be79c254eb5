#pragma once

// What the C++ and the CUDA kernels share must compile for both, and give both the same bits: fixed orders, and no
// fused multiply-add that is not written out (-ffp-contract=off, --fmad=false).

#if defined(__CUDACC__)
#define SILMM_BOTH __host__ __device__ __forceinline__
#else
#define SILMM_BOTH inline __attribute__((always_inline))
#endif

namespace silmm {

// Element types of tensors that arrive as addresses; the numbers are those of DTYPES in silmm/kernels/arguments.py.
enum class Dtype { f32 = 0, bf16 = 1, f16 = 2 };

}  // namespace silmm
