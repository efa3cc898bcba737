// Decisions that all KV heads of a layer share: scores summed over heads, rows named by position.
#pragma once

#include <cstdint>
#include <vector>

#include "compress/eviction.h"

namespace kv {

// The rows of a layer as one list: every original position that at least one KV head still holds.
// Of a prompt that no former policy cut, that is every position.
struct SharedRows {
  std::vector<int32_t> positions;  // rising
  std::vector<float> scores;       // sum of the scores over the heads that hold the position
  std::vector<bool> always;        // the user's `protect`
  int size() const { return static_cast<int>(positions.size()); }
};
SharedRows share_rows(const LayerView& view, const LayerScores& scored);

// Every head keeps what it holds of the rows marked in keep (one flag for each of shared.positions),
// and what the user protects. A head that would be left with nothing keeps its best row.
LayerKeep keep_shared(const LayerView& view, LayerScores scored, const SharedRows& shared,
                      const std::vector<bool>& keep);

}  // namespace kv
