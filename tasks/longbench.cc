// longbench: questions, summaries, examples and code over long documents, 16 data sets.
//
// LongBench (arXiv 2308.14508) as longctx_bench runs it: a prompt of its own for each set, the middle
// cut out of what is too long (before the chat template), a chat only where the set has no examples or
// code to go on from, greedy answers, and each set's own metric, best over its answers.
//
// By default everything up to the end of the row's context is prefilled and compressed and the rest
// follows, tokenized alone. query_aware: true puts all of it into what is compressed, tokenized at
// once, which is what longctx_bench does.
//
// Differs from longctx_bench: any end-of-text token of the model ends an answer (there the
// tokenizer's), the chat template writes the only beginning-of-text token, the template is the model's
// own, and without `data` one short made-up row stands for each set.

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "tasks/factories.h"
#include "tasks/longbench_data.h"
#include "tasks/longbench_sets.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

constexpr int kTemplateTokens = 128;  // left for a chat around the prompt

std::vector<std::string> set_names() {
  std::vector<std::string> names;
  for (const LongBenchSet& set : longbench_sets()) names.emplace_back(set.name);
  return names;
}

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return {
      {.name = "dataset",
       .type = Type::kChoice,
       .default_text = "",
       .doc = "one of the 16 sets; a list makes a task each, without it all are",
       .choices = set_names(),
       .required = true},
      {.name = "data",
       .type = Type::kFile,
       .default_text = "null",
       .doc = "folder of LongBench's files, <dataset>.jsonl; else one made-up row of each set"},
      {.name = "prompt",
       .type = Type::kString,
       .default_text = "null",
       .doc = "with {context} and {input}; else the set's own"},
      {.name = "chat",
       .type = Type::kBool,
       .default_text = "null",
       .doc = "true: the model's chat template, which it must have; false: none; else where it has "
              "one; never for sets of examples or code"},
      {.name = "truncate",
       .type = Type::kChoice,
       .default_text = "middle",
       .doc = "what goes from a prompt above max_length tokens: its middle, or nothing",
       .choices = {"middle", "none"}},
      {.name = "max_length",
       .type = Type::kInteger,
       .default_text = "null",
       .doc =
           "tokens of a prompt before the template; else the model's positions less the answer's "
           "and 128",
       .min = 2,
       .max = 1 << 30},
      {.name = "max_new_tokens",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "tokens of an answer; else the set's own",
       .min = 1,
       .max = 1 << 20},
  };
}

std::vector<MetricInfo> metric_table() {
  return {
      {"qa_f1_score", true, "F1 of the words, best over the answers"},
      {"rouge_score", true, "ROUGE-L of the Python package rouge, best over the answers"},
      {"classification_score", true, "1 / classes named, where the right one is among them"},
      {"retrieval_score", true, "share of the numbers named that are the paragraph's"},
      {"count_score", true, "share of the numbers named that are the count"},
      {"code_sim_score", true, "similarity of the first line of code to the expected one"},
  };
}

class LongBench : public Task {
 public:
  LongBench(const Params& params, const std::string& base_folder)
      : canonical_("longbench(" + params.canonical() + ")"),
        place_(params.value("dataset").place),
        set_(*find_longbench_set(params.string("dataset"))),
        prompt_(params.is_null("prompt") ? set_.prompt : params.string("prompt")),
        must_chat_(!params.is_null("chat") && params.boolean("chat")),
        may_chat_(set_.chat && (params.is_null("chat") || must_chat_)),
        cuts_middle_(params.string("truncate") == "middle"),
        max_length_(params.is_null("max_length") ? 0 : params.integer("max_length")),
        max_new_tokens_(params.is_null("max_new_tokens") ? set_.max_new_tokens
                                                         : params.integer("max_new_tokens")) {
    const fs::path folder = params.is_null("data") ? shipped_data("longbench")
                                                   : find_data(params.string("data"), base_folder,
                                                               params.value("data").place);
    check_longbench_folder(folder, {&set_}, place_);
    file_ = longbench_file(folder, set_);
  }

  std::string name() const override { return std::string("longbench_") + set_.name; }
  int version() const override { return 1; }
  std::string canonical() const override { return canonical_; }
  std::string data_hash() const override { return hash_text(read_text_file(file_)); }
  std::vector<MetricInfo> metrics() const override {
    std::vector<MetricInfo> metrics = metric_table();
    std::erase_if(metrics, [&](const MetricInfo& metric) { return metric.name != set_.metric; });
    return metrics;
  }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    if (!tools.encode) {
      throw_usage("task 'longbench': the model has no tokenizer; perplexity takes token ids");
    }
    if (must_chat_ && set_.chat && !tools.has_chat_template) {
      throw_usage("{}: chat: true, but the model has no chat template; expected false", place_);
    }
    std::vector<LongBenchRow> rows = read_longbench_rows(file_, set_);
    if (limit >= 0) rows.resize(std::min(rows.size(), static_cast<size_t>(limit)));
    std::vector<Sample> result;
    for (size_t i = 0; i < rows.size(); ++i) {
      result.push_back(make_sample(rows[i], tools));
      result.back().id = std::to_string(i);
    }
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    LongBenchTruth truth;
    truth.answers = nlohmann::json::parse(sample.meta.at("answers"));
    const auto classes = sample.meta.find("all_classes");
    if (classes != sample.meta.end()) truth.classes = nlohmann::json::parse(classes->second);
    const std::string prediction = longbench_prediction(set_, answer.text);
    return {{set_.metric, longbench_score(set_, prediction, truth)}};
  }

 private:
  // Without its middle where it has more tokens than max_length: the halves' texts joined.
  LongBenchPrompt shortened(LongBenchPrompt prompt, const TextTools& tools) const {
    const int most =
        max_length_ > 0 ? max_length_ : tools.max_position - max_new_tokens_ - kTemplateTokens;
    if (!cuts_middle_ || (max_length_ == 0 && tools.max_position == 0)) return prompt;
    const Ids ids = tools.encode(prompt.context + prompt.question, true);
    const auto half = static_cast<std::ptrdiff_t>(std::max(most, 2) / 2);
    if (static_cast<int>(ids.size()) <= std::max(most, 2)) return prompt;
    const std::string text = tools.decode(Ids(ids.begin(), ids.begin() + half)) +
                             tools.decode(Ids(ids.end() - half, ids.end()));
    const size_t size = prompt.question.size();
    if (text.size() <= size || text.compare(text.size() - size, size, prompt.question) != 0) {
      if (query_aware()) return {text, ""};  // all of it is compressed anyway
      throw_usage("{}: max_length {} is too short: what follows the context alone takes {} tokens",
                  place_, most, tools.encode(prompt.question, false).size());
    }
    return {text.substr(0, text.size() - size), prompt.question};
  }

  Sample make_sample(const LongBenchRow& row, const TextTools& tools) const {
    LongBenchPrompt prompt = shortened(fill_longbench_prompt(prompt_, row, place_), tools);
    const bool chat = may_chat_ && tools.has_chat_template;
    Sample sample;
    if (query_aware()) {
      std::string text = prompt.context + prompt.question;
      const size_t n_question = tools.encode(prompt.question, false).size();
      if (chat) {
        const auto [head, tail] = tools.split_chat(text);
        text = head + tail;
      }
      sample.context_ids = tools.encode(text, !chat);
      sample.question_tokens =
          static_cast<int>(std::clamp<size_t>(n_question, 1, sample.context_ids.size()));
    } else {
      std::string tail;
      if (chat) std::tie(prompt.context, tail) = tools.split_chat(prompt.context);
      sample.context_ids = tools.encode(prompt.context, !chat);
      sample.continuation_ids = tools.encode(prompt.question + tail, false);
    }
    sample.max_new_tokens = max_new_tokens_;
    if (set_.ends_at_line_feed) {
      sample.end_ids = {tools.encode("\n", false).back()};
      sample.never_empty = true;
    }
    sample.meta = {{"answers", nlohmann::json(row.truth.answers).dump()},
                   {"length", std::to_string(row.length)}};
    if (!row.truth.classes.empty())
      sample.meta["all_classes"] = nlohmann::json(row.truth.classes).dump();
    add_length_note(sample, tools);
    return sample;
  }

  std::string canonical_, place_;
  const LongBenchSet& set_;
  std::string prompt_;
  bool must_chat_, may_chat_, cuts_middle_;
  int max_length_;  // tokens; 0: as the model says
  int max_new_tokens_;
  fs::path file_;
};

Value with_dataset(Value task, Value dataset) {
  if (!task.is_map()) {
    Value map;
    map.kind = Value::Kind::kMap;
    map.place = task.place;
    map.entries.emplace_back("name", std::move(task));
    task = std::move(map);
  }
  std::erase_if(task.entries, [](const auto& entry) { return entry.first == "dataset"; });
  task.entries.insert(task.entries.begin() + 1, {"dataset", std::move(dataset)});
  return task;
}

// A task for each set: those of a list, or all; every file of the folder is looked for first.
std::vector<Value> split(const Value& task, const std::string& base_folder) {
  const Value* dataset = task.is_map() ? task.find("dataset") : nullptr;
  std::vector<Value> wanted;
  if (dataset == nullptr || dataset->is_null()) {
    for (const LongBenchSet& set : longbench_sets()) {
      wanted.push_back(Value::of(set.name));
      wanted.back().place = task.place;
    }
  } else if (dataset->is_list()) {
    wanted = dataset->items;
  } else {
    return {task};
  }
  const Value* data = task.is_map() ? task.find("data") : nullptr;
  if (data != nullptr && data->is_string()) {
    std::vector<const LongBenchSet*> sets;
    for (const Value& name : wanted) {
      const LongBenchSet* set = name.is_string() ? find_longbench_set(name.text) : nullptr;
      if (set != nullptr) sets.push_back(set);  // what is none is an error of that task
    }
    check_longbench_folder(find_data(data->text, base_folder, data->place), sets, data->place);
  }
  std::vector<Value> tasks;
  for (Value& name : wanted) tasks.push_back(with_dataset(task, std::move(name)));
  return tasks;
}

}  // namespace

TaskInfo longbench_task() {
  return {.name = "longbench",
          .doc = "LongBench: 16 data sets of long documents with questions, examples or code",
          .params = param_table(),
          .metrics = metric_table(),
          .make =
              [](const Params& params, const std::string& base_folder) {
                return std::make_unique<LongBench>(params, base_folder);
              },
          .split = split};
}

}  // namespace kv
