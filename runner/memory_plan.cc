#include "runner/memory_plan.h"

#include <algorithm>
#include <cmath>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "engine/query_statistics.h"
#include "runner/answer.h"
#include "runner/env.h"

namespace kv {
namespace {

constexpr int kDefaultBatch = 64;
constexpr double kShareOfFree = 0.6;
constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kPassRows = 512;  // of a prefill or a scored block, unless the run says otherwise

int64_t tokens_after_context(const Sample& sample, int max_new_tokens) {
  const auto question = static_cast<int64_t>(sample.continuation_ids.size());
  if (sample.kind == Sample::Kind::kScore) return question;
  return question + most_answer_tokens(sample, max_new_tokens);
}

int64_t tiles(int64_t n_rows) {
  return (n_rows + kTile - 1) / kTile;
}

bool any_codec(const RunConfig& config, bool (KvCodec::*property)() const) {
  return std::any_of(config.compressors.begin(), config.compressors.end(),
                     [&](const CompressorSpec& spec) {
                       return spec.plan.codec != nullptr && (spec.plan.codec.get()->*property)();
                     });
}

// The longest of everything that a model's units ask for.
struct Extent {
  int64_t context = 0, suffix = 0, question = 0;
  size_t most_questions = 1;

  explicit Extent(const PreparedModel& model) {
    for (const Unit& unit : model.units) {
      most_questions = std::max(most_questions, unit.questions.size());
      for (const Unit::Question& q : unit.questions) {
        const Sample& sample = model.samples[q.task][q.sample];
        const auto n = static_cast<int64_t>(sample.continuation_ids.size());
        context = std::max(context, static_cast<int64_t>(sample.context_ids.size()));
        (sample.kind == Sample::Kind::kScore ? suffix : question) =
            std::max(sample.kind == Sample::Kind::kScore ? suffix : question, n);
      }
    }
  }
};

// Buffers of passes and logits, and the unpacked rows of a layer that policies look at.
int64_t working_bytes(const RunConfig& config, const ModelConfig& c, const Extent& extent,
                      int batch) {
  const int64_t heads = int64_t{c.n_heads + 2 * c.n_kv_heads} * c.head_dim;
  const int64_t wide =
      std::max(int64_t{c.n_heads} * c.head_dim, int64_t{2} * c.hidden_dim) + 2 * c.dim + heads;
  const bool whole = any_codec(config, &KvCodec::codes_blocks);
  int64_t pass = std::max<int64_t>({kPassRows, config.run.prefill_chunk, batch, extent.question});
  if (whole) pass = std::max({pass, extent.context, extent.suffix});
  const int64_t scored =
      score_logits_bytes(static_cast<size_t>(std::max<int64_t>(extent.suffix, 1)), whole, c.vocab);
  const int64_t logits = std::max(2 * batch * int64_t{c.vocab} * kFloat, scored);
  const int64_t width = padded(c.head_dim);
  // What decoding leaves of every block of rows until it is folded.
  const int64_t blocks = extent.context / kAttnBlock + 1;
  const int64_t partials = batch * blocks * c.n_heads * (width + 2) * kFloat;
  const int64_t views = 2 * extent.context * c.n_kv_heads * (2 * c.head_dim + width) * kFloat;
  return pass * wide * kFloat + logits + partials + views;
}

double mib(int64_t bytes) {
  return static_cast<double>(bytes) / (1024.0 * 1024.0);
}

}  // namespace

int64_t most_answer_tokens(const Sample& sample, int max_new_tokens) {
  const int64_t limit = sample.max_new_tokens > 0 ? sample.max_new_tokens : max_new_tokens;
  int64_t total = limit;
  for (const std::vector<int32_t>& given : sample.follow_ups)
    total += limit + static_cast<int64_t>(given.size());
  return total;
}

int64_t full_cache_bytes(const ModelConfig& config, int64_t n_tokens, int bytes_per_value) {
  int64_t rows = 0;
  for (int l = 0; l < config.n_layers; ++l) rows += config.rows_held(l, n_tokens);
  return 2 * rows * config.n_kv_heads * config.head_dim * bytes_per_value;
}

MemoryCosts::MemoryCosts(const RunConfig& config, const ModelConfig& model)
    : config_(config), model_(model), kv_dtype_(plain_codec(config.run.kv_dtype)) {}

int64_t MemoryCosts::rows(size_t n_tokens, const KvCodec& codec) const {
  constexpr int64_t kPageHeader = 96;  // of a page itself and of its allocation
  const auto tile = static_cast<int64_t>(codec.key_tile_bytes(model_.head_dim) +
                                         codec.value_tile_bytes(model_.head_dim));
  int64_t pages = 0;
  for (int l = 0; l < model_.n_layers; ++l) {
    // A layer with a window holds a pass of the prompt too until it is done.
    const int64_t n = std::min(static_cast<int64_t>(n_tokens),
                               model_.rows_held(l, static_cast<int64_t>(n_tokens)) +
                                   std::max<int64_t>(kPassRows, config_.run.prefill_chunk));
    pages += tiles(n) + (model_.layer(l).window > 0 ? 1 : 0);
  }
  return pages * (tile + kPageHeader) * model_.n_kv_heads;
}

int64_t MemoryCosts::prompt(size_t n_tokens, const KvCodec& codec, const KvNeeds& needs) const {
  const auto n = static_cast<int64_t>(n_tokens);
  const int64_t heads = int64_t{model_.n_layers} * model_.n_heads, d = model_.head_dim;
  int64_t recorded = heads * std::min<int64_t>(needs.window_queries, n) * d * kFloat;
  // The sums, and the mean and covariance made of them.
  for (const QueryStatisticsNeeds& wanted : needs.query_statistics) {
    recorded += static_cast<int64_t>(QueryMoments::bytes_for(model_, wanted)) +
                heads * ((wanted.covariance ? d : 0) + 1) * d * int64_t{sizeof(double)};
  }
  if (needs.attention_received) recorded += heads * n * static_cast<int64_t>(sizeof(double));
  recorded +=
      static_cast<int64_t>(needs.repeats.size()) * model_.n_layers * model_.n_kv_heads * n * kFloat;
  return rows(n_tokens, codec) + recorded + model_.vocab * kFloat;
}

int64_t MemoryCosts::cell(size_t n_tokens, const CompressionPlan& plan) const {
  const KvCodec& codec = plan.codec ? *plan.codec : *kv_dtype_;
  int64_t bytes = rows(n_tokens, codec);
  if (codec.keeps_residual()) bytes += rows(n_tokens, *kv_dtype_);
  if (plan.decode) {  // what later cuts look at, in the cell and in the fork that answers
    constexpr int kEndless = 1 << 30;
    const KvNeeds needs = plan.decode->policy->needs(kEndless);
    const int64_t d = model_.head_dim, heads = int64_t{model_.n_layers} * model_.n_heads;
    bytes += 2 * heads * d * needs.window_queries * int64_t{sizeof(float)};
    for (const QueryStatisticsNeeds& wanted : needs.query_statistics)
      bytes += 2 * static_cast<int64_t>(QueryMoments::bytes_for(model_, wanted));
  }
  if (plan.policies.empty() && plan.step == nullptr) return bytes;
  // Rows that stay, their scores and positions, on their way through the policies.
  constexpr int64_t kListed = 6 * sizeof(int32_t);
  return bytes + static_cast<int64_t>(n_tokens) * model_.n_layers * model_.n_kv_heads * kListed;
}

int64_t MemoryCosts::answer(const Sample& sample) const {
  const int64_t n = tokens_after_context(sample, config_.run.max_new_tokens);
  return (tiles(n) + 1) * kTile * 2 * model_.n_layers * model_.n_kv_heads * model_.head_dim *
         kFloat;
}

MemoryPlan plan_memory(const RunConfig& config, const PreparedModel& model) {
  const ModelConfig& c = model.identity.config;
  const MemoryCosts costs(config, c);
  const CodecPtr kv_dtype = plain_codec(config.run.kv_dtype);
  const Extent extent(model);
  MemoryPlan plan;
  plan.budget_bytes =
      config.run.memory_bytes > 0
          ? config.run.memory_bytes
          : static_cast<int64_t>(kShareOfFree * static_cast<double>(memory_available_bytes()));
  std::vector<const CompressionPlan*> plans;
  for (const CompressorSpec& spec : config.compressors) plans.push_back(&spec.plan);
  const size_t n = static_cast<size_t>(extent.context);
  // A prompt of cells that act on it stands beside the full one.
  const bool acting = any_codec(config, &KvCodec::acts_on_prompt) ||
                      std::any_of(plans.begin(), plans.end(), [](const CompressionPlan* one) {
                        return prompt_rules(*one) != nullptr;
                      });
  const int64_t prompt =
      costs.prompt(n, *kv_dtype, needs_of(plans, static_cast<int>(n))) * (acting ? 2 : 1);
  int64_t largest_cell = 0, all_cells = 0;
  for (const CompressionPlan* one : plans) {
    largest_cell = std::max(largest_cell, costs.cell(n, *one));
    all_cells += costs.cell(n, *one);
  }
  int64_t answer = 0;
  for (const auto& samples : model.samples) {
    for (const Sample& sample : samples) answer = std::max(answer, costs.answer(sample));
  }
  // The full cache's own sequence stands beside the cell's where they are compared.
  const int64_t single = prompt + largest_cell + 2 * answer;
  plan.least_bytes = working_bytes(config, c, extent, 1) + single;
  if (plan.least_bytes > plan.budget_bytes) {
    throw_usage(
        "{}: run.memory: the longest context ({} tokens) of model {} needs {} bytes ({:.0f} MiB) "
        "with one cell and one sequence, but {} may be used; give run.memory: {:.0f}MiB or more, "
        "or shorter contexts or answers",
        config.file.filename().string(), n, model.identity.name, plan.least_bytes,
        mib(plan.least_bytes), plan.budget_bytes, std::ceil(mib(plan.least_bytes)));
  }
  plan.batch = config.run.batch > 0 ? config.run.batch : kDefaultBatch;
  const auto sequences =
      static_cast<int64_t>(model.units.size() * extent.most_questions * plans.size());
  plan.batch = static_cast<int>(std::clamp<int64_t>(sequences, 1, plan.batch));
  // Sequences take what one context with one cell leaves.
  const auto room_left = [&] {
    return plan.budget_bytes - single - working_bytes(config, c, extent, plan.batch);
  };
  while (plan.batch > 1 && plan.batch * answer > room_left()) --plan.batch;
  plan.working_bytes = working_bytes(config, c, extent, plan.batch);
  const int64_t answers = int64_t{plan.batch} * answer;
  const int64_t room = std::max<int64_t>(0, plan.budget_bytes - plan.working_bytes - answers);
  plan.shared_bytes = room;
  plan.cells_at_once = static_cast<int>(std::clamp<int64_t>(
      (room - prompt) / std::max<int64_t>(1, largest_cell), 1, static_cast<int64_t>(plans.size())));
  plan.contexts_at_once = static_cast<int>(
      std::clamp<int64_t>(room / std::max<int64_t>(1, prompt + all_cells), 1,
                          std::max<int64_t>(1, static_cast<int64_t>(model.units.size()))));
  const int64_t everything = plan.working_bytes + answers +
                             static_cast<int64_t>(model.units.size()) * (prompt + all_cells);
  plan.peak_bytes = std::min(plan.budget_bytes, everything);
  return plan;
}

}  // namespace kv
