#pragma once

#include <cstdint>

namespace silmm {

// One decoding step of attention; see src/silmm/kernels/decode_attention.py for the definition. All float32, contiguous.
struct DecodeAttention {
    int64_t prompts, samples, heads, dim;  // dim is even
    int64_t start, length, place;          // prefix places, places of the cache, the place that this step fills
    const float *q, *k, *v;                // [prompts x samples, heads, dim], not yet rotated
    const float *cos, *sin;                // [dim]
    const float *prefix_keys;              // [prompts, heads, dim, start], rotated
    const float *prefix_values;            // [prompts, heads, start, dim]
    const uint8_t* seen;                   // [prompts, start]
    float *keys, *values;                  // [prompts x samples, heads, dim, length], [.., length, dim]: `place` is written
    float scale;
    float* out;  // [prompts x samples, heads, dim], written
};

// isa: the highest instruction set to use (see isa.h).
void decode_attention(const DecodeAttention& step, int isa);

}  // namespace silmm
