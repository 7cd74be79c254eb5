#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "portable.h"

namespace silmm {

// What is known of a token once some of its logits were seen. See src/silmm/kernels/selective_logps_tiles.py, STATS.
struct LogpsRow {
    float picked;  // the chosen logit; NaN until it was seen, and so for ever where the id is none
    float top;     // maximum of the other logits
    float rest;    // sum of exp(logit - top) over the others
    float scale;   // the share that earlier tiles have in `rest`
    float own;     // 1 - p of the chosen token, if no more tiles come
    float logp;    // its log-probability, if no more tiles come
};

// A tile of logits: some tokens, some neighbouring columns. Rows are `stride` elements apart.
struct LogpsTile {
    void* logits;
    Dtype dtype;
    int64_t rows, cols, stride;
    const int64_t* ids;  // [rows], counted from column 0 of the whole
    int64_t first;       // column of the whole at which the tile begins
    LogpsRow* stats;     // [rows], updated
};

// From Python: {dtype, rows, cols, stride, first}, addresses of {logits, ids, stats}.
inline LogpsTile logps_tile(const std::array<int64_t, 5>& sizes, const std::array<std::uintptr_t, 3>& at) {
    const auto [dtype, rows, cols, stride, first] = sizes;
    return {reinterpret_cast<void*>(at[0]), static_cast<Dtype>(dtype), rows, cols, stride,
            reinterpret_cast<const int64_t*>(at[1]), first, reinterpret_cast<LogpsRow*>(at[2])};
}

constexpr double kUnseen = -std::numeric_limits<double>::infinity();

// Takes exp(logit - top) over a tile's other logits, summed to `rest`, into what is known of the row.
SILMM_BOTH void merge(LogpsRow& row, double top, double rest) {
    const double both = row.top > top ? row.top : top;
    const double safe = both == kUnseen ? 0.0 : both;  // no weight seen yet: exp(-inf), not exp(-inf + inf)
    const double before = row.rest * ::exp(row.top - safe), sum = before + rest * ::exp(top - safe);
    const double picked = row.picked, big = picked > both ? picked : both;
    const double others = sum * ::exp(both - big), chosen = ::exp(picked - big);
    // Where the chosen token leads, log1p keeps a log-probability near 0, and own = 1 - p is never a difference.
    row.logp = static_cast<float>((picked - big) - (picked >= both ? ::log1p(others) : ::log(others + chosen)));
    row.own = static_cast<float>(others / (others + chosen));
    row.scale = static_cast<float>(sum == 0.0 ? 0.0 : before / sum);
    row.top = static_cast<float>(both);
    row.rest = static_cast<float>(sum);
}

// Both overwrite logits by weights of the others, exp(logit - top) / rest, with 0 (fwd) or -1 (bwd) at the chosen one.
// fwd: updates `stats` with the tile; writes weights as far as known now, if wanted.
// bwd: `stats` are final. isa: the highest instruction set to use (see isa.h).
void selective_logps_fwd(const LogpsTile& tile, bool write, int isa);
void selective_logps_bwd(const LogpsTile& tile, int isa);

}  // namespace silmm
