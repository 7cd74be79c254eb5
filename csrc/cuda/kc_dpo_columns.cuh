#pragma once

// Eight neighbouring numbers at a time, as float32, and sums over a block of threads. Fixed orders; fused
// multiply-adds are written out, alike for every distance, so that equal features have equal sums.

#include <cstdint>

#include "../halves.h"
#include "../kc_dpo_pair.h"

namespace silmm {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kPack = 8;

// out = x[0 .. 8); kVector: x is aligned to 16 bytes and all eight are there. Else only `left` are, and the rest is 0.
template <bool kVector, class T>
__device__ __forceinline__ void load(const T* x, int64_t left, float (&out)[kPack]) {
    if constexpr (!kVector) {
#pragma unroll
        for (int i = 0; i < kPack; ++i) out[i] = i < left ? widen(x[i]) : 0.0f;
    } else if constexpr (sizeof(T) == sizeof(float)) {
        const float4 a = reinterpret_cast<const float4*>(x)[0], b = reinterpret_cast<const float4*>(x)[1];
        out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
        out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
    } else {
        const uint4 q = *reinterpret_cast<const uint4*>(x);
        const uint32_t words[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            out[2 * i] = widen(T{static_cast<uint16_t>(words[i] & 0xFFFFu)});
            out[2 * i + 1] = widen(T{static_cast<uint16_t>(words[i] >> 16)});
        }
    }
}

template <bool kVector, class T>
__device__ __forceinline__ void store(T* x, int64_t left, const float (&in)[kPack]) {
    if constexpr (!kVector) {
#pragma unroll
        for (int i = 0; i < kPack; ++i) {
            if (i < left) x[i] = narrow<T>(in[i]);
        }
    } else if constexpr (sizeof(T) == sizeof(float)) {
        reinterpret_cast<float4*>(x)[0] = make_float4(in[0], in[1], in[2], in[3]);
        reinterpret_cast<float4*>(x)[1] = make_float4(in[4], in[5], in[6], in[7]);
    } else {
        uint32_t words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            words[i] = narrow<T>(in[2 * i]).bits | static_cast<uint32_t>(narrow<T>(in[2 * i + 1]).bits) << 16;
        }
        *reinterpret_cast<uint4*>(x) = make_uint4(words[0], words[1], words[2], words[3]);
    }
}

// Adds one column of H, Hr, Hw, Hl to the sums.
__device__ __forceinline__ void add_column(float h, float r, float w, float l, float (&sum)[kSums]) {
    const float a[kDistances] = {h, h, r, r, h}, b[kDistances] = {w, l, w, l, r}, side[kSides] = {h, r, w, l};
#pragma unroll
    for (int k = 0; k < kDistances; ++k) {
        const float difference = a[k] - b[k];
        sum[k] = fmaf(difference, difference, sum[k]);
        sum[kDistances + k] = fmaf(difference, a[k] + b[k], sum[kDistances + k]);
    }
#pragma unroll
    for (int s = 0; s < kSides; ++s) sum[2 * kDistances + s] = fmaf(side[s], side[s], sum[2 * kDistances + s]);
}

// out[kSums] = the sums over the threads of the block; `shared` is free again when all have left.
__device__ __forceinline__ void block_sums(float (&sum)[kSums], float (&shared)[kWarps][kSums], float* out) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int k = 0; k < kSums; ++k) {
#pragma unroll
        for (int step = 16; step; step /= 2) sum[k] += __shfl_down_sync(0xFFFFFFFFu, sum[k], step);
        if (lane == 0) shared[warp][k] = sum[k];
    }
    __syncthreads();
    if (threadIdx.x < kSums) {
        float total = 0.0f;
        for (int i = 0; i < kWarps; ++i) total += shared[i][threadIdx.x];
        out[threadIdx.x] = total;
        __threadfence();  // other blocks read it
    }
    __syncthreads();
}

}  // namespace silmm
