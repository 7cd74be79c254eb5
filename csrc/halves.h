#pragma once

#include <cstdint>
#include <cstring>

#include "portable.h"

namespace silmm {

// bfloat16 and IEEE half precision as bits. To float32 is exact; back rounds to nearest, ties to even. Infinities,
// subnormals and signs of zero are kept, NaN stays a NaN. Branch-free on the host, so that loops vectorise at every
// level; on a GPU its own conversions, which give the same bits (but for the payload of a NaN).
struct Bf16 {
    uint16_t bits;
};
struct F16 {
    uint16_t bits;
};

SILMM_BOTH uint32_t float_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

SILMM_BOTH float bits_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// widen(x): as float32.
SILMM_BOTH float widen(float x) { return x; }

SILMM_BOTH float widen(Bf16 x) { return bits_float(static_cast<uint32_t>(x.bits) << 16); }

SILMM_BOTH float widen(F16 x) {
#ifdef __CUDA_ARCH__
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
#else
    const uint32_t size = x.bits & 0x7FFFu, sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
    const uint32_t normal = (size << 13) + (112u << 23);                           // 112: 127 - 15, the biases
    const uint32_t subnormal = float_bits(bits_float(size + 0x3F000000u) - 0.5f);  // 0.5 + size 2^-24, less 0.5
    const uint32_t finite = size < 0x0400u ? subnormal : normal;
    return bits_float((size < 0x7C00u ? finite : normal + (112u << 23)) | sign);
#endif
}

// narrow<T>(x): float32 as a T.
template <class T>
SILMM_BOTH T narrow(float x);

template <>
SILMM_BOTH float narrow<float>(float x) {
    return x;
}

template <>
SILMM_BOTH Bf16 narrow<Bf16>(float x) {
    Bf16 narrowed;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrowed.bits) : "f"(x));
#else
    const uint32_t bits = float_bits(x);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t nan = (bits >> 16) | 0x0040u;  // quiet: a payload in the low half alone would leave an infinity
    narrowed.bits = static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded);
#endif
    return narrowed;
}

template <>
SILMM_BOTH F16 narrow<F16>(float x) {
    F16 narrowed;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrowed.bits) : "f"(x));
#else
    const uint32_t bits = float_bits(x), size = bits & 0x7FFFFFFFu;
    const uint32_t normal = (size - (112u << 23) + 0x0FFFu + ((size >> 13) & 1u)) >> 13;  // may carry into infinity
    const uint32_t subnormal = float_bits(bits_float(size) + 0.5f) - 0x3F000000u;         // the addition rounds
    const uint32_t finite = size < (113u << 23) ? subnormal : normal;                     // 2^-14
    const uint32_t special = size > 0x7F800000u ? 0x7E00u : 0x7C00u;
    narrowed.bits = static_cast<uint16_t>((size < (143u << 23) ? finite : special) | (bits >> 16 & 0x8000u));  // 2^16
#endif
    return narrowed;
}

}  // namespace silmm
