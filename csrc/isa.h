#pragma once

// Runtime dispatch: a kernel is written once as an always-inlined function, and compiled for each level below. Kernels
// keep fixed orders of summation and no fused multiply-add, so all levels give the same bits.

#if defined(__x86_64__) && defined(__GNUC__)
#define SILMM_X86 1
#define SILMM_AVX2 __attribute__((target("avx2")))
#define SILMM_AVX512 __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif
#define SILMM_INLINE inline __attribute__((always_inline))

namespace silmm {

enum class Isa { base = 0, avx2 = 1, avx512 = 2 };

// The highest level that this processor has, and that is not above `wanted`.
inline Isa isa(int wanted) {
#ifdef SILMM_X86
    __builtin_cpu_init();
    if (wanted >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return Isa::avx512;
    }
    if (wanted >= 1 && __builtin_cpu_supports("avx2")) return Isa::avx2;
#endif
    static_cast<void>(wanted);
    return Isa::base;
}

}  // namespace silmm
