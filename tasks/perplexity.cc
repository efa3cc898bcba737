// perplexity: how well the second part of a text is predicted from a compressed cache of its first
// part.
//
// Each window of tokens is cut in two. The first part is prefilled and compressed; every token of
// the second part counts, the first of them predicted by the last logits of the prefill:
//   nll = sum over counted tokens of -log p / number of counted tokens,   ppl = exp(nll)
//
// Three ways from data to windows (`join`):
//   raw   the whole text tokenised once, no special tokens; windows of exactly max_length tokens,
//   the tail dropped eos   lines that are not blank, tokenised one by one, EOS between them; cut
//   likewise (Efficient-LLM's protocol) rows  each row is a window of its own, at most its first
//   max_length tokens, with the special tokens that the
//         tokenizer adds by itself; the cell's ppl is the mean of the rows' (kv-canary's protocol)
// A .jsonl file's `text` fields stand for the lines of a text. A .json file holds lists of token
// ids: raw and rows take each list alone, eos joins them, and no tokenizer is asked.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "tasks/factories.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return {
      {.name = "data",
       .type = Type::kFile,
       .default_text = "null",
       .doc = "text file, .jsonl with a text field, or .json list of token-id lists; else the "
              "prose that ships"},
      {.name = "join",
       .type = Type::kChoice,
       .default_text = "raw",
       .doc =
           "raw: the whole text; eos: lines joined by EOS; rows: each row alone, mean of their ppl",
       .choices = {"raw", "eos", "rows"}},
      {.name = "max_length",
       .type = Type::kInteger,
       .default_text = "1024",
       .doc = "tokens of a window",
       .min = 2,
       .max = 1 << 24},
      {.name = "prefix_ratio",
       .type = Type::kNumber,
       .default_text = "0.5",
       .doc = "share of a window that is prefilled and compressed",
       .min = 0,
       .max = 1,
       .below_max = true},
      {.name = "samples",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "at most this many windows, from the start; else all",
       .min = 1,
       .max = 1 << 30},
      {.name = "min_chars",
       .type = Type::kInteger,
       .default_text = "0",
       .doc = "rows: leave out rows of fewer bytes (kv-canary: 201)",
       .min = 0,
       .max = 1 << 30},
  };
}

std::vector<MetricInfo> metric_table() {
  return {{"ppl", false, "exp(nll); rows: the mean of the rows' perplexities"},
          {"nll", false, "mean over all counted tokens of -log p, nats per token"},
          {"tokens", true, "tokens that were counted"}};
}

class Perplexity : public Task {
 public:
  Perplexity(const Params& params, const std::string& base_folder)
      : canonical_("perplexity(" + params.canonical() + ")"),
        join_(params.string("join")),
        max_length_(params.integer("max_length")),
        prefix_ratio_(params.number("prefix_ratio")),
        samples_(params.is_null("samples") ? -1 : params.integer("samples")),
        min_chars_(static_cast<size_t>(params.integer("min_chars"))) {
    if (!params.is_null("data")) {
      data_ = find_data(params.string("data"), base_folder, params.value("data").place);
    }
    if (join_ != "rows" && prefix_tokens(max_length_) < 1) {
      throw_usage(
          "{}: prefix_ratio {} leaves no token to prefill of a window of {}; raise one of them",
          params.value("prefix_ratio").place, prefix_ratio_, max_length_);
    }
  }

  std::string name() const override { return "perplexity"; }
  int version() const override { return 1; }
  std::string canonical() const override { return canonical_; }
  std::vector<MetricInfo> metrics() const override { return metric_table(); }
  std::string data_hash() const override { return hash_text(read_text_file_or_folder(file())); }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    const std::vector<Ids> all = windows(tools);
    size_t count = all.size();
    if (limit >= 0) count = std::min(count, static_cast<size_t>(limit));
    if (samples_ >= 0) count = std::min(count, static_cast<size_t>(samples_));
    std::vector<Sample> result;
    for (size_t i = 0; i < count; ++i) result.push_back(make_sample(all[i], i, tools));
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    KV_CHECK(answer.nll.size() == sample.continuation_ids.size(),
             "sample {}: {} values for {} tokens", sample.id, answer.nll.size(),
             sample.continuation_ids.size());
    double sum = 0;
    for (float nll : answer.nll) sum += nll;
    const double tokens = static_cast<double>(answer.nll.size());
    return {{"ppl", std::exp(sum / tokens)}, {"nll", sum / tokens}, {"tokens", tokens}};
  }

 private:
  fs::path file() const { return data_.empty() ? shipped_data("prose") : data_; }

  // Truncated in double precision, as Python's int(n * ratio) is.
  int prefix_tokens(int n) const { return static_cast<int>(n * prefix_ratio_); }

  Sample make_sample(const Ids& window, size_t index, const TextTools& tools) const {
    const int n = static_cast<int>(window.size());
    const int prefix = std::max(1, prefix_tokens(n));
    Sample sample;
    sample.id = fmt::format("ppl{}", index);
    sample.kind = Sample::Kind::kScore;
    sample.context_ids.assign(window.begin(), window.begin() + prefix);
    sample.continuation_ids.assign(window.begin() + prefix, window.end());
    if (tools.max_position > 0 && n > tools.max_position) {
      sample.meta["note"] = fmt::format("{} tokens; the model's configuration names {} positions",
                                        n, tools.max_position);
    }
    return sample;
  }

  // Every window of the data: (>= 2 tokens) each.
  std::vector<Ids> windows(const TextTools& tools) const {
    std::vector<Ids> runs = token_runs(tools);
    if (join_ == "rows") {
      std::vector<Ids> rows;
      for (Ids& run : runs) {
        run.resize(std::min(run.size(), static_cast<size_t>(max_length_)));
        if (run.size() >= 2) rows.push_back(std::move(run));  // one token leaves none to score
      }
      if (rows.empty()) throw_data("{}: no row has 2 tokens or more", file().string());
      return rows;
    }
    std::vector<Ids> chunks;
    size_t longest = 0;
    for (const Ids& run : runs) {
      longest = std::max(longest, run.size());
      const size_t length = static_cast<size_t>(max_length_);
      for (size_t begin = 0; begin + length <= run.size(); begin += length) {
        chunks.emplace_back(run.begin() + begin, run.begin() + begin + length);
      }
    }
    if (chunks.empty()) {
      throw_data(
          "{}: {} tokens are fewer than one window of max_length {}; set a smaller max_length",
          file().string(), longest, max_length_);
    }
    return chunks;
  }

  // Token sequences in order: rows: one for each row; raw and eos: what windows are cut from.
  std::vector<Ids> token_runs(const TextTools& tools) const {
    if (data_.extension() == ".json") {
      std::vector<Ids> lists = read_token_lists(data_);
      return join_ == "eos" ? std::vector<Ids>{joined_by_eos(lists, tools)} : lists;
    }
    if (!tools.encode) {
      throw_usage(
          "task 'perplexity': the model has no tokenizer; give it token ids ('data: FILE.json', a "
          "list of token-id lists)");
    }
    if (join_ == "raw") return {tools.encode(whole_text(), false)};
    std::vector<Ids> runs;
    for (const std::string& row : rows_of_text()) {
      if (join_ == "eos") {
        runs.push_back(tools.encode(row, false));
      } else if (const std::string text(strip(row)); text.size() >= min_chars_) {
        runs.push_back(tools.encode(text, true));
      }
    }
    return join_ == "eos" ? std::vector<Ids>{joined_by_eos(runs, tools)} : runs;
  }

  std::string whole_text() const {
    if (data_.extension() != ".jsonl") return read_text_file_or_folder(file());
    std::string text;
    for (const std::string& row : read_jsonl_texts(data_)) text += (text.empty() ? "" : "\n") + row;
    return text;
  }

  std::vector<std::string> rows_of_text() const {
    if (data_.extension() != ".jsonl") return lines_not_blank(read_text_file_or_folder(file()));
    std::vector<std::string> rows;
    for (std::string& row : read_jsonl_texts(data_)) {
      if (!strip(row).empty()) rows.push_back(std::move(row));
    }
    return rows;
  }

  static Ids joined_by_eos(const std::vector<Ids>& runs, const TextTools& tools) {
    if (tools.eos_id < 0) {
      throw_usage("task 'perplexity': join 'eos' needs a model that names an EOS token; use 'raw'");
    }
    Ids joined;
    for (size_t i = 0; i < runs.size(); ++i) {
      if (i > 0) joined.push_back(tools.eos_id);
      joined.insert(joined.end(), runs[i].begin(), runs[i].end());
    }
    return joined;
  }

  std::string canonical_;
  std::string join_;
  int max_length_;
  double prefix_ratio_;
  int samples_;  // < 0: all
  size_t min_chars_;
  fs::path data_;  // empty: what ships
};

}  // namespace

TaskInfo perplexity_task() {
  return {
      .name = "perplexity",
      .doc =
          "negative log-likelihood of a text's second part, from the compressed cache of its first",
      .params = param_table(),
      .metrics = metric_table(),
      .generates = false,
      .make = [](const Params& params, const std::string& base_folder) {
        return std::make_unique<Perplexity>(params, base_folder);
      }};
}

}  // namespace kv
