// fact_qa: where a thing was, in a long text of such facts.
//
// RULER's question answering (arXiv 2404.06654) hides the paragraph with the answer among others;
// here facts are generated, so that no model knows an answer by heart and no data are needed:
//   hops=1  In the harbor lay a flat stamp.
//   hops=2  The flat stamp was now with Heidi.  Heidi was in the harbor.
// The text holds one such fact about every thing and, with hops=2, one about each of `people` people,
// in random order.

#include <memory>

#include "tasks/factories.h"
#include "tasks/long_prompt.h"

namespace kv {
namespace {

constexpr const char* kInstruction = "Remember from the text below where everything was.\n";

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return long_prompt_params({{.name = "hops",
                              .type = Type::kInteger,
                              .default_text = "1",
                              .doc = "facts that the answer takes",
                              .min = 1,
                              .max = 2},
                             {.name = "people",
                              .type = Type::kInteger,
                              .default_text = "8",
                              .doc = "hops=2: people who have the things",
                              .min = 2,
                              .max = 50}},
                            0, 16);
}

class FactQa : public LongPromptTask {
 public:
  explicit FactQa(const Params& params)
      : LongPromptTask("fact_qa", params),
        two_hops_(params.integer("hops") == 2),
        n_people_(static_cast<size_t>(params.integer("people"))),
        nouns_(shipped_words("nouns")),
        adjectives_(shipped_words("adjectives")),
        places_(shipped_words("places")),
        people_(shipped_words("people")) {}

 protected:
  // The first thing is asked for; filler: things beside it.
  LongPrompt build(Draws draws, size_t filler) const override {
    std::vector<std::string> facts, people, homes;
    const std::vector<size_t> chosen = draws.places(people_.size(), n_people_);
    for (const size_t at : chosen) {
      people.push_back(people_[at]);
      homes.push_back(places_[draws.below(places_.size())]);
      if (two_hops_) facts.push_back(fmt::format("{} was in the {}.", people.back(), homes.back()));
    }
    LongPrompt prompt;
    for (const size_t at : draws.places(most_filler(), filler + 1)) {
      const std::string &look = adjectives_[at / nouns_.size()], &noun = nouns_[at % nouns_.size()];
      const size_t owner = draws.below(n_people_);
      const std::string place = two_hops_ ? homes[owner] : places_[draws.below(places_.size())];
      facts.push_back(
          two_hops_ ? fmt::format("The {} {} was now with {}.", look, noun, people[owner])
                    : fmt::format("In the {} lay {} {} {}.", place, article(look), look, noun));
      if (prompt.questions.empty()) {
        prompt.questions.push_back({fmt::format("\nWhere was the {} {}? ", look, noun),
                                    fmt::format("The {} {} was still in the", look, noun),
                                    {place}});
      }
    }
    draws.shuffle(facts);
    prompt.context = fmt::format("{}{}", kInstruction, fmt::join(facts, " "));
    return prompt;
  }

  size_t example_filler() const override { return 5; }
  size_t most_filler() const override { return nouns_.size() * adjectives_.size(); }
  std::string data_text() const override {
    return fmt::format("{}\n{}\n{}\n{}", fmt::join(nouns_, " "), fmt::join(adjectives_, " "),
                       fmt::join(places_, " "), fmt::join(people_, " "));
  }

 private:
  static const char* article(const std::string& word) {
    return std::string("aeiou").find(word[0]) == std::string::npos ? "a" : "an";
  }

  bool two_hops_;
  size_t n_people_;
  std::vector<std::string> nouns_, adjectives_, places_, people_;
};

}  // namespace

TaskInfo fact_qa_task() {
  return {.name = "fact_qa",
          .doc = "where a thing was, over one or two of many generated facts (RULER)",
          .params = param_table(),
          .metrics = long_prompt_metrics(),
          .make = [](const Params& params, const std::string& /*base_folder*/) {
            return std::make_unique<FactQa>(params);
          }};
}

}  // namespace kv
