// One thread has one unit of 16 bytes of a row, loaded and stored at once: a Philox group of 8 elements in a 16-bit
// dtype, half a group in float32 (whose calls are made twice: the write is what takes time). It makes the SwiGLU once
// for the samples that share it, then one Philox call a sample.

#include "divdrop.h"

#include <algorithm>

#include "../halves.h"
#include "../philox.h"
#include "../sigmoid.h"
#include "check.h"

namespace silmm {
namespace {

constexpr int kThreads = 128;
constexpr int kSamplesOnce = 4;       // whose Philox calls share the sums of the key
constexpr int64_t kBlocks = 4096;     // that fill a large GPU twice; with fewer, samples go to blocks of their own
constexpr int64_t kMostRows = 65535;  // of a grid's second and third dimension

template <class T>
constexpr int kEach = 16 / sizeof(T);

// The elements of a unit from `from` on: all kEach, or the first `count` where they may end early or lie unaligned.
template <class T, bool kWhole>
__device__ __forceinline__ void load(const T* from, int count, float (&values)[kEach<T>]) {
    T elements[kEach<T>];
    if (kWhole) {
        const uint4 whole = *reinterpret_cast<const uint4*>(from);
        std::memcpy(elements, &whole, sizeof whole);
    } else {
#pragma unroll
        for (int i = 0; i < kEach<T>; ++i) elements[i] = i < count ? from[i] : T{};
    }
#pragma unroll
    for (int i = 0; i < kEach<T>; ++i) values[i] = widen(elements[i]);
}

template <class T, bool kWhole>
__device__ __forceinline__ void store(T* to, int count, const float (&values)[kEach<T>]) {
    T elements[kEach<T>];
#pragma unroll
    for (int i = 0; i < kEach<T>; ++i) elements[i] = narrow<T>(values[i]);
    if (kWhole) {
        uint4 whole;
        std::memcpy(&whole, elements, sizeof whole);
        // An assignment would be taken apart into four stores.
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
                     :
                     : "l"(__cvta_generic_to_global(to)), "r"(whole.x), "r"(whole.y), "r"(whole.z), "r"(whole.w)
                     : "memory");
    } else {
#pragma unroll
        for (int i = 0; i < kEach<T>; ++i) {
            if (i < count) to[i] = elements[i];
        }
    }
}

// A unit's place: its prompt, position, first element, and how many elements of it are in the row.
struct Unit {
    int64_t p, t, first;
    int count;
};

template <class T>
__device__ __forceinline__ Unit unit_of(const DivDrop& d, int64_t row) {
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach<T>;
    const int64_t left = d.width - first;
    return {row / d.positions, row % d.positions, first, static_cast<int>(left < kEach<T> ? left : kEach<T>)};
}

template <class T>
__device__ __forceinline__ const T* at(const void* tensor, const Strides& apart, const Unit& u, int64_t n) {
    return static_cast<const T*>(tensor) + u.p * apart.prompt + n * apart.sample + u.t * apart.position + u.first;
}

// What names the masks of a unit in all its samples.
struct Names {
    uint32_t k0, k1, group, position, slot;
    uint32_t threshold;  // 2^16 times it; 0, which keeps all, where masks do not apply
    float scale;
    bool second;  // half of the group, in float32
};

template <class T>
__device__ __forceinline__ Names names_of(const DivDrop& d, const Unit& u) {
    const uint64_t key = static_cast<uint64_t>(d.keys[u.p]);
    const bool applies = !d.masked || d.masked[u.p * d.masked_stride + u.t];
    return {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), static_cast<uint32_t>(u.first / 8),
            static_cast<uint32_t>(d.position_of[u.p * d.position_stride + u.t]), d.slot,
            applies ? d.threshold << 16 : 0, applies ? d.scale : 1.0f, (u.first / 4 & 1) != 0};
}

// 0 or the scale of each element. Products with them, not a choice of values: 0 * nan stays nan.
template <int E>
__device__ __forceinline__ void factors_of(const DivDrop& d, const Unit& u, const Names& names, int64_t n,
                                           float (&factors)[E]) {
    const uint32_t sample = static_cast<uint32_t>(d.sample_of[u.p * d.sample_stride + n]);
    uint32_t words[4] = {names.group, names.position, sample, names.slot};
    philox(words, names.k0, names.k1);
    if (E == 4) words[0] = names.second ? words[2] : words[0], words[1] = names.second ? words[3] : words[1];
#pragma unroll
    for (int i = 0; i < E; ++i) {
        const uint32_t lane = i % 2 ? words[i / 2] : words[i / 2] << 16;  // in the upper half; the lower one is noise
        factors[i] = lane >= names.threshold ? names.scale : 0.0f;
    }
}

template <class T, bool kWhole>
__device__ __forceinline__ void values_of(const DivDrop& d, const Unit& u, int64_t n, float (&values)[kEach<T>]) {
    load<T, kWhole>(at<T>(d.x, d.x_strides, u, n), u.count, values);
    if (!d.up) return;
    float up[kEach<T>];
    load<T, kWhole>(at<T>(d.up, d.up_strides, u, n), u.count, up);
#pragma unroll
    for (int i = 0; i < kEach<T>; ++i) values[i] = values[i] * sigmoid(values[i]) * up[i];
}

// Grid: units of a row; rows (as far as a grid goes, then in turns); parts of the samples, `together` in each.
template <class T, bool kWhole, bool kShared>
__global__ void __launch_bounds__(kThreads) forward(const DivDrop d, int64_t together) {
    constexpr int E = kEach<T>;
    const int64_t first = blockIdx.z * together, last = min(first + together, d.samples);
    for (int64_t row = blockIdx.y; row < d.prompts * d.positions; row += gridDim.y) {
        const Unit u = unit_of<T>(d, row);
        if (u.count <= 0) return;
        const Names names = names_of<T>(d, u);
        float values[E], factors[E];
        if (kShared) values_of<T, kWhole>(d, u, 0, values);
#pragma unroll(kShared ? kSamplesOnce : 1)
        for (int64_t n = first; n < last; ++n) {
            if (!kShared) values_of<T, kWhole>(d, u, n, values);
            factors_of(d, u, names, n, factors);
#pragma unroll
            for (int i = 0; i < E; ++i) factors[i] = values[i] * factors[i];
            const int64_t place = (u.p * d.samples + n) * d.positions + u.t;
            store<T, kWhole>(static_cast<T*>(d.out) + place * d.width + u.first, u.count, factors);
        }
    }
}

// Gradients of x and up from that of the values. n: the sample, 0 in a shared row.
template <class T, bool kWhole>
__device__ __forceinline__ void finish(const DivDrop& d, const Unit& u, int64_t n, float (&sums)[kEach<T>]) {
    constexpr int E = kEach<T>;
    const int64_t place = ((u.p * (d.shared ? 1 : d.samples) + n) * d.positions + u.t) * d.width + u.first;
    if (d.up) {
        float gates[E], ups[E], grads[E];
        load<T, kWhole>(at<T>(d.x, d.x_strides, u, n), u.count, gates);
        load<T, kWhole>(at<T>(d.up, d.up_strides, u, n), u.count, ups);
#pragma unroll
        for (int i = 0; i < E; ++i) {
            const float s = sigmoid(gates[i]);
            grads[i] = sums[i] * (gates[i] * s);
            sums[i] = sums[i] * ups[i] * (s * (1.0f + gates[i] * (1.0f - s)));
        }
        store<T, kWhole>(static_cast<T*>(d.out_up) + place, u.count, grads);
    }
    store<T, kWhole>(static_cast<T*>(d.out) + place, u.count, sums);
}

// Grid as of forward; a shared row has all its samples together, another row each one alone.
template <class T, bool kWhole, bool kShared>
__global__ void __launch_bounds__(kThreads) backward(const DivDrop d, int64_t together) {
    constexpr int E = kEach<T>;
    const int64_t first = blockIdx.z * together, last = min(first + together, d.samples);
    for (int64_t row = blockIdx.y; row < d.prompts * d.positions; row += gridDim.y) {
        const Unit u = unit_of<T>(d, row);
        if (u.count <= 0) return;
        const Names names = names_of<T>(d, u);
        float sums[E] = {}, grads[E], factors[E];
#pragma unroll(kShared && kWhole ? kSamplesOnce : 1)
        for (int64_t n = first; n < last; ++n) {
            load<T, kWhole>(at<T>(d.grad, d.grad_strides, u, n), u.count, grads);
            factors_of(d, u, names, n, factors);
#pragma unroll
            for (int i = 0; i < E; ++i) sums[i] = (kShared ? sums[i] : 0.0f) + grads[i] * factors[i];
            if (!kShared) finish<T, kWhole>(d, u, n, sums);
        }
        if (kShared) finish<T, kWhole>(d, u, 0, sums);
    }
}

// Whether every row of a tensor begins at a multiple of 16 bytes.
template <class T>
bool aligned(const void* tensor, const Strides& apart) {
    return reinterpret_cast<uintptr_t>(tensor) % 16 == 0 && apart.prompt % kEach<T> == 0 &&
           apart.sample % kEach<T> == 0 && apart.position % kEach<T> == 0;
}

template <class T>
void run(const DivDrop& d, bool forwards, cudaStream_t stream) {
    const int64_t rows = d.prompts * d.positions, units = (d.width + kEach<T> - 1) / kEach<T>;
    if (!rows || !units || (!d.samples && (forwards || !d.shared))) return;
    const int64_t across = (units + kThreads - 1) / kThreads, down = std::min(rows, kMostRows);
    const int64_t most = std::min(std::max<int64_t>(d.samples, 1), kMostRows);
    int64_t parts = d.shared ? 1 : most;
    if (forwards && d.shared) parts = std::min(most, (kBlocks + across * down - 1) / (across * down));
    const int64_t together = std::max<int64_t>(1, (d.samples + parts - 1) / parts);
    parts = std::max<int64_t>(1, (d.samples + together - 1) / together);
    const Strides contiguous{d.width, d.width, d.width};
    const bool whole = d.width % kEach<T> == 0 && aligned<T>(d.x, d.x_strides) && aligned<T>(d.up, d.up_strides) &&
                       aligned<T>(d.grad, d.grad_strides) && aligned<T>(d.out, contiguous) &&
                       aligned<T>(d.out_up, contiguous);
    const dim3 grid(static_cast<unsigned>(across), static_cast<unsigned>(down), static_cast<unsigned>(parts));
    const auto kernel = forwards ? (whole ? (d.shared ? forward<T, true, true> : forward<T, true, false>)
                                          : (d.shared ? forward<T, false, true> : forward<T, false, false>))
                                 : (whole ? (d.shared ? backward<T, true, true> : backward<T, true, false>)
                                          : (d.shared ? backward<T, false, true> : backward<T, false, false>));
    kernel<<<grid, kThreads, 0, stream>>>(d, together);
    check_launch(forwards ? "divdrop_fwd" : "divdrop_bwd");
}

void run(const DivDrop& d, bool forwards, cudaStream_t stream) {
    switch (d.dtype) {
        case Dtype::f32: return run<float>(d, forwards, stream);
        case Dtype::bf16: return run<Bf16>(d, forwards, stream);
        case Dtype::f16: return run<F16>(d, forwards, stream);
    }
}

}  // namespace

void divdrop_fwd(const DivDrop& call, cudaStream_t stream) { run(call, true, stream); }

void divdrop_bwd(const DivDrop& call, cudaStream_t stream) { run(call, false, stream); }

std::array<uint32_t, 4> philox_words(std::array<uint32_t, 4> counter, uint64_t key) {
    uint32_t words[4] = {counter[0], counter[1], counter[2], counter[3]};
    philox(words, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
    return {words[0], words[1], words[2], words[3]};
}

}  // namespace silmm
