#include "compress/eviction.h"

#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

const char* const kPositionsHelp =
    "where kept keys stand: original, contiguous (0..k-1), canary (original, decoding from k)";

std::pair<int, int> read_range(const Value& item, const Value& list) {
  const auto valid = [](const Value& v) {
    return v.is_integer() && v.number >= 0 && v.number <= 2147483647.0;
  };
  const bool pair = item.is_list() && item.items.size() == 2 && valid(item.items[0]) &&
                    valid(item.items[1]) && item.items[0].number <= item.items[1].number;
  if (!pair) {
    const std::string& place = item.place.empty() ? list.place : item.place;
    throw_usage(
        "{}{}'protect' must be a list of [from, to] with 0 <= from <= to (token positions), found "
        "{}",
        place, place.empty() ? "" : ": ", item.is_list() ? format_value(item) : item.describe());
  }
  return {static_cast<int>(item.items[0].number), static_cast<int>(item.items[1].number)};
}

std::vector<bool> rows_in_ranges(const LayerView::HeadRows& head,
                                 const std::vector<std::pair<int, int>>& ranges) {
  if (ranges.empty()) return {};
  std::vector<bool> inside(head.n_rows, false);
  for (int row = 0; row < head.n_rows; ++row) {
    for (const auto& [from, to] : ranges) {
      if (head.positions[row] >= from && head.positions[row] <= to) inside[row] = true;
    }
  }
  return inside;
}

}  // namespace

std::vector<ParamSpec> leading_params(const std::string& default_positions, bool has_ratio) {
  ParamSpec ratio;
  ratio.name = "ratio";
  ratio.type = ParamSpec::Type::kNumber;
  ratio.doc = "share of the rows REMOVED";
  ratio.min = 0;
  ratio.max = 1;
  ratio.below_max = true;
  ratio.required = true;
  ParamSpec positions;
  positions.name = "positions";
  positions.type = ParamSpec::Type::kChoice;
  positions.default_text = default_positions;
  positions.doc = kPositionsHelp;
  positions.choices = {"original", "contiguous", "canary"};
  if (!has_ratio) return {positions};
  return {ratio, positions};
}

std::vector<ParamSpec> trailing_params() {
  ParamSpec protect;
  protect.name = "protect";
  protect.type = ParamSpec::Type::kAny;
  protect.default_text = "null";
  protect.doc = "list of [from, to], token positions that are never removed, both ends included";
  ParamSpec ties;
  ties.name = "ties";
  ties.type = ParamSpec::Type::kChoice;
  ties.default_text = "position";
  ties.doc = "among equal scores: position (the lower one wins) or torch (its CPU order)";
  ties.choices = {"position", "torch"};
  return {protect, ties};
}

EvictionRules read_rules(const Params& params, bool has_ratio) {
  EvictionRules rules;
  if (has_ratio) rules.ratio = params.number("ratio");
  const std::string& positions = params.string("positions");
  rules.positions = positions == "contiguous" ? Positions::kContiguous
                    : positions == "canary"   ? Positions::kCanary
                                              : Positions::kOriginal;
  rules.ties = params.string("ties") == "torch" ? Ties::kTorch : Ties::kPosition;
  const Value& protect = params.value("protect");
  if (protect.is_null()) return rules;
  if (!protect.is_list()) read_range(protect, protect);  // throws
  for (const Value& item : protect.items) rules.protect.push_back(read_range(item, protect));
  return rules;
}

KvNeeds EvictionPolicy::needs(int n_tokens) const {
  return removes() ? inputs(n_tokens) : KvNeeds{};
}

int EvictionPolicy::budget(const LayerView& view, int kv_head) const {
  return rows_of(view, view.heads[kv_head].n_rows);
}

int EvictionPolicy::rows_of(const LayerView& view, int n_rows) const {
  return view.keep_rows > 0 ? std::min(view.keep_rows, n_rows) : rows_kept(n_rows, rules_.ratio);
}

double EvictionPolicy::ratio_of(const LayerView& view, int n_rows) const {
  return view.keep_rows > 0 ? ratio_keeping(n_rows, view.keep_rows) : rules_.ratio;
}

std::vector<int> EvictionPolicy::even_budgets(const LayerView& view) const {
  std::vector<int> even;
  for (const LayerView::HeadRows& head : view.heads)
    even.push_back(view.keep_rows > 0 ? view.keep_rows : rows_kept(head.n_rows, rules_.ratio));
  return even;
}

bool EvictionPolicy::keeps_all(const LayerView& view) const {
  if (!removes()) return true;
  for (int h = 0; h < view.n_kv_heads; ++h) {
    if (budget(view, h) != view.heads[h].n_rows) return false;
  }
  return true;
}

LayerScores EvictionPolicy::scored(const LayerView& view) const {
  if (view.known_scores == nullptr || rules_.scoring.empty() || !scores_serve_any_ratio())
    return score(view);
  const std::string name = rules_.scoring + " in " + rules_.folder;
  const auto known = view.known_scores->find(name);
  if (known != view.known_scores->end()) return known->second;
  return view.known_scores->emplace(name, score(view)).first->second;
}

LayerKeep EvictionPolicy::select(const LayerView& view) const {
  if (keeps_all(view)) {
    LayerKeep keep;
    for (const LayerView::HeadRows& head : view.heads) {
      std::vector<int32_t>& rows = keep.rows.emplace_back(head.n_rows);
      std::iota(rows.begin(), rows.end(), 0);
    }
    return keep;
  }
  LayerScores scored = this->scored(view);
  scored.protection.resize(view.heads.size());
  for (size_t h = 0; h < view.heads.size(); ++h) {
    scored.protection[h].always = rows_in_ranges(view.heads[h], rules_.protect);
  }
  return choose(view, std::move(scored));
}

LayerKeep EvictionPolicy::choose(const LayerView& view, LayerScores scored) const {
  LayerKeep keep;
  keep.rows.resize(view.heads.size());
  parallel_for(static_cast<int64_t>(view.heads.size()), [&](int64_t h) {
    keep.rows[h] = select_rows(scored.scores[h], budget(view, static_cast<int>(h)),
                               scored.protection[h], rules_.ties);
  });
  keep.scores = std::move(scored.scores);
  return keep;
}

}  // namespace kv
