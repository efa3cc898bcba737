// common_words, frequent_words: a long list of words in random order; which of them come most often?
//
// RULER's two aggregation tasks (arXiv 2404.06654):
//   common_words    `count` words come `times` times each, all others `other_times` times; a solved
//                   example comes first
//   frequent_words  made-up words whose counts fall with their rank k as k^-alpha; the `count` most
//                   frequent are asked for
// Differs from RULER: the words are our own and stand without numbers; frequent_words asks for the
// first ranks (RULER's most frequent word is a mark that is not asked for); smaller default counts, so that a list
// fits into 512 tokens.

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "tasks/factories.h"
#include "tasks/long_prompt.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

using Type = ParamSpec::Type;

ParamSpec integer(const char* name, const char* default_text, double min, const char* doc) {
  return {.name = name,
          .type = Type::kInteger,
          .default_text = default_text,
          .doc = doc,
          .min = min,
          .max = 10000};
}

std::vector<ParamSpec> common_table() {
  return long_prompt_params({integer("count", "10", 1, "words that come often"),
                             integer("times", "10", 2, "how often each of them comes"),
                             integer("other_times", "2", 1, "how often each other word comes"),
                             {.name = "data",
                              .type = Type::kFile,
                              .default_text = "null",
                              .doc = "words, one a line; else 474 that ship"}},
                            1, 96);
}

std::vector<ParamSpec> frequent_table() {
  return long_prompt_params({integer("count", "3", 1, "words that are asked for"),
                             {.name = "alpha",
                              .type = Type::kNumber,
                              .default_text = "2",
                              .doc = "counts fall with the rank k as k^-alpha",
                              .min = 1.05,
                              .max = 10}},
                            0, 48);
}

// The list, the question and its answer. words: the asked ones first, each as often as it comes.
LongPrompt make_prompt(Draws& draws, std::vector<std::string> words,
                       std::vector<std::string> expected) {
  draws.shuffle(words);
  const size_t n = expected.size();
  LongPrompt prompt;
  prompt.context = fmt::format(
      "Here is a long list of words. Some come more often than others. Remember those.\n{}",
      fmt::join(words, " "));
  prompt.questions.push_back({fmt::format("\nWhich {} words come most often in this list? ", n),
                              fmt::format("The {} words that come most often are", n),
                              std::move(expected)});
  return prompt;
}

class CommonWords : public LongPromptTask {
 public:
  CommonWords(const Params& params, const std::string& base_folder)
      : LongPromptTask("common_words", params),
        count_(static_cast<size_t>(params.integer("count"))),
        times_(params.integer("times")),
        other_times_(params.integer("other_times")),
        words_(params.is_null("data")
                   ? shipped_words("common")
                   : lines_not_blank(read_text_file(find_data(params.string("data"), base_folder,
                                                              params.value("data").place)))) {
    if (times_ <= other_times_) {
      throw_usage("{}: times {} must be more than other_times {}", params.value("times").place,
                  times_, other_times_);
    }
    if (words_.size() <= count_) {
      throw_usage("{}: count {} needs more words than the {} of the list",
                  params.value("count").place, count_, words_.size());
    }
  }

 protected:
  LongPrompt build(Draws draws, size_t filler) const override {
    const std::vector<size_t> places = draws.places(words_.size(), count_ + filler);
    std::vector<std::string> list, expected;
    for (size_t i = 0; i < places.size(); ++i) {
      const std::string& word = words_[places[i]];
      if (i < count_) expected.push_back(word);
      list.insert(list.end(), static_cast<size_t>(i < count_ ? times_ : other_times_), word);
    }
    return make_prompt(draws, std::move(list), std::move(expected));
  }

  size_t example_filler() const override { return std::min<size_t>(count_, most_filler() - 1); }
  size_t most_filler() const override { return words_.size() - count_ + 1; }
  std::string data_text() const override { return fmt::format("{}", fmt::join(words_, "\n")); }

 private:
  size_t count_;
  int times_, other_times_;
  std::vector<std::string> words_;
};

class FrequentWords : public LongPromptTask {
 public:
  explicit FrequentWords(const Params& params)
      : LongPromptTask("frequent_words", params),
        count_(static_cast<size_t>(params.integer("count"))),
        alpha_(params.number("alpha")) {}

 protected:
  // filler: how often the first word comes more than in the shortest list, where the last asked word
  // comes twice. No other word comes as often as that.
  LongPrompt build(Draws draws, size_t filler) const override {
    const double first =
        std::ceil(2 * std::pow(static_cast<double>(count_), alpha_)) + static_cast<double>(filler);
    std::vector<std::string> list, expected;
    std::set<std::string> taken;
    size_t least_asked = 0;
    for (size_t rank = 1;; ++rank) {
      size_t times = static_cast<size_t>(first * std::pow(static_cast<double>(rank), -alpha_));
      if (rank > count_) times = std::min(times, least_asked - 1);
      if (times < 1) break;
      std::string word = draws.made_up(kParts);
      while (!taken.insert(word).second) word = draws.made_up(kParts);
      if (rank <= count_) {
        expected.push_back(word);
        least_asked = times;
      }
      list.insert(list.end(), times, word);
    }
    return make_prompt(draws, std::move(list), std::move(expected));
  }

  size_t example_filler() const override { return 0; }
  std::string data_text() const override { return ""; }

 private:
  static constexpr int kParts = 3;
  size_t count_;
  double alpha_;
};

}  // namespace

TaskInfo common_words_task() {
  return {.name = "common_words",
          .doc = "the words that come often in a long list (RULER)",
          .params = common_table(),
          .metrics = long_prompt_metrics(),
          .make = [](const Params& params, const std::string& base_folder) {
            return std::make_unique<CommonWords>(params, base_folder);
          }};
}

TaskInfo frequent_words_task() {
  return {.name = "frequent_words",
          .doc = "the most frequent of made-up words, whose counts fall by a power law (RULER)",
          .params = frequent_table(),
          .metrics = long_prompt_metrics(),
          .make = [](const Params& params, const std::string& /*base_folder*/) {
            return std::make_unique<FrequentWords>(params);
          }};
}

}  // namespace kv
