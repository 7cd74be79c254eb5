#pragma once

#include <cstdint>

#include "portable.h"

namespace silmm {

constexpr uint32_t kPhilox0 = 0xD2511F53, kPhilox1 = 0xCD9E8D57;  // multipliers
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;      // what the key's words grow by, each round
constexpr int kPhiloxRounds = 10;

SILMM_BOTH uint64_t multiply(uint32_t a, uint32_t b) {
#ifdef __CUDA_ARCH__
    uint64_t product;  // one instruction; from the line below ptxas may make two
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
    return product;
#else
    return static_cast<uint64_t>(a) * b;
#endif
}

// Philox4x32-10 (Salmon et al., SC 2011): four random words of a counter under a key, in place of the counter.
SILMM_BOTH void philox(uint32_t (&c)[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < kPhiloxRounds; ++round) {
        const uint64_t p0 = multiply(c[0], kPhilox0), p1 = multiply(c[2], kPhilox1);
        const uint32_t c0 = static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0;
        const uint32_t c2 = static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1;
        c[0] = c0, c[1] = static_cast<uint32_t>(p1), c[2] = c2, c[3] = static_cast<uint32_t>(p0);
        k0 += kWeyl0, k1 += kWeyl1;
    }
}

}  // namespace silmm
