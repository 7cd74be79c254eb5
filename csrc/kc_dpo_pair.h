#pragma once

// A pair's distances, loss and gradient from the sums over its features: the same for C++ and CUDA, in float64, as it
// costs nothing beside the sums.

#include <cmath>

#include "kc_dpo.h"

namespace silmm {

constexpr int kSides = 4, kDistances = 5;
constexpr int kSums = 2 * kDistances + kSides;
constexpr double kShort = 1e-8;  // EPS of features.py: a vector that is not longer has no direction

// The sums of a pair: |a - b|^2 of the distances, then |a|^2 - |b|^2 of them, as the sum of (a - b)(a + b), then |a|^2
// of the sides. Without a cosine only the first are needed.
struct Sums {
    double at[kSums];
};

struct PairLoss {
    float distances[kDistances];
    double loss;                             // of this pair, not yet divided by their number
    float own, from_chosen, from_rejected;   // gradient = own H + from_chosen (H - Hw) + from_rejected (H - Hl)
};

struct Slope {  // gradient of a distance by H: own H + away (H - other)
    double distance, own, away;
};

// k(a, b) from its sums and its gradient by a. NaN goes through: no comparison takes it for a number.
SILMM_BOTH Slope slope(Distance kind, double square, double excess, double norm_a, double norm_b) {
    if (kind == Distance::squared_euclidean) return {square, 0.0, 2.0};
    if (kind == Distance::euclidean) {
        const double d = sqrt(square);
        return {d, 0.0, d == 0.0 ? 0.0 : 1.0 / d};
    }
    const double a = sqrt(norm_a), b = sqrt(norm_b);
    const bool short_a = a <= kShort, short_b = b <= kShort;
    if (short_a || short_b) return {(short_a && short_b ? 0.0 : 0.5) + 0.0 * square, 0.0, 0.0};
    const double longer = excess / (a + b);  // |a| - |b|
    const double cosine = (square - longer * longer) / (2.0 * a * b), d = cosine < 0.0 ? 0.0 : cosine;
    // (cos a / |a| - b / |b|) / |a|, in terms of a - b, so that it is 0 for equal vectors
    return {d, -(longer + b * d) / (a * a * b), 1.0 / (a * b)};
}

// Of distance i.
SILMM_BOTH Slope slope(Distance kind, const Sums& sums, int i) {
    constexpr int left[kDistances] = {0, 0, 1, 1, 0}, right[kDistances] = {2, 3, 2, 3, 1};
    const double* norms = sums.at + 2 * kDistances;
    return slope(kind, sums.at[i], sums.at[kDistances + i], norms[left[i]], norms[right[i]]);
}

// pairs, rows: what the loss, and a vector of H, are means over.
SILMM_BOTH PairLoss pair_loss(const KcDpoObjective& o, const Slope (&k)[kDistances], double pairs, double rows) {
    PairLoss out;
    for (int i = 0; i < kDistances; ++i) out.distances[i] = static_cast<float>(k[i].distance);
    const double z = o.gamma * ((k[2].distance - k[0].distance) - (k[3].distance - k[1].distance));
    double chosen = o.sft_weight, rejected = 0.0;  // the loss's derivatives by k(H, Hw) and k(H, Hl)
    out.loss = o.sft_weight * k[0].distance;
    if (o.sigmoid) {
        out.loss += (z < 0.0 ? -z : 0.0) + log1p(exp(-fabs(z)));
        const double missing = o.gamma / (1.0 + exp(z));
        chosen += missing;
        rejected -= missing;
    }
    const double scale = 1.0 / (pairs * rows);
    out.own = static_cast<float>((chosen * k[0].own + rejected * k[1].own) * scale);
    out.from_chosen = static_cast<float>(chosen * k[0].away * scale);
    out.from_rejected = static_cast<float>(rejected * k[1].away * scale);
    return out;
}

}  // namespace silmm
