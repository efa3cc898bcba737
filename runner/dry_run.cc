// What `run --dry-run` and `validate` print.
#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "engine/session.h"
#include "engine/tokenizer/tokenizer.h"
#include "runner/memory_plan.h"
#include "runner/prefixes.h"
#include "runner/progress.h"
#include "runner/results.h"
#include "runner/run.h"

namespace kv {
namespace {

using Clock = std::chrono::steady_clock;

// What the records in the output folder cover. A dry run never opens them for writing.
std::set<std::pair<std::string, std::string>> read_done(const RunConfig& config, bool fresh) {
  std::set<std::pair<std::string, std::string>> done;
  const std::filesystem::path file = config.run.out / "samples.jsonl";
  if (fresh || !std::filesystem::exists(file)) return done;
  for (const SampleRecord& record : latest_records(read_records(file))) {
    if (record.error.empty()) done.insert({record.fingerprint, record.sample_id});
  }
  return done;
}

// Tokens that still have to run through a model.
struct Work {
  int64_t prefill = 0;  // contexts, each once
  int64_t scored = 0;   // suffix tokens of all cells
  int64_t decoded = 0;  // at most: every answer up to its limit
};

// Tokens per second of a short prefill and of decoding alone, measured.
struct Speed {
  double prefill = 1, decode = 1;
};

Speed measure_speed(const std::shared_ptr<const Model>& model, const RunOptions& run) {
  constexpr int kPrompt = 64, kSteps = 4;
  Session session(model, run.prefill_chunk);
  const std::vector<int32_t> ids(kPrompt, 1 % model->config.vocab);
  PrefillOptions options;
  options.codec = plain_codec(run.kv_dtype);
  auto start = Clock::now();
  PrefilledPrompt prompt = session.prefill(ids, options);
  const double prefill_s = std::chrono::duration<double>(Clock::now() - start).count();
  std::vector<float> row(static_cast<size_t>(model->config.vocab));
  start = Clock::now();
  for (int i = 0; i < kSteps; ++i) {
    KvCache* const caches[] = {&prompt.cache};
    session.step(caches, std::span(ids).first(1), row.data());
  }
  const double step_s = std::chrono::duration<double>(Clock::now() - start).count() / kSteps;
  return {kPrompt / std::max(prefill_s, 1e-9), 1 / std::max(step_s, 1e-9)};
}

Work print_cells(const RunConfig& config, const Preparation& preparation, size_t m, bool fresh,
                 size_t& number) {
  const auto done = read_done(config, fresh);
  const CodecPtr kv_dtype = plain_codec(config.run.kv_dtype);
  const PreparedModel& model = preparation.models[m];
  std::vector<std::pair<int64_t, int64_t>> counts(preparation.n_tasks * preparation.n_compressors);
  Work work;
  std::vector<int32_t> before;  // the last context that is not done
  for (const Unit& unit : model.units) {
    std::set<std::string> prompts;  // the codecs that the context must be prefilled with
    for (const Unit::Question& q : unit.questions) {
      const Sample& sample = model.samples[q.task][q.sample];
      for (size_t c = 0; c < preparation.n_compressors; ++c) {
        auto& [n_done, n_all] = counts[q.task * preparation.n_compressors + c];
        ++n_all;
        if (done.count({preparation.cell(m, q.task, c).fingerprint, sample.id}) > 0) {
          ++n_done;
          continue;
        }
        prompts.insert(kv_dtype->spec());
        prompts.insert(prompt_kind(config.compressors[c].plan, kv_dtype));
        const auto question = static_cast<int64_t>(sample.continuation_ids.size());
        // Comparing feeds question and answer once more.
        const int passes = config.tasks[q.task].task->compares() ? 2 : 1;
        work.scored += passes * question;
        if (sample.kind == Sample::Kind::kGenerate)
          work.decoded += passes * most_answer_tokens(sample, config.run.max_new_tokens);
      }
    }
    if (prompts.empty()) continue;
    const Unit::Question& first = unit.questions[0];
    const std::vector<int32_t>& context = model.samples[first.task][first.sample].context_ids;
    // Codecs that act on the prompt share nothing with the context before.
    const size_t shared = common_prefix(before, context);
    work.prefill += static_cast<int64_t>(context.size() * prompts.size() - shared);
    before = context;
  }
  for (size_t i = 0; i < counts.size(); ++i) {
    const Cell& cell =
        preparation.cell(m, i / preparation.n_compressors, i % preparation.n_compressors);
    fmt::print("{:4} {} {}/{} {}\n", ++number, cell.fingerprint, counts[i].first, counts[i].second,
               cell.id);
  }
  return work;
}

}  // namespace

void print_dry_run(const RunConfig& config, const Preparation& preparation, bool fresh) {
  fmt::print("   # fingerprint                      done/samples cell\n");
  size_t number = 0;
  for (size_t m = 0; m < config.models.size(); ++m) {
    const Work work = print_cells(config, preparation, m, fresh, number);
    const std::shared_ptr<const Model> model =
        preparation.only_model ? preparation.only_model : load_model(config.models[m], config.run);
    const MemoryPlan plan = plan_memory(config, preparation.models[m]);
    const Speed speed = measure_speed(model, config.run);
    // Decoding shares every read of the weights among the sequences of a batch, up to where the
    // products cost more.
    const double together = std::min<double>(plan.batch, 8);
    const double seconds = static_cast<double>(work.prefill + work.scored) / speed.prefill +
                           static_cast<double>(work.decoded) / (speed.decode * together);
    constexpr double kMiB = 1024.0 * 1024.0;
    fmt::print("model {}: {} tokens to prefill, {} to feed or score, at most {} to generate\n",
               config.models[m].name, work.prefill, work.scored, work.decoded);
    fmt::print(
        "  time    about {} ({:.0f} tokens/s prefill, {:.1f} tokens/s decode measured just now)\n",
        format_duration(seconds), speed.prefill, speed.decode);
    fmt::print(
        "  memory  {:.0f} MiB weights; caches and passes at most {:.0f} of {:.0f} MiB that may be "
        "used ({:.0f} MiB are the least); {} of {} contexts, {} of {} cells and {} sequences "
        "together\n",
        static_cast<double>(preparation.models[m].weight_bytes) / kMiB,
        static_cast<double>(plan.peak_bytes) / kMiB, static_cast<double>(plan.budget_bytes) / kMiB,
        static_cast<double>(plan.least_bytes) / kMiB, plan.contexts_at_once,
        preparation.models[m].units.size(), plan.cells_at_once, config.compressors.size(),
        plan.batch);
  }
}

void print_validation(const RunConfig& config, const Preparation& preparation) {
  for (size_t m = 0; m < config.models.size(); ++m) {
    const PreparedModel& prepared = preparation.models[m];
    const MemoryPlan plan = plan_memory(config, prepared);
    const auto tokenizer = [&]() -> std::shared_ptr<const Tokenizer> {
      const auto model = preparation.only_model ? preparation.only_model
                                                : load_model(config.models[m], config.run);
      return model->tokenizer;
    }();
    fmt::print("model {}: {} contexts, caches take at most {} bytes\n", config.models[m].name,
               prepared.units.size(), plan.peak_bytes);
    for (size_t t = 0; t < config.tasks.size(); ++t) {
      const Sample& sample = prepared.samples[t].front();
      fmt::print("task {}: {} samples; sample '{}': {} context tokens, {} tokens after it\n",
                 config.tasks[t].task->canonical(), prepared.samples[t].size(), sample.id,
                 sample.context_ids.size(), sample.continuation_ids.size());
      if (!tokenizer) continue;
      fmt::print("----\n{}\n---- (compressed here)\n{}\n----\n",
                 tokenizer->decode(sample.context_ids, false),
                 tokenizer->decode(sample.continuation_ids, false));
    }
  }
  fmt::print("{}: valid, {} cells\n", config.file.filename().string(), preparation.cells.size());
}

}  // namespace kv
