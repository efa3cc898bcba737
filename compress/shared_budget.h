// One budget for all KV heads of a layer, as adakv shares it out.
#pragma once

#include <cstdint>
#include <vector>

#include "compress/eviction.h"

namespace kv {

// Rows that the heads of a layer keep when the layer as a whole keeps sum_h even[h] (or all it has):
// first each head's best max(1, trunc(even * alpha)) rows (alpha 0: the best one alone), then the
// best of all others, whichever head they are of. Rows that the user protects stay in any case.
// Among equal scores the lower row wins, then the lower head (ties=torch: torch's order over the
// scores of all heads one after the other).
std::vector<std::vector<int32_t>> shared_rows_kept(const LayerScores& scored,
                                                   const std::vector<int>& even, double alpha,
                                                   Ties ties);

}  // namespace kv
