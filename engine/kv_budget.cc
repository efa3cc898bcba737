#include "engine/kv_budget.h"

#include <algorithm>

#include "engine/cut_state.h"
#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

// What a sequence carries for its cuts.
int64_t memory_of(const std::shared_ptr<const RepeatedCut>& cut, const ModelConfig& config) {
  if (!cut) return 0;
  return static_cast<int64_t>(CutState(config, cut, Positions::kOriginal).bytes());
}

int64_t page_bytes(const ModelConfig& config, const KvCodec& codec) {
  return static_cast<int64_t>(codec.key_tile_bytes(config.head_dim) +
                              codec.value_tile_bytes(config.head_dim));
}

// Bytes of n rows in each KV head, or of as many in a layer however its heads share them out: each
// head's last page may then hold a single row. Layers with a window do not count.
int64_t bytes_of(int64_t n, const ModelConfig& config, const KvCodec& codec) {
  const int64_t heads = config.n_kv_heads;
  const int64_t pages = (heads * n + heads * (kTile - 1)) / kTile;
  const int64_t lists = heads * n * static_cast<int64_t>(sizeof(int32_t));
  return (config.n_layers - config.n_sliding_layers()) *
         (pages * page_bytes(config, codec) + lists);
}

// What layers with a window hold at most while `between` tokens come in one pass: the rows that the first
// of them sees and the new ones, with a started page at both ends.
int64_t sliding_bytes(int between, const ModelConfig& config, const KvCodec& codec) {
  int64_t pages = 0;
  for (const LayerConfig& layer : config.layers) {
    if (layer.window > 0) pages += (layer.window - 1 + between + 2 * (kTile - 1)) / kTile;
  }
  return config.n_kv_heads * pages * page_bytes(config, codec);
}

}  // namespace

int rows_in_budget(const CompressionPlan& plan, const ModelConfig& config, const KvCodec& codec) {
  int between = 0;  // rows that come from one cut to the next
  if (plan.decode) between = std::max(between, plan.decode->every);
  if (plan.prefill) between = std::max(between, plan.prefill->every);
  const int64_t memory = std::max(memory_of(plan.decode, config), memory_of(plan.prefill, config));
  const int64_t fixed = memory + sliding_bytes(between, config, codec);
  const int64_t room = plan.budget_bytes - fixed;
  int64_t low = 0, high = 1 << 30;  // low rows fit, high do not
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (bytes_of(middle, config, codec) <= room ? low : high) = middle;
  }
  if (low <= between) {
    throw_usage(
        "budget_bytes={} has room for {} rows of each KV head, but {} come from one cut to the "
        "next; "
        "expected at least {} bytes, or a smaller 'every'",
        plan.budget_bytes, low, between, fixed + bytes_of(between + 1, config, codec));
  }
  return static_cast<int>(low) - between;
}

std::shared_ptr<const RepeatedCut> within_budget(const std::shared_ptr<const RepeatedCut>& cut,
                                                 const CompressionPlan& plan,
                                                 const ModelConfig& config, const KvCodec& codec) {
  if (!cut || plan.budget_bytes == 0) return cut;
  auto counted = std::make_shared<RepeatedCut>(*cut);
  counted->keep = rows_in_budget(plan, config, codec);
  return counted;
}

}  // namespace kv
