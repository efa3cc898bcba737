// tool_call: which tool to call with which arguments, from a catalogue of tools.
//
// protocol kv-exec-bench: rows of six columns. A chat around the row's context (the
// catalogue) is split at the context's end: what is before is prefilled and compressed once for all
// rows with this context, then each question is fed with the rest of the chat and answer_prefix.
// Both parts are tokenized alone, without special tokens, as in kvpress's pipeline.
//
// protocol kv-canary: one short prompt for each call, no chat template, the tokenizer's own special
// tokens; 256 tokens for an answer; its own three scores.
//
// Differs from kv-exec-bench: an answer may end at once (kvpress never checks the first token for
// the end of text), nothing is cut from a context unless max_context_length says so, and the
// conjunctions of its metrics stand beside them. Without data: ten tools and twenty requests of our
// own; kv-canary: twelve prompts of our own in its form.

#include <filesystem>
#include <map>
#include <memory>

#include "tasks/factories.h"
#include "tasks/gold_calls.h"
#include "tasks/six_columns.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

constexpr int kCanaryTokens = 256;

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return {
      {.name = "protocol",
       .type = Type::kChoice,
       .default_text = "kv-exec-bench",
       .doc = "kv-exec-bench: a catalogue and questions; kv-canary: one prompt for each call",
       .choices = {"kv-exec-bench", "kv-canary"}},
      {.name = "data",
       .type = Type::kFile,
       .default_text = "null",
       .doc = "six columns as JSON lines or .csv; kv-canary: lines with id, prompt, gold; else "
              "what ships"},
      {.name = "max_context_length",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "only so many tokens from a context's start; else all",
       .min = 1,
       .max = 1 << 24},
      {.name = "max_new_tokens",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "tokens of an answer; else as the row says (kv-canary: 256)",
       .min = 1,
       .max = 1 << 20},
  };
}

// What both protocols share: where the data are and how long an answer may be.
class CallTask : public Task {
 public:
  CallTask(const Params& params, const std::string& base_folder, const char* shipped)
      : canonical_("tool_call(" + params.canonical() + ")"),
        data_(params.is_null("data")
                  ? shipped_data(shipped)
                  : find_data(params.string("data"), base_folder, params.value("data").place)),
        max_context_(params.is_null("max_context_length") ? 0
                                                          : params.integer("max_context_length")),
        max_new_tokens_(params.is_null("max_new_tokens") ? 0 : params.integer("max_new_tokens")) {}

  std::string name() const override { return "tool_call"; }
  int version() const override { return 1; }
  std::string canonical() const override { return canonical_; }
  std::string data_hash() const override { return hash_text(read_text_file(data_)); }

 protected:
  const fs::path& data() const { return data_; }

  void check_tools(const TextTools& tools) const {
    if (!tools.encode) {
      throw_usage("task 'tool_call': the model has no tokenizer; perplexity takes token ids");
    }
  }

  // A sample with what depends on the parameters filled in.
  Sample new_sample(const std::string& id, const std::string& tool, std::vector<int32_t> context,
                    int row_tokens) const {
    Sample sample;
    sample.id = id;
    sample.context_ids = std::move(context);
    if (max_context_ > 0 && sample.context_ids.size() > static_cast<size_t>(max_context_)) {
      sample.context_ids.resize(static_cast<size_t>(max_context_));
    }
    sample.max_new_tokens = max_new_tokens_ > 0 ? max_new_tokens_ : row_tokens;
    sample.meta = {{"tool", tool}};
    return sample;
  }

 private:
  std::string canonical_;
  fs::path data_;
  int max_context_;     // tokens; 0: all
  int max_new_tokens_;  // 0: as the row says
};

size_t first_rows(size_t n_rows, int limit) {
  return limit < 0 ? n_rows : std::min(n_rows, static_cast<size_t>(limit));
}

class ExecBenchCalls : public CallTask {
 public:
  ExecBenchCalls(const Params& params, const std::string& base_folder)
      : CallTask(params, base_folder, "tool_calls.jsonl"),
        rows_(read_six_columns(data(), Columns::kQuestions)) {
    for (const SixColumnRow& row : rows_) gold_.push_back(read_gold_call(row.answer, row.place));
  }

  std::vector<MetricInfo> metrics() const override { return call_metrics(); }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    check_tools(tools);
    struct Context {
      std::vector<int32_t> ids;
      std::string tail;  // of the chat, after the question
    };
    std::map<std::string, Context> contexts;  // many rows share one
    std::vector<Sample> result;
    for (size_t i = 0; i < first_rows(rows_.size(), limit); ++i) {
      const SixColumnRow& row = rows_[i];
      const auto [known, is_new] = contexts.try_emplace(row.context);
      Context& context = known->second;
      if (is_new) {
        auto [head, tail] = tools.split_chat(row.context);
        context = {tools.encode(head, false), std::move(tail)};
      }
      Sample sample = new_sample(std::to_string(i), gold_[i].name, context.ids, row.max_new_tokens);
      sample.continuation_ids =
          tools.encode(row.question + context.tail + row.answer_prefix, false);
      add_length_note(sample, tools);
      result.push_back(std::move(sample));
    }
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    return score_call(gold_.at(std::stoul(sample.id)), answer.text);
  }

 private:
  std::vector<SixColumnRow> rows_;
  std::vector<GoldCall> gold_;  // one for each row
};

class CanaryCalls : public CallTask {
 public:
  CanaryCalls(const Params& params, const std::string& base_folder)
      : CallTask(params, base_folder, "canary_tool_calls.jsonl"),
        calls_(read_canary_calls(data())) {
    for (const CanaryCall& call : calls_) {
      if (!gold_.emplace(call.id, &call.gold).second) {
        throw_data("{}: two problems are called '{}'; ids must be unique", data().string(),
                   call.id);
      }
    }
  }

  std::vector<MetricInfo> metrics() const override { return canary_call_metrics(); }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    check_tools(tools);
    std::vector<Sample> result;
    for (size_t i = 0; i < first_rows(calls_.size(), limit); ++i) {
      const CanaryCall& call = calls_[i];
      result.push_back(
          new_sample(call.id, call.gold.name, tools.encode(call.prompt, true), kCanaryTokens));
      add_length_note(result.back(), tools);
    }
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    return score_canary_call(*gold_.at(sample.id), answer.text);
  }

 private:
  std::vector<CanaryCall> calls_;
  std::map<std::string, const GoldCall*> gold_;
};

}  // namespace

TaskInfo tool_call_task() {
  // Reports list metrics in this order; a protocol's headline stands before what both have.
  std::vector<MetricInfo> metrics = call_metrics();
  std::vector<MetricInfo> canary = canary_call_metrics();
  std::erase_if(canary, [](const MetricInfo& metric) { return metric.name == "json_valid"; });
  for (MetricInfo& metric : canary) metric.doc += " (kv-canary)";
  metrics.insert(metrics.begin() + 1, canary.begin(), canary.end());
  return {.name = "tool_call",
          .doc = "the right tool with the right arguments, from a catalogue of tools",
          .params = param_table(),
          .metrics = std::move(metrics),
          .make = [](const Params& params, const std::string& base) -> std::unique_ptr<Task> {
            if (params.string("protocol") == "kv-canary") {
              return std::make_unique<CanaryCalls>(params, base);
            }
            return std::make_unique<ExecBenchCalls>(params, base);
          }};
}

}  // namespace kv
