#pragma once

#include <array>
#include <cstdint>

#include "portable.h"

namespace silmm {

// What a tensor's prompts, samples and positions are apart, in elements.
struct Strides {
    int64_t prompt, sample, position;
};

// DivDrop in P prompts, N samples, T positions and F elements; see src/silmm/kernels/divdrop.py for the definition.
// Tensors have elements of `dtype` and lie along memory in F.
struct DivDrop {
    int64_t prompts, samples, positions, width;
    Dtype dtype;
    bool shared;                // x and up are [P, T, F], not [P, N, T, F]
    uint32_t slot, threshold;   // the counter's last word; the lowest lane that is kept
    float scale;                // of what is kept
    const void *x, *up, *grad;  // up: none at the site `output`; grad: of out, for the backward alone
    const int64_t *keys, *sample_of, *position_of;  // [P], [P, N], [P, T]
    const uint8_t* masked;                          // [P, T], or none: masks apply everywhere
    void *out, *out_up;  // contiguous; forward: out [P, N, T, F]; backward: gradients of x and up, shaped as they are
    Strides x_strides, up_strides, grad_strides;    // 0 from sample to sample where they share a row
    int64_t sample_stride, position_stride, masked_stride;  // of prompts
};

// sizes: P, N, T, F, dtype, shared, slot, threshold; addresses: x, up, grad, keys, samples, positions, masked, out,
// out_up; strides: three of x, of up and of grad, one of samples, of positions and of masked.
inline DivDrop divdrop_call(const std::array<int64_t, 8>& sizes, const std::array<std::uintptr_t, 9>& at,
                            const std::array<int64_t, 12>& s) {
    const auto in = [&](int i) { return reinterpret_cast<const void*>(at[i]); };
    const auto integers = [&](int i) { return reinterpret_cast<const int64_t*>(at[i]); };
    const auto out = [&](int i) { return reinterpret_cast<void*>(at[i]); };
    const auto threshold = static_cast<uint32_t>(sizes[7]);
    return {sizes[0], sizes[1], sizes[2], sizes[3], static_cast<Dtype>(sizes[4]), sizes[5] != 0,
            static_cast<uint32_t>(sizes[6]), threshold, static_cast<float>(65536.0 / (65536.0 - threshold)),
            in(0), in(1), in(2), integers(3), integers(4), integers(5), static_cast<const uint8_t*>(in(6)), out(7),
            out(8), {s[0], s[1], s[2]}, {s[3], s[4], s[5]}, {s[6], s[7], s[8]}, s[9], s[10], s[11]};
}

// isa: the highest instruction set to use (see isa.h).
void divdrop_fwd(const DivDrop& call, int isa);
void divdrop_bwd(const DivDrop& call, int isa);

}  // namespace silmm
