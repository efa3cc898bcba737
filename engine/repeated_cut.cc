#include "engine/repeated_cut.h"

#include <map>
#include <numeric>
#include <vector>

#include "engine/error.h"
#include "engine/layer_rows.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;
using Lists = std::map<Rows, std::shared_ptr<const Rows>>;

std::vector<HeadState> rows_held(const KvCache& cache, int layer) {
  std::vector<HeadState> heads(cache.n_kv_heads());
  for (int h = 0; h < cache.n_kv_heads(); ++h) {
    heads[h].rows.resize(cache.head(layer, h).n_rows);
    std::iota(heads[h].rows.begin(), heads[h].rows.end(), 0);
  }
  return heads;
}

// Where the rows of a head stand once only `kept` are left.
void place_rows(KvCache::Head& head, const Rows& kept, int n_tokens, Positions positions,
                Lists& lists) {
  Rows originals;
  for (const int32_t r : kept) originals.push_back(head.original_position(r));
  std::shared_ptr<const Rows>& list = lists[originals];
  if (!list) list = std::make_shared<const Rows>(originals);
  const int n_kept = static_cast<int>(kept.size());
  if (positions == Positions::kContiguous) {
    head.listed = nullptr;
    head.originals = list;
    head.shift = n_kept - n_tokens;
  } else {
    head.listed = list;
  }
  head.run_offset = n_tokens + head.shift - n_kept;  // the next row is the next token
}

}  // namespace

void cut_back(const Model& model, const LayerRopes& rope, KvCache& cache) {
  const CutState& cuts = cache.cuts();
  const KvPolicy& policy = *cuts.rule().policy;
  const int n_tokens = cache.n_tokens();
  const RecordedInputs inputs = cuts.inputs(n_tokens);
  const KvNeeds needs = policy.needs(n_tokens);
  Lists lists;  // heads that keep the same rows share one list
  for (int layer = 0; layer < cache.n_layers(); ++layer) {
    if (cache.window(layer) > 0) continue;
    const LayerRows rows(model, cache, rope.at(layer), inputs, layer, needs);
    const std::vector<HeadState> held = rows_held(cache, layer);
    ViewStorage storage;
    LayerView view = rows.view(held, needs, storage);
    view.keep_rows = cuts.rule().rows_after(n_tokens);
    const LayerKeep keep = policy.select(view);
    KV_CHECK(keep.values.empty() && keep.dropped_channels.empty(), "{} changes rows",
             policy.spec());
    for (int h = 0; h < cache.n_kv_heads(); ++h) {
      KvCache::Head& head = cache.head(layer, h);
      if (static_cast<int>(keep.rows[h].size()) == head.n_rows) continue;
      place_rows(head, keep.rows[h], n_tokens, cuts.positions(), lists);
    }
    parallel_for(cache.n_kv_heads(),
                 [&](int64_t h) { cache.keep_rows(layer, static_cast<int>(h), keep.rows[h]); });
  }
}

}  // namespace kv
