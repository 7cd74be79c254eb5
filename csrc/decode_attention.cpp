#include "decode_attention.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "exp.h"
#include "isa.h"

namespace silmm {
namespace {

constexpr int64_t kLanes = 16;
constexpr int kRows = 4;

SILMM_INLINE void rotate(const float* x, const float* cos, const float* sin, int64_t dim, float scale,
                         float* __restrict out) {
    const int64_t half = dim / 2;
    for (int64_t d = 0; d < half; ++d) {
        out[d] = (x[d] * cos[d] - x[d + half] * sin[d]) * scale;
        out[d + half] = (x[d + half] * cos[d + half] + x[d] * sin[d + half]) * scale;
    }
}

template <int R>
struct Rows {  // R rows at once, so that their sums, each a chain of additions, overlap
    const float *x[R], *m[R];
    float* out[R];
};

// out[r][c] (+)= sum over i of x[r][i] * m[r][i * stride + c], for W neighbouring c, in the order of i.
template <int R, int W>
SILMM_INLINE void combine_block(const Rows<R>& rows, int64_t c, int64_t count, int64_t stride, bool add) {
    typedef float Vector __attribute__((vector_size(W * sizeof(float))));
    Vector sum[R] = {}, m;
    for (int r = 0; add && r < R; ++r) std::memcpy(&sum[r], rows.out[r] + c, sizeof m);
    for (int64_t i = 0; i < count; ++i) {
        for (int r = 0; r < R; ++r) {
            std::memcpy(&m, rows.m[r] + i * stride + c, sizeof m);
            sum[r] += rows.x[r][i] * m;
        }
    }
    for (int r = 0; r < R; ++r) std::memcpy(rows.out[r] + c, &sum[r], sizeof m);
}

// The same for n neighbouring c: scores (x queries, m keys) and context (x weights, m values) alike. A result does not
// depend on the width of its block.
template <int R>
SILMM_INLINE void combine(const Rows<R>& rows, int64_t count, int64_t stride, int64_t n, bool add) {
    int64_t c = 0;
    for (; c + 16 <= n; c += 16) combine_block<R, 16>(rows, c, count, stride, add);
    for (; c + 8 <= n; c += 8) combine_block<R, 8>(rows, c, count, stride, add);
    for (; c < n; ++c) combine_block<R, 1>(rows, c, count, stride, add);
}

// Softmax numerators in place, `padded` long (a multiple of the lanes; from n on they become 0); returns their sum.
SILMM_INLINE float numerators(float* scores, int64_t n, int64_t padded) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    std::fill(scores + n, scores + padded, -inf);
    float top[kLanes], sum[kLanes] = {};
    std::fill(top, top + kLanes, -inf);
    for (int64_t j = 0; j < padded; j += kLanes) {
        for (int64_t l = 0; l < kLanes; ++l) top[l] = scores[j + l] > top[l] ? scores[j + l] : top[l];
    }
    const float highest = *std::max_element(top, top + kLanes);
    for (int64_t j = 0; j < padded; j += kLanes) {
        for (int64_t l = 0; l < kLanes; ++l) {
            const float weight = exp_of(scores[j + l] - highest);
            scores[j + l] = scores[j + l] == -inf ? 0.0f : weight;
            sum[l] += scores[j + l];
        }
    }
    for (int64_t width = kLanes / 2; width; width /= 2) {
        for (int64_t l = 0; l < width; ++l) sum[l] += sum[l + width];
    }
    return sum[0];
}

SILMM_INLINE int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// One head of R samples of a prompt, from sample `first` on.
template <int R>
SILMM_INLINE void some_rows(const DecodeAttention& s, int64_t prompt, int64_t first, int64_t head, float* scratch) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    const int64_t own = s.place + 1, n = s.start + own, padded = round_up(s.start + s.length, kLanes);
    const int64_t shared = (prompt * s.heads + head) * s.dim * s.start;
    Rows<R> prefix_scores, own_scores, prefix_context, own_context;
    for (int r = 0; r < R; ++r) {
        const int64_t row = (prompt * s.samples + first + r) * s.heads + head;
        float *q = scratch + r * (s.dim + padded), *scores = q + s.dim, *out = s.out + row * s.dim;
        float *keys = s.keys + row * s.dim * s.length, *values = s.values + row * s.dim * s.length;
        rotate(s.k + row * s.dim, s.cos, s.sin, s.dim, 1.0f, q);
        for (int64_t d = 0; d < s.dim; ++d) keys[d * s.length + s.place] = q[d];
        std::copy_n(s.v + row * s.dim, s.dim, values + s.place * s.dim);
        rotate(s.q + row * s.dim, s.cos, s.sin, s.dim, s.scale, q);
        prefix_scores.x[r] = own_scores.x[r] = q;
        prefix_scores.m[r] = s.prefix_keys + shared;
        own_scores.m[r] = keys;
        prefix_scores.out[r] = scores;
        own_scores.out[r] = scores + s.start;
        prefix_context.x[r] = scores;
        own_context.x[r] = scores + s.start;
        prefix_context.m[r] = s.prefix_values + shared;
        own_context.m[r] = values;
        prefix_context.out[r] = own_context.out[r] = out;
    }
    combine(prefix_scores, s.dim, s.start, s.start, false);
    combine(own_scores, s.dim, s.length, std::min(round_up(own, 8), s.length), false);
    float total[R];
    for (int r = 0; r < R; ++r) {
        float* scores = prefix_scores.out[r];
        const uint8_t* seen = s.seen + prompt * s.start;
        for (int64_t j = 0; j < s.start; ++j) scores[j] = seen[j] ? scores[j] : -inf;
        total[r] = numerators(scores, n, round_up(n, kLanes));
    }
    combine(prefix_context, s.start, s.dim, s.dim, false);
    combine(own_context, own, s.dim, s.dim, true);
    for (int r = 0; r < R; ++r) {
        for (int64_t d = 0; d < s.dim; ++d) own_context.out[r][d] /= total[r];
    }
}

SILMM_INLINE void all_rows(const DecodeAttention& s) {
    std::vector<float> scratch(static_cast<size_t>(kRows * (s.dim + round_up(s.start + s.length, kLanes))));
    for (int64_t prompt = 0; prompt < s.prompts; ++prompt) {
        for (int64_t head = 0; head < s.heads; ++head) {
            int64_t i = 0;
            for (; i + kRows <= s.samples; i += kRows) some_rows<kRows>(s, prompt, i, head, scratch.data());
            for (; i < s.samples; ++i) some_rows<1>(s, prompt, i, head, scratch.data());
        }
    }
}

#ifdef SILMM_X86
SILMM_AVX2 void all_rows_avx2(const DecodeAttention& step) { all_rows(step); }
SILMM_AVX512 void all_rows_avx512(const DecodeAttention& step) { all_rows(step); }
#endif

}  // namespace

void decode_attention(const DecodeAttention& step, int wanted) {
#ifdef SILMM_X86
    const Isa level = isa(wanted);
    if (level == Isa::avx512) return all_rows_avx512(step);
    if (level == Isa::avx2) return all_rows_avx2(step);
#endif
    static_cast<void>(wanted);
    all_rows(step);
}

}  // namespace silmm
