// Nucleus sampling without a sort. The weights are integers, so sums are exact in any order: a radix select over the
// masses of weight classes finds the same token as a full sort and a running sum.

#include "nucleus.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace silmm {
namespace {

// The same constants as in nucleus.py. Built with -ffp-contract=off: a fused multiply-add would round differently.
constexpr int kBits = 40;
constexpr double kLowest = -40.0;
constexpr double kLog2e = 1.4426950408889634;
constexpr double kLn2Hi = 6.93147180369123816490e-01;
constexpr double kLn2Lo = 1.90821492927058770002e-10;
constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer, ties to even
constexpr double kInverseFactorials[13] = {1.0,           1.0,           1.0 / 2,       1.0 / 6,        1.0 / 24,
                                           1.0 / 120,     1.0 / 720,     1.0 / 5040,    1.0 / 40320,    1.0 / 362880,
                                           1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600};
constexpr int kLanes = 16;
constexpr int64_t kSmall = 32;  // candidates from here on are sorted

inline uint64_t bits(double x) {
    uint64_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}

inline double from_bits(uint64_t u) {
    double x;
    std::memcpy(&x, &u, sizeof x);
    return x;
}

// Largest logit, or NaN when the row cannot be sampled from. Fixed lanes let the compiler use vector maxima.
double row_max(const float* logits, int64_t n) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    float lane[kLanes];
    int bad[kLanes] = {};
    std::fill(lane, lane + kLanes, -inf);
    int64_t v = 0;
    for (; v + kLanes <= n; v += kLanes) {
        for (int j = 0; j < kLanes; ++j) {
            const float x = logits[v + j];
            lane[j] = x > lane[j] ? x : lane[j];
            bad[j] |= !(x < inf);  // NaN or +inf
        }
    }
    for (; v < n; ++v) {
        lane[0] = logits[v] > lane[0] ? logits[v] : lane[0];
        bad[0] |= !(logits[v] < inf);
    }
    const float top = *std::max_element(lane, lane + kLanes);
    const bool refused = std::any_of(bad, bad + kLanes, [](int b) { return b != 0; }) || top == -inf;
    return refused ? std::numeric_limits<double>::quiet_NaN() : top;
}

// weights[v] = round(2^40 exp((logits[v] - top) / temperature)); returns their sum. Branch-free, so it vectorises.
int64_t row_weights(const float* logits, int64_t n, double top, double inv_temperature, int64_t* weights) {
    int64_t total = 0;
    for (int64_t v = 0; v < n; ++v) {
        double x = (static_cast<double>(logits[v]) - top) * inv_temperature;
        x = x > kLowest ? x : kLowest;
        const double shifted = x * kLog2e + kRound;
        const double k = shifted - kRound;
        const double r = (x - k * kLn2Hi) - k * kLn2Lo;
        double p = kInverseFactorials[12];
        for (int i = 11; i >= 0; --i) p = p * r + kInverseFactorials[i];
        const double scale = from_bits((bits(shifted) + (1023 + kBits)) << 52);  // 2^(k + 40)
        weights[v] = static_cast<int64_t>(bits(p * scale + kRound) - bits(kRound));
        total += weights[v];
    }
    return total;
}

inline int octave(int64_t weight) { return 63 - __builtin_clzll(static_cast<uint64_t>(weight) | 1); }

struct Found {
    int64_t token;
    int64_t mass;  // of all tokens up to and including this one
};

// First token whose running mass exceeds `x`, in the order of falling weight, ties by lower token id; 0 <= x < total.
Found find(const int64_t* weights, int64_t n, const int64_t* octave_mass, int64_t x, std::vector<int32_t>& ids) {
    int64_t before = 0;
    int free_bits = kBits;  // weight bits not yet fixed among the candidates
    while (before + octave_mass[free_bits] <= x) before += octave_mass[free_bits--];
    int64_t m = 0;
    // An octave is [2^k, 2^(k+1)), and no weight is above 2^40. Zero weights fall in no octave and are never found.
    for (int64_t v = 0; v < n; ++v) {
        ids[m] = static_cast<int32_t>(v);
        m += (weights[v] >> free_bits) == 1;
    }
    // Stops at the first difference, so it costs something only where it saves the rest.
    const auto tied = [&] {
        return std::all_of(ids.begin(), ids.begin() + m, [&](int32_t v) { return weights[v] == weights[ids[0]]; });
    };
    while (m > kSmall && !tied()) {  // not tied: some bit is still free
        const int width = std::min(free_bits, 8);
        free_bits -= width;
        const int64_t mask = (int64_t{1} << width) - 1;
        int64_t mass[256] = {};
        for (int64_t i = 0; i < m; ++i) mass[(weights[ids[i]] >> free_bits) & mask] += weights[ids[i]];
        int64_t digit = mask;
        while (before + mass[digit] <= x) before += mass[digit--];
        int64_t kept = 0;
        for (int64_t i = 0; i < m; ++i) {
            const int32_t v = ids[i];
            ids[kept] = v;
            kept += ((weights[v] >> free_bits) & mask) == digit;
        }
        m = kept;
    }
    if (tied()) {  // in order of their ids
        const int64_t weight = weights[ids[0]];
        const int64_t i = (x - before) / weight;
        return {ids[i], before + (i + 1) * weight};
    }
    std::sort(ids.begin(), ids.begin() + m, [&](int32_t a, int32_t b) {
        return weights[a] != weights[b] ? weights[a] > weights[b] : a < b;
    });
    int64_t i = 0;
    before += weights[ids[0]];
    while (before <= x) before += weights[ids[++i]];
    return {ids[i], before};
}

}  // namespace

int64_t nucleus(const float* logits, int64_t rows, int64_t vocab, int64_t row_stride, const double* uniforms,
                double inv_temperature, double top_p, int64_t* tokens) {
    std::vector<int64_t> weights(static_cast<size_t>(vocab));
    std::vector<int32_t> ids(static_cast<size_t>(vocab) + 1);  // the branch-free gather writes one past the end
    for (int64_t b = 0; b < rows; ++b) {
        const float* row = logits + b * row_stride;
        const double top = row_max(row, vocab);
        if (std::isnan(top)) return b;
        const int64_t total = row_weights(row, vocab, top, inv_temperature, weights.data());
        int64_t octave_mass[kBits + 1] = {};
        for (int64_t v = 0; v < vocab; ++v) octave_mass[octave(weights[v])] += weights[v];

        int64_t mass = total;
        const auto threshold = static_cast<int64_t>(std::ceil(top_p * static_cast<double>(total)));
        if (threshold < total) {
            mass = find(weights.data(), vocab, octave_mass, std::max<int64_t>(threshold, 1) - 1, ids).mass;
        }
        const auto target = static_cast<int64_t>(uniforms[b] * static_cast<double>(mass));
        tokens[b] = find(weights.data(), vocab, octave_mass, std::min(target, mass - 1), ids).token;
    }
    return -1;
}

}  // namespace silmm
