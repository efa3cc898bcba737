#include "compress/shared_rows.h"

#include <algorithm>

namespace kv {

SharedRows share_rows(const LayerView& view, const LayerScores& scored) {
  std::vector<int> holders(view.n_tokens, 0);
  std::vector<float> sums(view.n_tokens, 0.0f);
  std::vector<bool> always(view.n_tokens, false);
  for (size_t h = 0; h < view.heads.size(); ++h) {
    const LayerView::HeadRows& head = view.heads[h];
    for (int r = 0; r < head.n_rows; ++r) {
      const int32_t position = head.positions[r];
      ++holders[position];
      sums[position] += scored.scores[h][r];
      const std::vector<bool>& flags = scored.protection[h].always;
      if (!flags.empty() && flags[r]) always[position] = true;
    }
  }
  SharedRows shared;
  for (int32_t position = 0; position < view.n_tokens; ++position) {
    if (holders[position] == 0) continue;
    shared.positions.push_back(position);
    shared.scores.push_back(sums[position]);
    shared.always.push_back(always[position]);
  }
  return shared;
}

LayerKeep keep_shared(const LayerView& view, LayerScores scored, const SharedRows& shared,
                      const std::vector<bool>& keep) {
  std::vector<bool> stays(view.n_tokens, false);
  for (int i = 0; i < shared.size(); ++i) {
    stays[shared.positions[i]] = keep[i] || shared.always[i];
  }
  LayerKeep result;
  for (size_t h = 0; h < view.heads.size(); ++h) {
    const LayerView::HeadRows& head = view.heads[h];
    std::vector<int32_t>& rows = result.rows.emplace_back();
    for (int r = 0; r < head.n_rows; ++r) {
      if (stays[head.positions[r]]) rows.push_back(r);
    }
    if (rows.empty()) rows = top_rows(scored.scores[h], std::min(1, head.n_rows), Ties::kPosition);
  }
  result.scores = std::move(scored.scores);
  return result;
}

}  // namespace kv
