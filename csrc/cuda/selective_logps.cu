#include "selective_logps.h"

#include <algorithm>

#include "../halves.h"
#include "check.h"

namespace silmm {
namespace {

constexpr int kWarp = 32, kFew = 128, kMany = 512;  // threads of a block
constexpr int64_t kLong = 8192;                     // from this many columns on, many threads share a row
constexpr int64_t kMaxBlocks = 65535;

template <class T>
struct alignas(16) Pack {  // what one instruction loads or stores
    static constexpr int size = 16 / sizeof(T);
    T at[size];
};

struct Sum {  // of exp(x - top) over what was seen
    float top, rest;
};

__device__ float minus_infinity() { return __int_as_float(0xff800000); }

// 0 where nothing was seen yet: then exp(-inf - safe) is 0, and not NaN.
__device__ float safe(float top) { return top == minus_infinity() ? 0.0f : top; }

__device__ Sum add(Sum a, Sum b) {
    const float top = a.top > b.top ? a.top : b.top;
    return {top, a.rest * expf(a.top - safe(top)) + b.rest * expf(b.top - safe(top))};
}

// Takes n numbers; one at column `id`, counted from `first`, is left out.
template <class T, int n>
__device__ void take(Sum& sum, const T (&x)[n], int64_t first, int64_t id) {
    float wide[n], top = sum.top;
#pragma unroll
    for (int k = 0; k < n; ++k) {
        wide[k] = first + k == id ? minus_infinity() : widen(x[k]);
        top = wide[k] > top ? wide[k] : top;
    }
    sum.rest *= expf(sum.top - safe(top));
#pragma unroll
    for (int k = 0; k < n; ++k) sum.rest += expf(wide[k] - safe(top));
    sum.top = top;
}

// The sum over a row, complete in thread 0. The order depends on the number of threads and columns alone.
template <class T>
__device__ Sum sum_of_row(const T* x, int64_t n, int64_t packs, int64_t id) {
    __shared__ Sum of_warp[kMany / kWarp];
    Sum sum{minus_infinity(), 0.0f};
    const auto* packed = reinterpret_cast<const Pack<T>*>(x);
    for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
        const Pack<T> pack = packed[i];
        take(sum, pack.at, i * Pack<T>::size, id);
    }
    for (int64_t j = packs * Pack<T>::size + threadIdx.x; j < n; j += blockDim.x) {
        const T one[1] = {x[j]};
        take(sum, one, j, id);
    }
    for (int step = kWarp / 2; step; step /= 2) {
        const Sum other{__shfl_down_sync(~0u, sum.top, step), __shfl_down_sync(~0u, sum.rest, step)};
        sum = add(sum, other);
    }
    if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned w = 1; w < blockDim.x / kWarp; ++w) sum = add(sum, of_warp[w]);
    }
    return sum;
}

template <class T>
__device__ void write_weights(T* x, int64_t n, int64_t packs, int64_t id, float top, float inverse, float chosen) {
    auto* packed = reinterpret_cast<Pack<T>*>(x);
    const auto of = [=](T value, int64_t j) {
        return narrow<T>(j == id ? chosen : expf(widen(value) - top) * inverse);
    };
    for (int64_t i = threadIdx.x; i < packs; i += blockDim.x) {
        Pack<T> pack = packed[i];
#pragma unroll
        for (int k = 0; k < Pack<T>::size; ++k) pack.at[k] = of(pack.at[k], i * Pack<T>::size + k);
        packed[i] = pack;
    }
    for (int64_t j = packs * Pack<T>::size + threadIdx.x; j < n; j += blockDim.x) x[j] = of(x[j], j);
}

// A block a row, and rows gridDim apart. measure: take the tile into stats (fwd); else stats are final (bwd).
template <class T>
__global__ void selective_logps_rows_kernel(LogpsTile t, bool aligned, bool measure, bool write) {
    __shared__ float top_and_rest[2];
    const int64_t packs = aligned ? t.cols / Pack<T>::size : 0;
    for (int64_t r = blockIdx.x; r < t.rows; r += gridDim.x) {
        T* x = static_cast<T*>(t.logits) + r * t.stride;
        const int64_t id = t.ids[r] - t.first;
        if (measure) {
            const Sum sum = sum_of_row(x, t.cols, packs, id);
            if (threadIdx.x == 0) {
                LogpsRow row = t.stats[r];
                if (id >= 0 && id < t.cols) row.picked = widen(x[id]);
                merge(row, sum.top, sum.rest);
                t.stats[r] = row;
                top_and_rest[0] = row.top;
                top_and_rest[1] = row.rest;
            }
        } else if (threadIdx.x == 0) {
            top_and_rest[0] = t.stats[r].top;
            top_and_rest[1] = t.stats[r].rest;
        }
        __syncthreads();  // from here on the row may be overwritten
        const float top = safe(top_and_rest[0]), rest = top_and_rest[1];
        if (write) write_weights(x, t.cols, packs, id, top, rest == 0.0f ? 0.0f : 1.0f / rest, measure ? 0.0f : -1.0f);
        __syncthreads();  // before the next row's numbers take the place of this one's
    }
}

template <class T>
void launch(const LogpsTile& t, bool measure, bool write, cudaStream_t stream) {
    const bool aligned = (reinterpret_cast<std::uintptr_t>(t.logits) | t.stride * sizeof(T)) % sizeof(Pack<T>) == 0;
    const auto blocks = static_cast<unsigned>(std::min(t.rows, kMaxBlocks));
    const int threads = t.cols < kLong ? kFew : kMany;
    selective_logps_rows_kernel<T><<<blocks, threads, 0, stream>>>(t, aligned, measure, write);
    check_launch("selective_logps_rows_kernel");
}

void run(const LogpsTile& t, bool measure, bool write, cudaStream_t stream) {
    if (t.rows == 0 || t.cols == 0) return;
    if (t.dtype == Dtype::f32) return launch<float>(t, measure, write, stream);
    if (t.dtype == Dtype::bf16) return launch<Bf16>(t, measure, write, stream);
    launch<F16>(t, measure, write, stream);
}

}  // namespace

void selective_logps_fwd(const LogpsTile& tile, bool write, cudaStream_t stream) { run(tile, true, write, stream); }

void selective_logps_bwd(const LogpsTile& tile, cudaStream_t stream) { run(tile, false, true, stream); }

}  // namespace silmm
