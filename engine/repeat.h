// What the model looks at while it repeats a prompt (KVzip, arXiv 2505.23416).
//
// The prompt's tokens after a prefix are cut into pieces. For each piece the model reads, over the
// prompt's whole cache, a request to repeat it (for later pieces with the last tokens of the one
// before), the end of the user's turn and the piece itself. A row's score is its largest weight, over
// these tokens and the query heads of its group, in a softmax over the sinks, the piece's rows and the
// repeating tokens so far.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/kv_policy.h"
#include "engine/model.h"
#include "engine/rope.h"

namespace kv {

// One piece while it is repeated.
struct RepeatPass {
  int sinks;       // rows 0 .. sinks - 1
  int start, end;  // rows of the piece
  int n_prompt;    // the first row of the repeating tokens
  bool plus;
  float* scores;  // (n_layers, n_kv_heads, n_prompt); maxima are taken up
};

// The id lists filled in where the model gives them; the prefix left out where the prompt does not
// begin with it. Throws Error(kData) where the model has no tokenizer.
RepeatNeeds resolve_repeat(const RepeatNeeds& needs, const Model& model,
                           std::span<const int32_t> ids);

// The tokens by which the piece [start, end) of ids is repeated; first: it is the first one.
std::vector<int32_t> repeat_tokens(const RepeatNeeds& needs, std::span<const int32_t> ids,
                                   int start, int end, bool first);

// Scores of one layer from n consecutive repeating tokens, whose keys are the last rows of the cache.
// qkv (n, width): their projections; x (n, dim): the attention's input.
void score_repeat(const Model& model, const RopeTable& rope, int layer, const KvCache& cache,
                  const float* qkv, int64_t width, const float* x, int n, const RepeatPass& pass);

}  // namespace kv
