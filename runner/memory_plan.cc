#include "runner/memory_plan.h"

#include <algorithm>

#include "engine/compression.h"
#include "engine/error.h"
#include "runner/env.h"

namespace kv {
namespace {

constexpr int kDefaultBatch = 32;
constexpr double kShareOfFree = 0.6;

int64_t tokens_after_context(const Sample& sample, int max_new_tokens) {
  const auto question = static_cast<int64_t>(sample.continuation_ids.size());
  if (sample.kind == Sample::Kind::kScore) return question;
  return question + most_answer_tokens(sample, max_new_tokens);
}

}  // namespace

int64_t most_answer_tokens(const Sample& sample, int max_new_tokens) {
  const int64_t limit = sample.max_new_tokens > 0 ? sample.max_new_tokens : max_new_tokens;
  int64_t total = limit;
  for (const std::vector<int32_t>& given : sample.follow_ups)
    total += limit + static_cast<int64_t>(given.size());
  return total;
}

int64_t row_bytes(const ModelConfig& config, int bytes_per_value) {
  return int64_t{2} * config.n_layers * config.n_kv_heads * config.head_dim * bytes_per_value;
}

MemoryPlan plan_memory(const RunConfig& config, const PreparedModel& model) {
  MemoryPlan plan;
  plan.budget_bytes =
      config.run.memory_bytes > 0
          ? config.run.memory_bytes
          : static_cast<int64_t>(kShareOfFree * static_cast<double>(memory_available_bytes()));
  int64_t longest_context = 0, longest_answer = 0, most_questions = 1;
  for (const Unit& unit : model.units) {
    most_questions = std::max(most_questions, static_cast<int64_t>(unit.questions.size()));
    for (const Unit::Question& question : unit.questions) {
      const Sample& sample = model.samples[question.task][question.sample];
      longest_context = std::max(longest_context, static_cast<int64_t>(sample.context_ids.size()));
      longest_answer =
          std::max(longest_answer, tokens_after_context(sample, config.run.max_new_tokens));
    }
  }
  const ModelConfig& c = model.identity.config;
  // A prompt of cells that act on it stands beside the full one.
  const bool acting = std::any_of(
      config.compressors.begin(), config.compressors.end(), [](const CompressorSpec& spec) {
        return prompt_rules(spec.plan) != nullptr ||
               (spec.plan.codec != nullptr && spec.plan.codec->acts_on_prompt());
      });
  const int64_t exact =
      longest_context * row_bytes(c, config.run.kv_dtype == "f32" ? 4 : 2) * (acting ? 2 : 1);
  // A spec may name the widest codec, so a compressed cache is taken for a whole one at 32 bits.
  const int64_t compressed = longest_context * row_bytes(c, 4);
  const int64_t answer = longest_answer * row_bytes(c, 4) + int64_t{c.vocab} * 4;
  plan.largest_context_bytes = exact;
  const int64_t least = exact + 2 * compressed + 2 * answer;
  if (least > plan.budget_bytes) {
    throw_usage(
        "{}: run.memory: the longest context ({} tokens) of model {} needs {} bytes, but {} may be "
        "used; "
        "raise run.memory or shorten the task",
        config.file.filename().string(), longest_context, model.identity.name, least,
        plan.budget_bytes);
  }
  const int64_t n_cells = static_cast<int64_t>(config.compressors.size());
  const int64_t room = plan.budget_bytes - exact;
  plan.cells_at_once = static_cast<int>(
      std::clamp<int64_t>(room / 2 / std::max<int64_t>(1, compressed), 1, n_cells));
  const int64_t left = room - plan.cells_at_once * compressed;
  const int64_t fits = std::max<int64_t>(1, left / std::max<int64_t>(1, answer));
  plan.batch = static_cast<int>(
      std::min<int64_t>(config.run.batch > 0 ? config.run.batch : kDefaultBatch, fits));
  const int64_t together = std::min<int64_t>(plan.batch, n_cells * most_questions);
  plan.peak_bytes = exact + plan.cells_at_once * compressed + together * answer;
  return plan;
}

}  // namespace kv
