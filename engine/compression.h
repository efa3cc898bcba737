// Applies policies and a codec to a prefilled prompt.
#pragma once

#include <string>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/kv_plan.h"
#include "engine/session.h"

namespace kv {

struct CompressedCache {
  KvCache cache;
  // Original positions of the rows that stayed, (n_layers)(n_kv_heads), rising.
  std::vector<std::vector<std::vector<int32_t>>> kept;
  // Scores of every prompt row as the last policy with scores saw them,
  // (n_layers)(n_kv_heads)(n_tokens); empty without.
  std::vector<std::vector<std::vector<float>>> scores;
  std::vector<std::string> notes;  // remarks of the policies
};

// What policies and codecs check a model against.
inline ModelShape shape_of(const ModelConfig& config) {
  return {config.n_layers,
          config.n_heads,
          config.n_kv_heads,
          config.head_dim,
          config.rotary_dim,
          config.n_sliding_layers(),
          config.learned_positions > 0};
}

// Where the kept rows stand: the last policy that asks for something other than the original
// positions decides.
Positions positions_of(const CompressionPlan& plan);

// What a prefill must record so that all these plans can be applied to it.
KvNeeds needs_of(const std::vector<const CompressionPlan*>& plans, int n_tokens);

// The codec that a plan's prompt must be prefilled with: its own where that or the plan's rules act
// on the prompt, else kv_dtype.
CodecPtr prompt_codec(const CompressionPlan& plan, const CodecPtr& kv_dtype);
// The rules that a plan's prompt must be prefilled with; null: it is exact.
StepPtr prompt_rules(const CompressionPlan& plan);
// Both as a name: plans of equal names can share a prompt. That of exact prompts is the codec's.
std::string prompt_kind(const CompressionPlan& plan, const CodecPtr& kv_dtype);

// The cuts that a plan's prompt must be prefilled with; null: none while it comes. Throws
// Error(kUsage) where the plan's budget is too small.
std::shared_ptr<const RepeatedCut> prompt_cut(const CompressionPlan& plan,
                                              const ModelConfig& config, const CodecPtr& kv_dtype);

// All plans of a grid on one prompt: the rotated keys of a layer are made once and shown to every
// policy.
std::vector<CompressedCache> compress_all(const Model& model, const PrefilledPrompt& prompt,
                                          const std::vector<const CompressionPlan*>& plans);

// The prompt stays as it is; the result shares its pages where nothing was removed and the codec is
// the same.
CompressedCache compress(const Model& model, const PrefilledPrompt& prompt,
                         const CompressionPlan& plan);

}  // namespace kv
