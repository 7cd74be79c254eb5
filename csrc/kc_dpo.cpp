#include "kc_dpo.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "halves.h"
#include "isa.h"
#include "kc_dpo_pair.h"

namespace silmm {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kBlock = 1024;  // columns that are summed in float32, before float64 takes over
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));


// out = the mean of x's rows. Eight rows are summed as a tree, which is faster and rounds less than one by one.
template <class T>
SILMM_INLINE void mean_rows(const T* x, int64_t rows, int64_t width, float* __restrict out) {
    std::fill_n(out, width, 0.0f);
    int64_t r = 0;
    for (; r + 8 <= rows; r += 8) {
        const T* at = x + r * width;
        for (int64_t d = 0; d < width; ++d) {
            const auto row = [&](int64_t i) { return widen(at[i * width + d]); };
            out[d] += ((row(0) + row(1)) + (row(2) + row(3))) + ((row(4) + row(5)) + (row(6) + row(7)));
        }
    }
    for (; r < rows; ++r) {
        for (int64_t d = 0; d < width; ++d) out[d] += widen(x[r * width + d]);
    }
    for (int64_t d = 0; d < width; ++d) out[d] /= static_cast<float>(rows);
}

// The pair's vector of one side: as it is, or pooled, or as blocks that are widened when they are asked for.
struct Side {
    const void* at;
    Dtype dtype;
    float* scratch;  // [kBlock]

    template <class T>
    SILMM_INLINE const float* widened(int64_t start, int64_t n) const {
        for (int64_t i = 0; i < n; ++i) scratch[i] = widen(static_cast<const T*>(at)[start + i]);
        return scratch;
    }

    SILMM_INLINE const float* block(int64_t start, int64_t n) const {
        if (dtype == Dtype::bf16) return widened<Bf16>(start, n);
        if (dtype == Dtype::f16) return widened<F16>(start, n);
        return static_cast<const float*>(at) + start;
    }
};

template <class T>
SILMM_INLINE Side side_of(const T* feats, Dtype dtype, int64_t rows, int64_t width, float* pooled, float* scratch) {
    if (rows == 1) return {feats, dtype, scratch};
    mean_rows(feats, rows, width, pooled);
    return {pooled, Dtype::f32, scratch};
}

// Side s of a pair; pooled: [kSides, width], scratch: [kSides, kBlock].
SILMM_INLINE Side side_of(const KcDpo& c, int64_t pair, int s, float* pooled, float* scratch) {
    const int64_t rows = c.rows[s], first = pair * rows * c.width;
    const Dtype dtype = c.dtypes[s];
    pooled += s * c.width;
    scratch += s * kBlock;
    if (dtype == Dtype::bf16) {
        return side_of(static_cast<const Bf16*>(c.feats[s]) + first, dtype, rows, c.width, pooled, scratch);
    }
    if (dtype == Dtype::f16) {
        return side_of(static_cast<const F16*>(c.feats[s]) + first, dtype, rows, c.width, pooled, scratch);
    }
    return side_of(static_cast<const float*>(c.feats[s]) + first, dtype, rows, c.width, pooled, scratch);
}

// Adds 16 columns of H, Hr, Hw, Hl to the sums.
template <bool kCosine>
SILMM_INLINE void add_columns(const float* const (&x)[kSides], int64_t i, Vector (&sum)[kSums]) {
    Vector h, r, w, l;
    std::memcpy(&h, x[0] + i, sizeof h);
    std::memcpy(&r, x[1] + i, sizeof r);
    std::memcpy(&w, x[2] + i, sizeof w);
    std::memcpy(&l, x[3] + i, sizeof l);
    const Vector a[kDistances] = {h, h, r, r, h}, b[kDistances] = {w, l, w, l, r};
    for (int k = 0; k < kDistances; ++k) {
        const Vector difference = a[k] - b[k];
        sum[k] += difference * difference;
        if (kCosine) sum[kDistances + k] += difference * (a[k] + b[k]);
    }
    if (kCosine) {
        sum[2 * kDistances] += h * h;
        sum[2 * kDistances + 1] += r * r;
        sum[2 * kDistances + 2] += w * w;
        sum[2 * kDistances + 3] += l * l;
    }
}

template <bool kCosine>
SILMM_INLINE void block_sums(const float* const (&x)[kSides], int64_t n, double (&total)[kSums][kLanes]) {
    Vector sum[kSums] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        for (int s = 0; s < kSides; ++s) __builtin_prefetch(x[s] + i + kBlock);  // worth a tenth; never faults
        add_columns<kCosine>(x, i, sum);
    }
    if (i < n) {  // zeros add nothing
        float rest[kSides][kLanes] = {};
        for (int s = 0; s < kSides; ++s) std::copy_n(x[s] + i, n - i, rest[s]);
        add_columns<kCosine>({rest[0], rest[1], rest[2], rest[3]}, 0, sum);
    }
    for (int k = 0; k < (kCosine ? kSums : kDistances); ++k) {
        for (int64_t lane = 0; lane < kLanes; ++lane) total[k][lane] += static_cast<double>(sum[k][lane]);
    }
}

template <bool kCosine>
SILMM_INLINE Sums pair_sums(const Side (&sides)[kSides], int64_t width) {
    double total[kSums][kLanes] = {};
    for (int64_t start = 0; start < width; start += kBlock) {
        const int64_t n = std::min(kBlock, width - start);
        block_sums<kCosine>({sides[0].block(start, n), sides[1].block(start, n), sides[2].block(start, n),
                             sides[3].block(start, n)}, n, total);
    }
    Sums sums;
    for (int k = 0; k < kSums; ++k) {
        for (int64_t half = kLanes / 2; half; half /= 2) {
            for (int64_t lane = 0; lane < half; ++lane) total[k][lane] += total[k][lane + half];
        }
        sums.at[k] = total[k][0];
    }
    return sums;
}

template <class T>
SILMM_INLINE void pair_gradient(const Side (&sides)[kSides], int64_t width, const PairLoss& pair, T* out) {
    for (int64_t start = 0; start < width; start += kBlock) {
        const int64_t n = std::min(kBlock, width - start);
        const float* h = sides[0].block(start, n);
        const float *w = sides[2].block(start, n), *l = sides[3].block(start, n);
        T* __restrict to = out + start;
        for (int64_t i = 0; i < n; ++i) {
            to[i] = narrow<T>(pair.own * h[i] + (pair.from_chosen * (h[i] - w[i]) + pair.from_rejected * (h[i] - l[i])));
        }
    }
}

SILMM_INLINE void pair_gradient(const KcDpo& c, int64_t pair, const Side (&sides)[kSides], const PairLoss& loss) {
    const int64_t first = pair * c.width;
    if (c.dtypes[0] == Dtype::bf16) {
        pair_gradient(sides, c.width, loss, static_cast<Bf16*>(c.grad) + first);
    } else if (c.dtypes[0] == Dtype::f16) {
        pair_gradient(sides, c.width, loss, static_cast<F16*>(c.grad) + first);
    } else {
        pair_gradient(sides, c.width, loss, static_cast<float*>(c.grad) + first);
    }
}

SILMM_INLINE void all_pairs(const KcDpo& c) {
    const bool pooled = *std::max_element(c.rows, c.rows + kSides) > 1;
    std::vector<float> means(pooled ? static_cast<size_t>(kSides * c.width) : 0);
    alignas(64) float scratch[kSides * kBlock];
    const auto pairs = static_cast<double>(c.pairs), rows = static_cast<double>(c.rows[0]);
    double sum = 0.0;
    for (int64_t pair = 0; pair < c.pairs; ++pair) {
        Side sides[kSides];
        for (int s = 0; s < kSides; ++s) sides[s] = side_of(c, pair, s, means.data(), scratch);
        const bool cosine = c.objective.distance == Distance::cosine;
        const Sums sums = cosine ? pair_sums<true>(sides, c.width) : pair_sums<false>(sides, c.width);
        Slope slopes[kDistances];
        for (int k = 0; k < kDistances; ++k) slopes[k] = slope(c.objective.distance, sums, k);
        const PairLoss loss = pair_loss(c.objective, slopes, pairs, rows);
        for (int k = 0; k < kDistances; ++k) c.distances[k * c.pairs + pair] = loss.distances[k];
        sum += loss.loss;
        if (c.grad) pair_gradient(c, pair, sides, loss);
    }
    *c.loss = static_cast<float>(sum / pairs);
}

#ifdef SILMM_X86
SILMM_AVX2 void all_pairs_avx2(const KcDpo& call) { all_pairs(call); }
SILMM_AVX512 void all_pairs_avx512(const KcDpo& call) { all_pairs(call); }
#endif

}  // namespace

void kc_dpo(const KcDpo& call, int wanted) {
#ifdef SILMM_X86
    const Isa level = isa(wanted);
    if (level == Isa::avx512) return all_pairs_avx512(call);
    if (level == Isa::avx2) return all_pairs_avx2(call);
#endif
    static_cast<void>(wanted);
    all_pairs(call);
}

}  // namespace silmm
