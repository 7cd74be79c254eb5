#pragma once

#include <cstdint>

#include "portable.h"

namespace silmm {

enum class Distance { cosine = 0, euclidean = 1, squared_euclidean = 2 };  // FAST_DISTANCES of kc_dpo.py

// What is done with the features.
struct KcDpoObjective {
    double gamma, sft_weight;
    bool sigmoid;  // else the second term alone
    Distance distance;
};

// KC-DPO of H, Hr, Hw, Hl (in this order everywhere); see src/silmm/kernels/kc_dpo.py for the definition. The vector
// of a pair is the mean over its rows.
struct KcDpo {
    int64_t pairs, width;
    int64_t rows[4];
    Dtype dtypes[4];
    const void* feats[4];  // [pairs, rows, width], contiguous
    KcDpoObjective objective;
    float* loss;       // one number, written
    float* distances;  // [5, pairs], written: (H, Hw), (H, Hl), (Hr, Hw), (Hr, Hl), (H, Hr)
    void* grad;        // [pairs, width] in the dtype of H, written: the loss's by each row of H; or null
};

// isa: the highest instruction set to use (see isa.h).
void kc_dpo(const KcDpo& call, int isa);

}  // namespace silmm
