#include "selective_logps.h"

#include <algorithm>
#include <type_traits>

#include "exp.h"
#include "halves.h"
#include "isa.h"

namespace silmm {
namespace {

constexpr int64_t kLanes = 16, kBlock = 1024;  // lanes of a sum in float32, elements until they go on in float64
constexpr float kInf = std::numeric_limits<float>::infinity();

// exp(x) for x up to about 0; exactly 0 where x is too low, which a mask of -inf relies on.
SILMM_INLINE float weight(float x) {
    const float e = exp_of(x);
    return x < kExpLowest ? 0.0f : e;
}

// The maximum, NaN left aside.
template <class T>
SILMM_INLINE float highest(const T* x, int64_t n) {
    constexpr int64_t wide = 4 * kLanes;  // comparisons in a chain would wait for each other
    float top[wide];
    std::fill(top, top + wide, -kInf);
    int64_t j = 0;
    for (; j + wide <= n; j += wide) {
        for (int64_t l = 0; l < wide; ++l) top[l] = widen(x[j + l]) > top[l] ? widen(x[j + l]) : top[l];
    }
    for (; j < n; ++j) top[0] = widen(x[j]) > top[0] ? widen(x[j]) : top[0];
    return *std::max_element(top, top + wide);
}

// Writes the weights of n <= kBlock numbers; loops that do one thing vectorise best.
template <class T>
SILMM_INLINE void weights(const T* x, int64_t n, float top, float* e) {
    for (int64_t j = 0; j < n; ++j) e[j] = weight(widen(x[j]) - top);
}

// The sum of weights. In float32 they can be `kept` in place of x.
template <class T>
SILMM_INLINE double sum_of_weights(T* x, int64_t n, float top, bool kept) {
    double total[kLanes] = {};
    float room[kBlock];
    for (int64_t start = 0; start < n; start += kBlock) {
        const int64_t count = std::min(kBlock, n - start);
        float* e = room;
        if constexpr (std::is_same_v<T, float>) e = kept ? x + start : room;
        weights(x + start, count, top, e);
        float sum[kLanes] = {};
        int64_t j = 0;
        for (; j + kLanes <= count; j += kLanes) {
            for (int64_t l = 0; l < kLanes; ++l) sum[l] += e[j + l];
        }
        for (int64_t l = 0; j + l < count; ++l) sum[l] += e[j + l];
        for (int64_t l = 0; l < kLanes; ++l) total[l] += sum[l];
    }
    for (int64_t width = kLanes / 2; width; width /= 2) {
        for (int64_t l = 0; l < width; ++l) total[l] += total[l + width];
    }
    return total[0];
}

template <class T>
SILMM_INLINE void fwd_row(T* x, int64_t n, int64_t id, LogpsRow& row, bool write) {
    constexpr bool keeps = std::is_same_v<T, float>;
    const bool here = id >= 0 && id < n;
    const T picked = here ? x[id] : T{};
    if (here) {
        row.picked = widen(picked);
        x[id] = narrow<T>(-kInf);  // the sums are over the others
    }
    const float highest_here = highest(x, n), top = highest_here == -kInf ? 0.0f : highest_here;
    merge(row, highest_here, sum_of_weights(x, n, top, write));
    const float whole = row.top == -kInf ? 0.0f : row.top, inverse = row.rest == 0.0f ? 0.0f : 1.0f / row.rest;
    if (write && keeps) {
        const float factor = weight(top - whole) * inverse;
        for (int64_t j = 0; j < n; ++j) x[j] = narrow<T>(widen(x[j]) * factor);
    } else if (write) {
        for (int64_t j = 0; j < n; ++j) x[j] = narrow<T>(weight(widen(x[j]) - whole) * inverse);
    }
    if (here) x[id] = write ? narrow<T>(0.0f) : picked;
}

template <class T>
SILMM_INLINE void bwd_row(T* x, int64_t n, int64_t id, const LogpsRow& row) {
    const float top = row.top == -kInf ? 0.0f : row.top, inverse = row.rest == 0.0f ? 0.0f : 1.0f / row.rest;
    for (int64_t j = 0; j < n; ++j) x[j] = narrow<T>(weight(widen(x[j]) - top) * inverse);
    if (id >= 0 && id < n) x[id] = narrow<T>(-1.0f);
}

enum class Pass { measure, weigh, again };  // fwd without and with weights, bwd

template <class T>
SILMM_INLINE void rows_of(const LogpsTile& t, Pass pass) {
    for (int64_t r = 0; r < t.rows; ++r) {
        T* x = static_cast<T*>(t.logits) + r * t.stride;
        const int64_t id = t.ids[r] - t.first;
        if (pass == Pass::again) {
            bwd_row(x, t.cols, id, t.stats[r]);
        } else {
            fwd_row(x, t.cols, id, t.stats[r], pass == Pass::weigh);
        }
    }
}

SILMM_INLINE void all_rows(const LogpsTile& t, Pass pass) {
    if (t.dtype == Dtype::f32) return rows_of<float>(t, pass);
    if (t.dtype == Dtype::bf16) return rows_of<Bf16>(t, pass);
    rows_of<F16>(t, pass);
}

#ifdef SILMM_X86
SILMM_AVX2 void all_rows_avx2(const LogpsTile& t, Pass pass) { all_rows(t, pass); }
SILMM_AVX512 void all_rows_avx512(const LogpsTile& t, Pass pass) { all_rows(t, pass); }
#endif

void run(const LogpsTile& tile, Pass pass, int wanted) {
#ifdef SILMM_X86
    const Isa level = isa(wanted);
    if (level == Isa::avx512) return all_rows_avx512(tile, pass);
    if (level == Isa::avx2) return all_rows_avx2(tile, pass);
#endif
    static_cast<void>(wanted);
    all_rows(tile, pass);
}

}  // namespace

void selective_logps_fwd(const LogpsTile& tile, bool write, int isa) { run(tile, write ? Pass::weigh : Pass::measure, isa); }

void selective_logps_bwd(const LogpsTile& tile, int isa) { run(tile, Pass::again, isa); }

}  // namespace silmm
