#pragma once

#include <cstdint>

#include "isa.h"
#include "philox.h"

#ifdef SILMM_X86
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12 warns of its own header (gcc bug 105593)
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace silmm {

// What names the masks of a row; see src/silmm/kernels/divdrop.py.
struct MaskRow {
    uint64_t key;
    uint32_t position, sample, slot;
};

constexpr int64_t kGroup = 8;       // lanes of one Philox call
constexpr int64_t kGroupsOnce = 8;  // groups are made in such packs: `lanes` below has room for whole ones

// lanes[8 i + j] = sixteen-bit number j of group first + i of the row, for i in [0, groups).
typedef void PhiloxLanes(const MaskRow& row, int64_t first, int64_t groups, uint16_t* lanes);

inline void philox_lanes_base(const MaskRow& row, int64_t first, int64_t groups, uint16_t* lanes) {
    const uint32_t k0 = static_cast<uint32_t>(row.key), k1 = static_cast<uint32_t>(row.key >> 32);
    for (int64_t i = 0; i < groups; ++i) {
        uint32_t c[4] = {static_cast<uint32_t>(first + i), row.position, row.sample, row.slot};
        philox(c, k0, k1);
        for (int w = 0; w < 4; ++w) {
            lanes[kGroup * i + 2 * w] = static_cast<uint16_t>(c[w]);
            lanes[kGroup * i + 2 * w + 1] = static_cast<uint16_t>(c[w] >> 16);
        }
    }
}

#ifdef SILMM_X86

// Words ride in the low halves of 64-bit elements, where the one vector multiplication of 32 by 32 to 64 bits wants
// them; what is left in the high halves is never read. Groups are dealt out so that unpacking puts them in order.

SILMM_AVX2 inline void philox_lanes_avx2(const MaskRow& row, int64_t first, int64_t groups, uint16_t* lanes) {
    const __m256i m0 = _mm256_set1_epi64x(kPhilox0), m1 = _mm256_set1_epi64x(kPhilox1);
    __m256i k0[kPhiloxRounds], k1[kPhiloxRounds];
    uint32_t low = static_cast<uint32_t>(row.key), high = static_cast<uint32_t>(row.key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round, low += kWeyl0, high += kWeyl1) {
        k0[round] = _mm256_set1_epi64x(low), k1[round] = _mm256_set1_epi64x(high);
    }
    const __m256i order = _mm256_setr_epi64x(0, 2, 1, 3);
    for (int64_t i = 0; i < groups; i += 4) {
        __m256i c0 = _mm256_add_epi64(_mm256_set1_epi64x(first + i), order);
        __m256i c1 = _mm256_set1_epi64x(row.position), c2 = _mm256_set1_epi64x(row.sample);
        __m256i c3 = _mm256_set1_epi64x(row.slot);
#pragma GCC unroll 10
        for (int round = 0; round < kPhiloxRounds; ++round) {
            const __m256i p0 = _mm256_mul_epu32(c0, m0), p1 = _mm256_mul_epu32(c2, m1);
            c0 = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), _mm256_xor_si256(c1, k0[round]));
            c2 = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), _mm256_xor_si256(c3, k1[round]));
            c1 = p1, c3 = p0;
        }
        const __m256i a = _mm256_blend_epi32(c0, _mm256_slli_epi64(c1, 32), 0xAA);
        const __m256i b = _mm256_blend_epi32(c2, _mm256_slli_epi64(c3, 32), 0xAA);
        __m256i* to = reinterpret_cast<__m256i*>(lanes + kGroup * i);
        _mm256_storeu_si256(to, _mm256_unpacklo_epi64(a, b));
        _mm256_storeu_si256(to + 1, _mm256_unpackhi_epi64(a, b));
    }
}

SILMM_AVX512 inline void philox_lanes_avx512(const MaskRow& row, int64_t first, int64_t groups, uint16_t* lanes) {
    const __m512i m0 = _mm512_set1_epi64(kPhilox0), m1 = _mm512_set1_epi64(kPhilox1);
    __m512i k0[kPhiloxRounds], k1[kPhiloxRounds];
    uint32_t low = static_cast<uint32_t>(row.key), high = static_cast<uint32_t>(row.key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round, low += kWeyl0, high += kWeyl1) {
        k0[round] = _mm512_set1_epi64(low), k1[round] = _mm512_set1_epi64(high);
    }
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    for (int64_t i = 0; i < groups; i += 8) {
        __m512i c0 = _mm512_add_epi64(_mm512_set1_epi64(first + i), order);
        __m512i c1 = _mm512_set1_epi64(row.position), c2 = _mm512_set1_epi64(row.sample);
        __m512i c3 = _mm512_set1_epi64(row.slot);
#pragma GCC unroll 10
        for (int round = 0; round < kPhiloxRounds; ++round) {
            const __m512i p0 = _mm512_mul_epu32(c0, m0), p1 = _mm512_mul_epu32(c2, m1);
            c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1, k0[round], 0x96);  // xor of three
            c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3, k1[round], 0x96);
            c1 = p1, c3 = p0;
        }
        const __m512i a = _mm512_mask_shuffle_epi32(c0, 0xAAAA, c1, _MM_PERM_CCAA);  // odd words: the low half of c1
        const __m512i b = _mm512_mask_shuffle_epi32(c2, 0xAAAA, c3, _MM_PERM_CCAA);
        _mm512_storeu_si512(lanes + kGroup * i, _mm512_unpacklo_epi64(a, b));
        _mm512_storeu_si512(lanes + kGroup * i + 32, _mm512_unpackhi_epi64(a, b));
    }
}

#endif

}  // namespace silmm
