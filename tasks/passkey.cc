// passkey: digits hidden at a chosen depth of a long text are asked for at its end.
//
// Landmark Attention, arXiv 2305.16300, in the form of longctx_bench (its instruction, target and
// question; digits from Python's random with seed 42). The context is everything up to the
// question, the question is fed after compression; query_aware: true makes one text of both, as
// longctx_bench does.
//
// Differs from longctx_bench: by default a length counts the tokens of the whole prompt and the
// background is the prose that ships. `unit: words` with `data` gives longctx_bench's inputs byte
// for byte.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <set>

#include "tasks/factories.h"
#include "tasks/haystack.h"
#include "tasks/mersenne.h"
#include "tasks/passkey_text.h"
#include "tasks/scorers/text_match.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return {
      {.name = "lengths",
       .type = Type::kIntegerList,
       .default_text = "[512,1024,2048]",
       .doc = "lengths of the prompt, in units",
       .min = 1,
       .max = 1 << 24},
      {.name = "depths",
       .type = Type::kInteger,
       .default_text = "5",
       .doc = "places of the digits, evenly from the start (0) to the end (1); a single one is the "
              "middle",
       .min = 1,
       .max = 1000},
      {.name = "repeats",
       .type = Type::kInteger,
       .default_text = "3",
       .doc = "different digits for each length and depth",
       .min = 1,
       .max = 1000},
      {.name = "digits",
       .type = Type::kInteger,
       .default_text = "7",
       .doc = "digits of a key",
       .min = 1,
       .max = 1000},
      {.name = "seed",
       .type = Type::kInteger,
       .default_text = "42",
       .doc = "of the digits (Python's random.seed)",
       .min = 0,
       .max = 2147483647},
      {.name = "unit",
       .type = Type::kChoice,
       .default_text = "tokens",
       .doc = "tokens: of the whole prompt, at most; words: of the background, exactly "
              "(longctx_bench)",
       .choices = {"tokens", "words"}},
      {.name = "data",
       .type = Type::kFile,
       .default_text = "null",
       .doc = "background: a text file or a folder of .txt files; else the prose that ships"},
      {.name = "max_new_tokens",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "tokens of an answer; else as the run says",
       .min = 1,
       .max = 1 << 20},
  };
}

std::vector<MetricInfo> metric_table() {
  return {{"exact_match", true, "share of answers that contain the key, both normalised"},
          {"partial_match", true,
           "longest part of the key that the answer contains, share of its digits"}};
}

// One prompt, before its tokens.
struct Needle {
  int length = 0;  // in units
  double depth = 0;
  int repeat = 0;
  std::string key;
};

class Passkey : public Task {
 public:
  Passkey(const Params& params, const std::string& base_folder)
      : canonical_("passkey(" + params.canonical() + ")"),
        place_(params.value("lengths").place),
        lengths_(params.integers("lengths")),
        depths_(params.integer("depths")),
        repeats_(params.integer("repeats")),
        digits_(params.integer("digits")),
        seed_(static_cast<uint32_t>(params.integer("seed"))),
        in_words_(params.string("unit") == "words"),
        max_new_tokens_(params.is_null("max_new_tokens") ? 0 : params.integer("max_new_tokens")) {
    if (lengths_.empty())
      throw_usage("{}: lengths: expected at least one length, found none", place_);
    std::set<int> seen;
    for (int length : lengths_) {
      if (length < 1 || !seen.insert(length).second) {
        throw_usage("{}: lengths: expected different lengths of 1 or more, found {}{}", place_,
                    length, length < 1 ? "" : " twice");
      }
    }
    if (!params.is_null("data")) {
      data_ = find_data(params.string("data"), base_folder, params.value("data").place);
    }
  }

  std::string name() const override { return "passkey"; }
  // 2: the question inside the context is tokenized together with it.
  int version() const override { return query_aware() ? 2 : 1; }
  std::string canonical() const override { return canonical_; }
  std::vector<MetricInfo> metrics() const override { return metric_table(); }
  std::string data_hash() const override { return hash_text(background()); }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    if (!tools.encode) {
      throw_usage("task 'passkey': the model has no tokenizer; perplexity takes token ids");
    }
    const std::vector<Needle> all = needles();
    const size_t count = limit < 0 ? all.size() : std::min(all.size(), static_cast<size_t>(limit));
    Haystack haystack(background());
    std::vector<Sample> result;
    size_t n_words = 0;  // the last prompt's: the next one needs nearly as many
    for (size_t i = 0; i < count; ++i) {
      n_words = in_words_ ? static_cast<size_t>(all[i].length)
                          : words_that_fit(all[i], haystack, tools, n_words);
      result.push_back(make_sample(all[i], n_words, haystack, tools));
    }
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    const std::string& key = sample.meta.at("key");
    const bool found =
        normalize_answer(answer.text).find(normalize_answer(key)) != std::string::npos;
    const size_t common = longest_common_substring(key, answer.text);
    return {{"exact_match", found ? 1.0 : 0.0},
            {"partial_match", static_cast<double>(common) / static_cast<double>(key.size())}};
  }

 private:
  std::string background() const {
    return read_text_file_or_folder(data_.empty() ? shipped_data("prose") : data_);
  }

  double depth(int index) const {
    return depths_ == 1 ? 0.5 : static_cast<double>(index) / (depths_ - 1);
  }

  // Keys are drawn in this order, whatever the limit, so that a sample keeps its key.
  std::vector<Needle> needles() const {
    PythonRandom random(seed_);
    std::vector<Needle> all;
    for (int length : lengths_) {
      for (int d = 0; d < depths_; ++d) {
        for (int repeat = 0; repeat < repeats_; ++repeat) {
          all.push_back({length, depth(d), repeat, random.digits(digits_)});
        }
      }
    }
    return all;
  }

  std::string context(const Needle& needle, size_t n_words, Haystack& haystack) const {
    return kPasskeyInstruction +
           haystack.with_needle(n_words, needle.depth, passkey_needle(needle.key));
  }

  size_t prompt_tokens(const Needle& needle, size_t n_words, Haystack& haystack,
                       const TextTools& tools) const {
    return tools.encode(context(needle, n_words, haystack), true).size() +
           tools.encode(kPasskeyQuestion, false).size();
  }

  // The largest number of words with which the prompt has at most needle.length tokens. The last
  // prompt's number is tried first, since keys and depths hardly change it.
  size_t words_that_fit(const Needle& needle, Haystack& haystack, const TextTools& tools,
                        size_t guess) const {
    const size_t length = static_cast<size_t>(needle.length);
    const auto fits = [&](size_t n) { return prompt_tokens(needle, n, haystack, tools) <= length; };
    const size_t empty = prompt_tokens(needle, 0, haystack, tools);
    if (empty > length) {
      throw_usage("{}: length {} is too short: instruction, key and question alone take {} tokens",
                  place_, length, empty);
    }
    return largest_that_fits(length + 1, guess, fits);  // a word takes a token or more
  }

  Sample make_sample(const Needle& needle, size_t n_words, Haystack& haystack,
                     const TextTools& tools) const {
    Sample sample;
    sample.id =
        fmt::format("len{}-depth{}-{}", needle.length, format_number(needle.depth), needle.repeat);
    const std::string text = context(needle, n_words, haystack);
    sample.continuation_ids = tools.encode(kPasskeyQuestion, false);
    if (query_aware()) {
      sample.question_tokens = static_cast<int>(sample.continuation_ids.size());
      sample.continuation_ids.clear();
    }
    sample.context_ids = tools.encode(query_aware() ? text + kPasskeyQuestion : text, true);
    sample.max_new_tokens = max_new_tokens_;
    sample.meta = {{"key", needle.key},
                   {"length", std::to_string(needle.length)},
                   {"depth", format_number(needle.depth)}};
    add_length_note(sample, tools);
    return sample;
  }

  std::string canonical_;
  std::string place_;
  std::vector<int> lengths_;
  int depths_, repeats_, digits_;
  uint32_t seed_;
  bool in_words_;
  int max_new_tokens_;  // 0: as the run says
  fs::path data_;       // empty: what ships
};

}  // namespace

TaskInfo passkey_task() {
  return {.name = "passkey",
          .doc = "digits hidden at a chosen depth of a long text, asked for at its end",
          .params = param_table(),
          .metrics = metric_table(),
          .make = [](const Params& params, const std::string& base_folder) {
            return std::make_unique<Passkey>(params, base_folder);
          }};
}

}  // namespace kv
