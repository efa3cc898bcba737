// continuation: a text is read up to a place and continued greedily from its compressed cache.
//
// Of every window of `context` + `question` + `max_new_tokens` tokens the context is prefilled and
// compressed, the question (the window's next tokens) is fed, and then max_new_tokens tokens are
// generated; the end-of-text token does not stop them. It shows where a compressed cache leaves the
// full cache's path, and it is the shape of decoding benchmarks: every answer is equally long.
//
//   token_match = share of the generated tokens that the text itself has at the same place
//   same_until  = generated tokens before the first that the text does not have there

#include <charconv>
#include <filesystem>
#include <memory>
#include <utility>

#include "tasks/factories.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

constexpr const char* kExpected = "expected_ids";  // meta: the text's own tokens

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return {
      {.name = "data",
       .type = Type::kFile,
       .default_text = "null",
       .doc = "text file, .jsonl with a text field, or .json list of token-id lists; else the "
              "prose that ships"},
      {.name = "context",
       .type = Type::kInteger,
       .default_text = "512",
       .doc = "tokens of a window that are prefilled and compressed",
       .min = 1,
       .max = 1 << 24},
      {.name = "question",
       .type = Type::kInteger,
       .default_text = "1",
       .doc = "tokens that are fed to the compressed cache before the answer",
       .min = 0,
       .max = 1 << 24},
      {.name = "max_new_tokens",
       .type = Type::kInteger,
       .default_text = "32",
       .doc = "tokens of an answer",
       .min = 1,
       .max = 1 << 24},
      {.name = "samples",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "at most this many windows, from the start; else all",
       .min = 1,
       .max = 1 << 30},
  };
}

std::vector<MetricInfo> metric_table() {
  return {{"token_match", true, "share of the generated tokens that the text has there"},
          {"same_until", true, "generated tokens before the first that the text does not have"}};
}

Ids parse_ids(const std::string& text) {
  Ids ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int32_t id = 0;
    at = std::from_chars(at, end, id).ptr + 1;  // past the blank
    ids.push_back(id);
  }
  return ids;
}

class Continuation : public Task {
 public:
  Continuation(const Params& params, const std::string& base_folder)
      : canonical_("continuation(" + params.canonical() + ")"),
        context_(static_cast<size_t>(params.integer("context"))),
        question_(static_cast<size_t>(params.integer("question"))),
        answer_(static_cast<size_t>(params.integer("max_new_tokens"))),
        samples_(params.is_null("samples") ? -1 : params.integer("samples")) {
    if (!params.is_null("data")) {
      data_ = find_data(params.string("data"), base_folder, params.value("data").place);
    }
  }

  std::string name() const override { return "continuation"; }
  int version() const override { return 1; }
  std::string canonical() const override { return canonical_; }
  std::vector<MetricInfo> metrics() const override { return metric_table(); }
  std::string data_hash() const override { return hash_text(read_text_file_or_folder(file())); }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    std::vector<Sample> result;
    const size_t window = context_ + question_ + answer_;
    size_t longest = 0;
    for (const Ids& run : token_runs(tools)) {
      longest = std::max(longest, run.size());
      for (size_t begin = 0; begin + window <= run.size(); begin += window) {
        if (full(result.size(), limit) || full(result.size(), samples_)) return result;
        result.push_back(make_sample(run, begin, result.size()));
      }
    }
    if (result.empty() && limit != 0) {
      throw_data("{}: {} tokens are fewer than one window of {} + {} + {}; set a smaller context",
                 file().string(), longest, context_, question_, answer_);
    }
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    const Ids expected = parse_ids(sample.meta.at(kExpected));
    size_t n_equal = 0, same_until = 0;
    for (size_t i = 0; i < std::min(expected.size(), answer.ids.size()); ++i) {
      const bool equal = expected[i] == answer.ids[i];
      if (equal && same_until == i) same_until = i + 1;
      n_equal += equal ? 1 : 0;
    }
    return {{"token_match", static_cast<double>(n_equal) / static_cast<double>(expected.size())},
            {"same_until", static_cast<double>(same_until)}};
  }

 private:
  static bool full(size_t n, int limit) { return limit >= 0 && n >= static_cast<size_t>(limit); }

  fs::path file() const { return data_.empty() ? shipped_data("prose") : data_; }

  Sample make_sample(const Ids& run, size_t begin, size_t index) const {
    const auto at = [&](size_t offset) {
      return run.begin() + static_cast<std::ptrdiff_t>(begin + offset);
    };
    Sample sample;
    sample.id = fmt::format("text{}", index);
    sample.context_ids.assign(at(0), at(context_));
    sample.continuation_ids.assign(at(context_), at(context_ + question_));
    sample.max_new_tokens = static_cast<int>(answer_);
    sample.ignore_end = true;
    const Ids expected(at(context_ + question_), at(context_ + question_ + answer_));
    sample.meta[kExpected] = fmt::format("{}", fmt::join(expected, " "));
    return sample;
  }

  // Token sequences that windows are cut from.
  std::vector<Ids> token_runs(const TextTools& tools) const {
    if (data_.extension() == ".json") return read_token_lists(data_);
    if (!tools.encode) {
      throw_usage(
          "task 'continuation': the model has no tokenizer; give it token ids ('data: FILE.json', "
          "a list of token-id lists)");
    }
    if (data_.extension() != ".jsonl")
      return {tools.encode(read_text_file_or_folder(file()), false)};
    std::vector<Ids> runs;
    for (const std::string& row : read_jsonl_texts(data_)) runs.push_back(tools.encode(row, false));
    return runs;
  }

  std::string canonical_;
  size_t context_, question_, answer_;  // tokens
  int samples_;                         // < 0: all
  fs::path data_;                       // empty: what ships
};

}  // namespace

TaskInfo continuation_task() {
  return {.name = "continuation",
          .doc = "greedy continuation of a text for a fixed number of tokens, end of text ignored",
          .params = param_table(),
          .metrics = metric_table(),
          .make = [](const Params& params, const std::string& base_folder) {
            return std::make_unique<Continuation>(params, base_folder);
          }};
}

}  // namespace kv
