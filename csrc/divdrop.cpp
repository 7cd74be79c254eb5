#include "divdrop.h"

#include <algorithm>

#include "halves.h"
#include "philox_lanes.h"
#include "sigmoid.h"

namespace silmm {
namespace {

constexpr int64_t kChunk = 1024;  // elements of a row at a time, so that what lies between the loops stays in L1

struct Place {  // in a tensor of rows: prompt, sample, position, and the chunk's first element and length
    int64_t p, n, t, first, count;
};

template <class T>
SILMM_INLINE const T* row(const void* tensor, const Strides& apart, const Place& at) {
    return static_cast<const T*>(tensor) + at.p * apart.prompt + at.n * apart.sample + at.t * apart.position +
           at.first;
}

// A row of a contiguous [P, samples, T, F].
template <class T>
SILMM_INLINE T* row(void* tensor, const DivDrop& d, int64_t samples, const Place& at) {
    return static_cast<T*>(tensor) + ((at.p * samples + at.n) * d.positions + at.t) * d.width + at.first;
}

template <class T>
SILMM_INLINE void values_of(const DivDrop& d, const Place& at, float* __restrict values) {
    const T* __restrict x = row<T>(d.x, d.x_strides, at);
    if (!d.up) {
        for (int64_t i = 0; i < at.count; ++i) values[i] = widen(x[i]);
        return;
    }
    const T* __restrict up = row<T>(d.up, d.up_strides, at);
    for (int64_t i = 0; i < at.count; ++i) {
        const float gate = widen(x[i]);
        values[i] = gate * sigmoid(gate) * widen(up[i]);
    }
}

// Products, not a choice of values: 0 * nan stays nan.
template <PhiloxLanes lanes_of>
SILMM_INLINE void factors_of(const DivDrop& d, const Place& at, float* __restrict factors) {
    if (!d.threshold || (d.masked && !d.masked[at.p * d.masked_stride + at.t])) {
        std::fill(factors, factors + at.count, 1.0f);
        return;
    }
    alignas(64) uint16_t lanes[kChunk];
    const MaskRow names{static_cast<uint64_t>(d.keys[at.p]),
                        static_cast<uint32_t>(d.position_of[at.p * d.position_stride + at.t]),
                        static_cast<uint32_t>(d.sample_of[at.p * d.sample_stride + at.n]), d.slot};
    lanes_of(names, at.first / kGroup, (at.count + kGroup - 1) / kGroup, lanes);
    const int32_t threshold = static_cast<int32_t>(d.threshold);
    const float scale = d.scale;
    for (int64_t i = 0; i < at.count; ++i) factors[i] = static_cast<int32_t>(lanes[i]) >= threshold ? scale : 0.0f;
}

template <class T, PhiloxLanes lanes_of>
SILMM_INLINE void forward(const DivDrop& d) {
    alignas(64) float values[kChunk], factors[kChunk];
    for (Place at{}; at.p < d.prompts; ++at.p) {
        for (at.t = 0; at.t < d.positions; ++at.t) {
            for (at.first = 0; at.first < d.width; at.first += kChunk) {
                at.count = std::min(kChunk, d.width - at.first);
                for (at.n = 0; at.n < d.samples; ++at.n) {
                    if (!d.shared || !at.n) values_of<T>(d, at, values);
                    factors_of<lanes_of>(d, at, factors);
                    T* __restrict out = row<T>(d.out, d, d.samples, at);
                    for (int64_t i = 0; i < at.count; ++i) out[i] = narrow<T>(values[i] * factors[i]);
                }
            }
        }
    }
}

// Gradients of x and up, from that of the values.
template <class T>
SILMM_INLINE void finish(const DivDrop& d, const Place& at, const float* __restrict sums) {
    const int64_t samples = d.shared ? 1 : d.samples;
    T* __restrict out = row<T>(d.out, d, samples, at);
    if (!d.up) {
        for (int64_t i = 0; i < at.count; ++i) out[i] = narrow<T>(sums[i]);
        return;
    }
    T* __restrict out_up = row<T>(d.out_up, d, samples, at);
    const T* __restrict x = row<T>(d.x, d.x_strides, at);
    const T* __restrict up = row<T>(d.up, d.up_strides, at);
    for (int64_t i = 0; i < at.count; ++i) {
        const float gate = widen(x[i]), s = sigmoid(gate);
        out[i] = narrow<T>(sums[i] * widen(up[i]) * (s * (1.0f + gate * (1.0f - s))));
        out_up[i] = narrow<T>(sums[i] * (gate * s));
    }
}

template <class T, PhiloxLanes lanes_of>
SILMM_INLINE void backward(const DivDrop& d) {
    alignas(64) float sums[kChunk], factors[kChunk];
    for (Place at{}; at.p < d.prompts; ++at.p) {
        for (at.t = 0; at.t < d.positions; ++at.t) {
            for (at.first = 0; at.first < d.width; at.first += kChunk) {
                at.count = std::min(kChunk, d.width - at.first);
                std::fill(sums, sums + at.count, 0.0f);
                for (at.n = 0; at.n < d.samples; ++at.n) {
                    factors_of<lanes_of>(d, at, factors);
                    const T* __restrict grad = row<T>(d.grad, d.grad_strides, at);
                    for (int64_t i = 0; i < at.count; ++i) sums[i] += widen(grad[i]) * factors[i];
                    if (d.shared) continue;
                    finish<T>(d, at, sums);
                    std::fill(sums, sums + at.count, 0.0f);
                }
                at.n = 0;
                if (d.shared) finish<T>(d, at, sums);
            }
        }
    }
}

template <bool kForward, PhiloxLanes lanes_of>
SILMM_INLINE void run(const DivDrop& d) {
    switch (d.dtype) {
        case Dtype::f32: return kForward ? forward<float, lanes_of>(d) : backward<float, lanes_of>(d);
        case Dtype::bf16: return kForward ? forward<Bf16, lanes_of>(d) : backward<Bf16, lanes_of>(d);
        case Dtype::f16: return kForward ? forward<F16, lanes_of>(d) : backward<F16, lanes_of>(d);
    }
}

#ifdef SILMM_X86
template <bool kForward>
SILMM_AVX2 void run_avx2(const DivDrop& d) { run<kForward, philox_lanes_avx2>(d); }
template <bool kForward>
SILMM_AVX512 void run_avx512(const DivDrop& d) { run<kForward, philox_lanes_avx512>(d); }
#endif

template <bool kForward>
void run_at(const DivDrop& d, int wanted) {
#ifdef SILMM_X86
    const Isa level = isa(wanted);
    if (level == Isa::avx512) return run_avx512<kForward>(d);
    if (level == Isa::avx2) return run_avx2<kForward>(d);
#endif
    static_cast<void>(wanted);
    run<kForward, philox_lanes_base>(d);
}

}  // namespace

void divdrop_fwd(const DivDrop& call, int isa) { run_at<true>(call, isa); }

void divdrop_bwd(const DivDrop& call, int isa) { run_at<false>(call, isa); }

}  // namespace silmm
