// KC-DPO on a GPU. Without pooling it is bound by bytes: four tensors are read, one is written. Teams of blocks take a
// pair each: sum their chunks of it, meet, and write the gradient of the same chunks, which the cache still has. With
// pooling it is bound by launches: one kernel pools and sums, one makes loss and gradient.
//
// What is summed together does not depend on the number of pairs or of blocks at work: a pair's sums are those of its
// chunks of kChunk columns, added up in their order. So a pair's results do not depend on its neighbours.

#include "kc_dpo.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "check.h"
#include "kc_dpo_columns.cuh"

namespace silmm {
namespace {

constexpr int64_t kChunk = 8192;      // columns whose sums are one partial
constexpr int64_t kPoolColumns = 256;  // the same where features are pooled: one a thread
constexpr int kPoolLanes = kPoolColumns / kPack, kPoolGroups = kThreads / kPoolLanes;

// What the kernels are called with, by value.
struct Task {
    KcDpo call;
    int64_t partials_a_pair;
    double* terms;    // [pairs]
    float* partials;  // [pairs, partials_a_pair, kSums]
    float* means;     // [3, pairs, width], of H, Hw, Hl, where features are pooled
    int* counters;    // [pairs + 1]: blocks that have summed a pair; pairs that have their loss
};

struct Shared {
    float warps[kWarps][kSums];
    Sums sums;
    Slope slopes[kDistances];
    PairLoss loss;
};

template <class T>
__device__ __forceinline__ const T* side(const Task& t, int s, int64_t pair) {
    return static_cast<const T*>(t.call.feats[s]) + pair * t.call.rows[s] * t.call.width;
}

template <class TH, class TO, bool kVector>
__device__ void sum_chunk(const Task& t, int64_t pair, int64_t chunk, Shared& shared) {
    const TH* h = side<TH>(t, 0, pair);
    const TO *r = side<TO>(t, 1, pair), *w = side<TO>(t, 2, pair), *l = side<TO>(t, 3, pair);
    const int64_t width = t.call.width, start = chunk * kChunk, end = min(width, start + kChunk);
    float sum[kSums] = {};
    for (int64_t i = start + threadIdx.x * kPack; i < end; i += kThreads * kPack) {
        float hs[kPack], rs[kPack], ws[kPack], ls[kPack];
        load<kVector>(h + i, end - i, hs);
        load<kVector>(r + i, end - i, rs);
        load<kVector>(w + i, end - i, ws);
        load<kVector>(l + i, end - i, ls);
#pragma unroll
        for (int j = 0; j < kPack; ++j) add_column(hs[j], rs[j], ws[j], ls[j], sum);
    }
    block_sums(sum, shared.warps, t.partials + (pair * t.partials_a_pair + chunk) * kSums);
}

// shared.loss of the pair, from its partials; every thread of the block may read it afterwards.
__device__ void finish_pair(const Task& t, int64_t pair, Shared& shared) {
    const int lane = threadIdx.x % 32;
    const float* partials = t.partials + pair * t.partials_a_pair * kSums;
    for (int k = threadIdx.x / 32; k < kSums; k += kWarps) {
        double total = 0.0;  // __ldcg: they may have been written by other blocks of this kernel
        for (int64_t i = lane; i < t.partials_a_pair; i += 32) total += static_cast<double>(__ldcg(partials + i * kSums + k));
        for (int step = 16; step; step /= 2) total += __shfl_down_sync(0xFFFFFFFFu, total, step);
        if (lane == 0) shared.sums.at[k] = total;
    }
    __syncthreads();
    const KcDpoObjective& o = t.call.objective;
    if (threadIdx.x < kDistances) shared.slopes[threadIdx.x] = slope(o.distance, shared.sums, threadIdx.x);
    __syncthreads();
    if (threadIdx.x == 0) {
        shared.loss = pair_loss(o, shared.slopes, static_cast<double>(t.call.pairs), static_cast<double>(t.call.rows[0]));
    }
    __syncthreads();
}

// By one block a pair. The last of all adds up the losses, in the order of pairs.
__device__ void write_pair(const Task& t, int64_t pair, const Shared& shared) {
    if (threadIdx.x >= 32) return;
    const int64_t pairs = t.call.pairs;
    if (threadIdx.x < kDistances) t.call.distances[threadIdx.x * pairs + pair] = shared.loss.distances[threadIdx.x];
    int before = 0;
    if (threadIdx.x == 0) {
        t.terms[pair] = shared.loss.loss;
        __threadfence();
        before = atomicAdd(t.counters + pairs, 1);
    }
    before = __shfl_sync(0xFFFFFFFFu, before, 0);
    if (before != pairs - 1) return;
    __threadfence();
    double total = 0.0;
    for (int64_t i = threadIdx.x; i < pairs; i += 32) total += __ldcg(t.terms + i);
    for (int step = 16; step; step /= 2) total += __shfl_down_sync(0xFFFFFFFFu, total, step);
    if (threadIdx.x == 0) *t.call.loss = static_cast<float>(total / static_cast<double>(pairs));
}

template <bool kVector, class TH, class TO, class TG>
__device__ void write_gradient(const TH* h, const TO* w, const TO* l, TG* grad, int64_t width, int64_t chunk,
                               const PairLoss& pair) {
    const int64_t start = chunk * kChunk, end = min(width, start + kChunk);
    const float own = pair.own, from_chosen = pair.from_chosen, from_rejected = pair.from_rejected;
    for (int64_t i = start + threadIdx.x * kPack; i < end; i += kThreads * kPack) {
        float hs[kPack], ws[kPack], ls[kPack], out[kPack];
        load<kVector>(h + i, end - i, hs);
        load<kVector>(w + i, end - i, ws);
        load<kVector>(l + i, end - i, ls);
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            out[j] = fmaf(own, hs[j], fmaf(from_chosen, hs[j] - ws[j], from_rejected * (hs[j] - ls[j])));
        }
        store<kVector>(grad + i, end - i, out);
    }
}

// Block b: chunk b % chunks of pair b / chunks.
template <class TH, class TO, bool kVector>
__global__ void __launch_bounds__(kThreads) kc_dpo_sums_kernel(Task t) {
    __shared__ Shared shared;
    sum_chunk<TH, TO, kVector>(t, blockIdx.x / t.partials_a_pair, blockIdx.x % t.partials_a_pair, shared);
}

// Block b: gradient of chunk b % chunks of pair b / chunks, and the pair's loss where that chunk is the first.
// kPooled: from the means in float32.
template <class TH, class TO, class TG, bool kVector, bool kPooled>
__global__ void __launch_bounds__(kThreads) kc_dpo_finish_kernel(Task t, int64_t chunks) {
    __shared__ Shared shared;
    const int64_t pair = blockIdx.x / chunks, chunk = blockIdx.x % chunks, width = t.call.width;
    finish_pair(t, pair, shared);
    if (chunk == 0) write_pair(t, pair, shared);
    if (t.call.grad == nullptr) return;
    TG* grad = static_cast<TG*>(t.call.grad) + pair * width;
    if constexpr (kPooled) {
        const float* mean = t.means + pair * width;
        const int64_t size = t.call.pairs * width;
        write_gradient<kVector>(mean, mean + size, mean + 2 * size, grad, width, chunk, shared.loss);
    } else {
        write_gradient<kVector>(side<TH>(t, 0, pair), side<TO>(t, 2, pair), side<TO>(t, 3, pair), grad, width, chunk,
                                shared.loss);
    }
}

// All of it, by teams of blocks that are all resident (a cooperative launch): team i takes the pairs i, i + teams, ..
template <class TH, class TO, bool kVector>
__global__ void __launch_bounds__(kThreads, 2) kc_dpo_team_kernel(Task t, int team) {
    __shared__ Shared shared;
    const int64_t chunks = t.partials_a_pair, width = t.call.width;
    const int teams = gridDim.x / team, rank = blockIdx.x % team;
    for (int64_t pair = blockIdx.x / team; pair < t.call.pairs; pair += teams) {
        for (int64_t chunk = rank; chunk < chunks; chunk += team) sum_chunk<TH, TO, kVector>(t, pair, chunk, shared);
        if (threadIdx.x == 0) {  // sum_chunk ends with a barrier: all partials of this block are written
            __threadfence();
            atomicAdd(t.counters + pair, 1);
            while (*static_cast<volatile int*>(t.counters + pair) < team) __nanosleep(64);
            __threadfence();
        }
        __syncthreads();
        finish_pair(t, pair, shared);
        if (rank == 0) write_pair(t, pair, shared);
        if (t.call.grad != nullptr) {
            TH* grad = static_cast<TH*>(t.call.grad) + pair * width;
            for (int64_t chunk = rank; chunk < chunks; chunk += team) {
                write_gradient<kVector>(side<TH>(t, 0, pair), side<TO>(t, 2, pair), side<TO>(t, 3, pair), grad, width,
                                        chunk, shared.loss);
            }
        }
        __syncthreads();  // before the next pair's numbers take the place of these
    }
}

// Sum over the rows of one side at the block's columns, of which each thread gets its own.
template <bool kVector, class T>
__device__ float pooled_column(const T* x, int64_t rows, int64_t width, int64_t first,
                               float (&shared)[kPoolGroups][kPoolColumns]) {
    const int lane = threadIdx.x % kPoolLanes, group = threadIdx.x / kPoolLanes;
    const int64_t column = first + lane * kPack;
    float sum[kPack] = {};
    if (column < width) {
#pragma unroll 4
        for (int64_t row = group; row < rows; row += kPoolGroups) {
            float values[kPack];
            load<kVector>(x + row * width + column, width - column, values);
#pragma unroll
            for (int j = 0; j < kPack; ++j) sum[j] += values[j];
        }
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j) shared[group][lane * kPack + j] = sum[j];
    __syncthreads();
    float part[kPoolGroups];
#pragma unroll
    for (int g = 0; g < kPoolGroups; ++g) part[g] = shared[g][threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int half = kPoolGroups / 2; half; half /= 2) {
#pragma unroll
        for (int g = 0; g < half; ++g) part[g] += part[g + half];
    }
    return part[0] / static_cast<float>(rows);
}

// Block b: columns of block b % partials of pair b / partials.
template <class TH, class TO, bool kVector>
__global__ void __launch_bounds__(kThreads) kc_dpo_pool_kernel(Task t) {
    __shared__ Shared shared;
    __shared__ float columns[kPoolGroups][kPoolColumns];
    const int64_t pair = blockIdx.x / t.partials_a_pair, block = blockIdx.x % t.partials_a_pair, width = t.call.width;
    const int64_t first = block * kPoolColumns, column = first + threadIdx.x;
    const int64_t* rows = t.call.rows;
    const float h = pooled_column<kVector>(side<TH>(t, 0, pair), rows[0], width, first, columns);
    const float r = pooled_column<kVector>(side<TO>(t, 1, pair), rows[1], width, first, columns);
    const float w = pooled_column<kVector>(side<TO>(t, 2, pair), rows[2], width, first, columns);
    const float l = pooled_column<kVector>(side<TO>(t, 3, pair), rows[3], width, first, columns);
    float sum[kSums] = {};
    if (column < width) {
        add_column(h, r, w, l, sum);
        const int64_t at = pair * width + column, size = t.call.pairs * width;
        t.means[at] = h;
        t.means[size + at] = w;
        t.means[2 * size + at] = l;
    }
    block_sums(sum, shared.warps, t.partials + (pair * t.partials_a_pair + block) * kSums);
}

template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads) kc_dpo_scale_kernel(T* grad, int64_t size, const float* scale) {
    const float factor = *scale;
    if (factor == 1.0f) return;
    const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads * kPack;
    for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kPack; i < size; i += step) {
        float values[kPack];
        load<kVector>(grad + i, size - i, values);
#pragma unroll
        for (int j = 0; j < kPack; ++j) values[j] *= factor;
        store<kVector>(grad + i, size - i, values);
    }
}

bool pools(const KcDpo& call) { return *std::max_element(call.rows, call.rows + kSides) > 1; }

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t partials_a_pair(const KcDpo& call) { return ceil_div(call.width, pools(call) ? kPoolColumns : kChunk); }

int64_t aligned(int64_t bytes) { return ceil_div(bytes, 256) * 256; }

bool is_aligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; }

int64_t size_of(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }

unsigned grid_of(int64_t blocks) {
    if (blocks > std::numeric_limits<int>::max()) throw std::invalid_argument("kc_dpo: too many blocks for one launch");
    return static_cast<unsigned>(blocks);
}

int attribute(cudaDeviceAttr which) {
    int device = 0, value = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
}

struct Teams {
    int64_t number;
    int size;  // blocks of one; 0: no cooperative launch here
};

// Teams that are all resident, for the fewest rounds of chunks; what does not stay in cache between its two readings
// costs eight passes in place of five.
Teams teams_of(const KcDpo& call, const void* kernel, int64_t chunks) {
    Teams best = {0, 0};
    if (!attribute(cudaDevAttrCooperativeLaunch)) return best;
    int a_processor = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&a_processor, kernel, kThreads, 0), "kc_dpo occupancy");
    const int64_t resident = static_cast<int64_t>(a_processor) * attribute(cudaDevAttrMultiProcessorCount);
    const int64_t cache = static_cast<int64_t>(attribute(cudaDevAttrL2CacheSize)) * 2 / 3;
    const int64_t bytes = call.width * (2 * size_of(call.dtypes[0]) + 3 * size_of(call.dtypes[1]));
    int64_t least = std::numeric_limits<int64_t>::max();
    for (int64_t size = 1; size <= std::min(chunks, resident); ++size) {
        const int64_t number = std::min(resident / size, call.pairs);
        const int64_t cost = ceil_div(call.pairs, number) * ceil_div(chunks, size) * (number * bytes > cache ? 8 : 5);
        if (cost < least) least = cost, best = {number, static_cast<int>(size)};
    }
    return best;
}

template <class TH, class TO, bool kVector>
void launch(Task t, cudaStream_t stream) {
    const KcDpo& call = t.call;
    const unsigned blocks = grid_of(call.pairs * t.partials_a_pair);
    const int64_t chunks = call.grad == nullptr ? 1 : ceil_div(call.width, kChunk);
    const unsigned finish = grid_of(call.pairs * chunks);
    if (pools(call)) {
        kc_dpo_pool_kernel<TH, TO, kVector><<<blocks, kThreads, 0, stream>>>(t);
        check_launch("kc_dpo_pool_kernel");
        kc_dpo_finish_kernel<float, float, TH, kVector, true><<<finish, kThreads, 0, stream>>>(t, chunks);
        return check_launch("kc_dpo_finish_kernel");
    }
    const void* kernel = reinterpret_cast<const void*>(&kc_dpo_team_kernel<TH, TO, kVector>);
    Teams teams = call.grad == nullptr ? Teams{0, 0} : teams_of(call, kernel, t.partials_a_pair);
    if (teams.size > 0) {
        void* arguments[] = {&t, &teams.size};
        const dim3 grid(grid_of(teams.number * teams.size));
        check(cudaLaunchCooperativeKernel(kernel, grid, dim3(kThreads), arguments, 0, stream), "kc_dpo_team_kernel");
        return;
    }
    kc_dpo_sums_kernel<TH, TO, kVector><<<blocks, kThreads, 0, stream>>>(t);
    check_launch("kc_dpo_sums_kernel");
    kc_dpo_finish_kernel<TH, TO, TH, kVector, false><<<finish, kThreads, 0, stream>>>(t, chunks);
    check_launch("kc_dpo_finish_kernel");
}

template <class TH, class TO>
void launch(const Task& t, cudaStream_t stream) {
    bool vector = t.call.width % kPack == 0 && is_aligned(t.call.grad) && is_aligned(t.means);
    for (const void* at : t.call.feats) vector = vector && is_aligned(at);
    vector ? launch<TH, TO, true>(t, stream) : launch<TH, TO, false>(t, stream);
}

template <class T>
void scale(void* grad, int64_t size, const float* factor, cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(std::min<int64_t>(ceil_div(size, kThreads * kPack), 1024));
    T* at = static_cast<T*>(grad);
    if (size % kPack == 0 && is_aligned(grad)) {
        kc_dpo_scale_kernel<T, true><<<blocks, kThreads, 0, stream>>>(at, size, factor);
    } else {
        kc_dpo_scale_kernel<T, false><<<blocks, kThreads, 0, stream>>>(at, size, factor);
    }
    check_launch("kc_dpo_scale_kernel");
}

}  // namespace

int64_t kc_dpo_workspace(const KcDpo& call) {
    const int64_t floats = call.pairs * (partials_a_pair(call) * kSums), means = pools(call) ? 3 * call.width : 0;
    return aligned(call.pairs * 8) + aligned(floats * 4) + aligned(call.pairs * means * 4);
}

void kc_dpo_fwd(const KcDpo& call, void* workspace, int* counters, cudaStream_t stream) {
    if (call.pairs == 0 || call.width == 0) return;
    Task t = {call, partials_a_pair(call), nullptr, nullptr, nullptr, counters};
    char* at = static_cast<char*>(workspace);
    t.terms = reinterpret_cast<double*>(at);
    at += aligned(call.pairs * 8);
    t.partials = reinterpret_cast<float*>(at);
    at += aligned(call.pairs * t.partials_a_pair * kSums * 4);
    t.means = reinterpret_cast<float*>(at);
    const Dtype h = call.dtypes[0], other = call.dtypes[1];
    if (h == Dtype::f32 && other == Dtype::f32) return launch<float, float>(t, stream);
    if (h == Dtype::bf16 && other == Dtype::bf16) return launch<Bf16, Bf16>(t, stream);
    if (h == Dtype::bf16 && other == Dtype::f32) return launch<Bf16, float>(t, stream);
    if (h == Dtype::f16 && other == Dtype::f16) return launch<F16, F16>(t, stream);
    if (h == Dtype::f16 && other == Dtype::f32) return launch<F16, float>(t, stream);
    throw std::invalid_argument("kc_dpo: these dtypes do not go together");
}

void kc_dpo_scale(void* grad, Dtype dtype, int64_t size, const float* factor, cudaStream_t stream) {
    if (size == 0) return;
    if (dtype == Dtype::bf16) return scale<Bf16>(grad, size, factor, stream);
    if (dtype == Dtype::f16) return scale<F16>(grad, size, factor, stream);
    scale<float>(grad, size, factor, stream);
}

}  // namespace silmm
