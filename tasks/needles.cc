// needles: named pass keys are hidden in a long text; the keys of one or several names are asked for.
//
// RULER's needle tasks (arXiv 2404.06654), by `kind`, with `count` = 4 as there:
//   single      one key is hidden and asked for
//   multikey    `count` keys of different names are hidden, one is asked for
//   multivalue  one name has `count` keys, all are asked for
//   multiquery  `count` keys of different names are hidden, all are asked for
// haystack=needles fills the text with keys of other names instead of prose: everything but what is
// asked for is a distractor.
//
// Differs from RULER: sentences, names and prose are our own; keys are digits; needles stand before
// any word, not only between sentences. ask=apart puts the questions of multiquery one by one, each to
// a fresh copy of the compressed context.

#include <memory>
#include <utility>

#include "tasks/factories.h"
#include "tasks/haystack.h"
#include "tasks/long_prompt.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInstruction =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I "
    "will quiz you about the important information there.\n";

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return long_prompt_params(
      {{.name = "kind",
        .type = Type::kChoice,
        .default_text = "single",
        .doc =
            "what is hidden and asked for: one key, one of several, several of one name, several",
        .choices = {"single", "multikey", "multivalue", "multiquery"}},
       {.name = "count",
        .type = Type::kInteger,
        .default_text = "4",
        .doc = "names or keys where the kind has several",
        .min = 2,
        .max = 100},
       {.name = "digits",
        .type = Type::kInteger,
        .default_text = "7",
        .doc = "digits of a key",
        .min = 1,
        .max = 100},
       {.name = "haystack",
        .type = Type::kChoice,
        .default_text = "prose",
        .doc = "what stands around: prose, or keys of other names (needles)",
        .choices = {"prose", "needles"}},
       {.name = "ask",
        .type = Type::kChoice,
        .default_text = "together",
        .doc = "multiquery: all in one question (together) or each alone (apart)",
        .choices = {"together", "apart"}},
       {.name = "data",
        .type = Type::kFile,
        .default_text = "null",
        .doc = "prose: a text file or a folder of .txt files; else what ships"}},
      0, 64);
}

struct Needle {
  std::string name, key;
};

std::string sentence(const Needle& needle, bool one_of_several) {
  return fmt::format("{} of the {} is {}.", one_of_several ? "One pass key" : "The pass key",
                     needle.name, needle.key);
}

class Needles : public LongPromptTask {
 public:
  Needles(const Params& params, const std::string& base_folder)
      : LongPromptTask("needles", params),
        kind_(params.string("kind")),
        count_(static_cast<size_t>(params.integer("count"))),
        digits_(params.integer("digits")),
        among_needles_(params.string("haystack") == "needles"),
        apart_(params.string("ask") == "apart"),
        nouns_(shipped_words("nouns")),
        adjectives_(shipped_words("adjectives")),
        prose_(read_text_file_or_folder(
            params.is_null("data")
                ? shipped_data("prose")
                : find_data(params.string("data"), base_folder, params.value("data").place))),
        haystack_(prose_) {
    if (apart_ && kind_ != "multiquery")
      throw_usage("{}: ask: apart is for kind: multiquery", params.value("ask").place);
    if (!params.is_null("data") && among_needles_)
      throw_usage("{}: haystack: needles has no prose; leave data out", params.value("data").place);
  }

 protected:
  LongPrompt build(Draws draws, size_t filler) const override {
    const bool several_values = kind_ == "multivalue";
    const size_t n_needles = kind_ == "single" ? 1 : count_;
    const std::vector<Needle> needles = draw_needles(draws, n_needles, several_values);
    LongPrompt prompt;
    prompt.context = kInstruction + (among_needles_ ? among_needles(draws, needles, filler)
                                                    : among_prose(draws, needles, filler));
    if (several_values) {
      prompt.questions.push_back(ask_values(needles));
    } else if (kind_ == "multiquery" && !apart_) {
      prompt.questions.push_back(ask_names(needles));
    } else {
      const size_t n_asked = kind_ == "multiquery" ? n_needles : 1;
      for (size_t i = 0; i < n_asked; ++i) prompt.questions.push_back(ask_names({needles[i]}));
    }
    return prompt;
  }

  size_t example_filler() const override { return among_needles_ ? 3 : 40; }

  size_t most_filler() const override {
    return among_needles_ ? nouns_.size() * adjectives_.size() - 2 * count_ : SIZE_MAX;
  }

  std::string data_text() const override {
    return prose_ + fmt::format("{}{}", fmt::join(nouns_, "\n"), fmt::join(adjectives_, "\n"));
  }

 private:
  // Different names; among other needles there are too few nouns, so each has an adjective.
  std::string name_at(size_t place) const {
    if (!among_needles_) return nouns_[place];
    return adjectives_[place / nouns_.size()] + " " + nouns_[place % nouns_.size()];
  }
  size_t n_names() const {
    return among_needles_ ? nouns_.size() * adjectives_.size() : nouns_.size();
  }

  std::vector<Needle> draw_needles(Draws& draws, size_t count, bool one_name) const {
    const std::vector<size_t> names = draws.places(n_names(), one_name ? 1 : count);
    std::vector<Needle> needles;
    for (size_t i = 0; i < count; ++i)
      needles.push_back({name_at(names[one_name ? 0 : i]), draws.digits(digits_)});
    return needles;
  }

  std::string among_prose(Draws& draws, const std::vector<Needle>& needles, size_t n_words) const {
    std::vector<PlacedText> texts;
    for (const Needle& needle : needles) {
      const double share = draws.share();
      texts.push_back({static_cast<size_t>(share * static_cast<double>(n_words + 1)),
                       sentence(needle, kind_ == "multivalue")});
    }
    return haystack_.with_texts(n_words, std::move(texts));
  }

  std::string among_needles(Draws& draws, const std::vector<Needle>& needles, size_t filler) const {
    std::vector<std::string> lines;
    for (const Needle& needle : needles) lines.push_back(sentence(needle, kind_ == "multivalue"));
    size_t added = 0;
    for (const size_t place : draws.places(n_names(), filler + needles.size())) {
      const Needle other = {name_at(place), draws.digits(digits_)};
      bool asked = false;
      for (const Needle& needle : needles) asked = asked || needle.name == other.name;
      if (asked || added == filler) continue;
      lines.push_back(sentence(other, false));
      ++added;
    }
    draws.shuffle(lines);
    return fmt::format("{} ", fmt::join(lines, " "));
  }

  static LongQuestion ask_values(const std::vector<Needle>& needles) {
    LongQuestion question;
    const std::string& name = needles.front().name;
    question.text = fmt::format("\nWhat are the {} pass keys of the {}? ", needles.size(), name);
    question.answer_start = fmt::format("The pass keys of the {} are", name);
    for (const Needle& needle : needles) question.expected.push_back(needle.key);
    return question;
  }

  static LongQuestion ask_names(const std::vector<Needle>& needles) {
    LongQuestion question;
    std::vector<std::string> names;
    for (const Needle& needle : needles) {
      names.push_back(needle.name);
      question.expected.push_back(needle.key);
    }
    const bool one = needles.size() == 1;
    const std::string of =
        fmt::format("pass key{} of {}", one ? "" : "s", spoken_list(names, "the "));
    question.text = fmt::format("\nWhat {} the {}? ", one ? "is" : "are", of);
    question.answer_start = fmt::format("The {} {}", of, one ? "is" : "are");
    return question;
  }

  std::string kind_;
  size_t count_;
  int digits_;
  bool among_needles_, apart_;
  std::vector<std::string> nouns_, adjectives_;
  std::string prose_;
  mutable Haystack haystack_;  // grows as longer texts are asked for
};

}  // namespace

TaskInfo needles_task() {
  return {
      .name = "needles",
      .doc = "named pass keys in a long text; one, several or all of them are asked for (RULER)",
      .params = param_table(),
      .metrics = long_prompt_metrics(),
      .make = [](const Params& params, const std::string& base_folder) {
        return std::make_unique<Needles>(params, base_folder);
      }};
}

}  // namespace kv
