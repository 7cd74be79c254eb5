#pragma once

#include <array>
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

// A call from what Python hands over. at: addresses of H, Hr, Hw, Hl, loss, distances, and grad or 0.
inline KcDpo kc_dpo_call(int64_t pairs, int64_t width, const std::array<int64_t, 4>& rows,
                         const std::array<int, 4>& dtypes, const KcDpoObjective& objective, const std::uintptr_t* at) {
    KcDpo call = {pairs, width, {}, {}, {}, objective, reinterpret_cast<float*>(at[4]),
                  reinterpret_cast<float*>(at[5]), reinterpret_cast<void*>(at[6])};
    for (int s = 0; s < 4; ++s) {
        call.rows[s] = rows[s];
        call.dtypes[s] = static_cast<Dtype>(dtypes[s]);
        call.feats[s] = reinterpret_cast<const void*>(at[s]);
    }
    return call;
}

// isa: the highest instruction set to use (see isa.h).
void kc_dpo(const KcDpo& call, int isa);

}  // namespace silmm
