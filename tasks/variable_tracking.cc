// variable_tracking: sentences hidden in a long text give a number to a variable, and that variable to
// the next; which variables have the number is asked for.
//
// RULER's variable tracking (arXiv 2404.06654): `chains` chains of 1 + `hops` variables, the first
// chain is asked for. The sentences of a chain stand in its order. A solved example comes first, as
// there. Differs from RULER: sentences and prose are our own.

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "tasks/factories.h"
#include "tasks/haystack.h"
#include "tasks/long_prompt.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

constexpr int kNameLetters = 5, kValueDigits = 5;

constexpr const char* kInstruction =
    "Some variables are set in the text below. Follow what each of them is set to.\n";

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return long_prompt_params(
      {{.name = "chains",
        .type = Type::kInteger,
        .default_text = "1",
        .doc = "numbers that are handed on; the first one's variables are asked for",
        .min = 1,
        .max = 100},
       {.name = "hops",
        .type = Type::kInteger,
        .default_text = "4",
        .doc = "variables of a chain after the first",
        .min = 1,
        .max = 100},
       {.name = "data",
        .type = Type::kFile,
        .default_text = "null",
        .doc = "prose: a text file or a folder of .txt files; else what ships"}},
      1, 64);
}

struct Chain {
  std::string value;
  std::vector<std::string> variables;
};

class VariableTracking : public LongPromptTask {
 public:
  VariableTracking(const Params& params, const std::string& base_folder)
      : LongPromptTask("variable_tracking", params),
        chains_(params.integer("chains")),
        hops_(params.integer("hops")),
        prose_(read_text_file_or_folder(
            params.is_null("data")
                ? shipped_data("prose")
                : find_data(params.string("data"), base_folder, params.value("data").place))),
        haystack_(prose_) {}

 protected:
  LongPrompt build(Draws draws, size_t filler) const override {
    const std::vector<Chain> chains = draw_chains(draws);
    std::vector<PlacedText> texts;
    for (const Chain& chain : chains) {
      std::vector<size_t> places;
      for (size_t i = 0; i < chain.variables.size(); ++i)
        places.push_back(static_cast<size_t>(draws.share() * static_cast<double>(filler + 1)));
      std::sort(places.begin(), places.end());
      for (size_t i = 0; i < places.size(); ++i) {
        const std::string& value = i == 0 ? chain.value : chain.variables[i - 1];
        texts.push_back({places[i], fmt::format("Set {} to {}.", chain.variables[i], value)});
      }
    }
    LongPrompt prompt;
    prompt.context = kInstruction + haystack_.with_texts(filler, std::move(texts));
    const Chain& asked = chains.front();
    prompt.questions.push_back({fmt::format("\nWhich {} variables are {} in the end? ",
                                            asked.variables.size(), asked.value),
                                fmt::format("The variables that are {} are", asked.value),
                                asked.variables});
    return prompt;
  }

  size_t example_filler() const override { return 20; }
  std::string data_text() const override { return prose_; }

 private:
  std::vector<Chain> draw_chains(Draws& draws) const {
    std::set<std::string> taken;  // neither a variable nor a number comes twice
    const auto fresh = [&taken](auto draw) {
      std::string text = draw();
      while (!taken.insert(text).second) text = draw();
      return text;
    };
    std::vector<Chain> chains;
    for (int c = 0; c < chains_; ++c) {
      Chain chain;
      chain.value = fresh([&] { return draws.digits(kValueDigits); });
      for (int v = 0; v <= hops_; ++v)
        chain.variables.push_back(fresh([&] { return draws.letters(kNameLetters); }));
      chains.push_back(std::move(chain));
    }
    return chains;
  }

  int chains_, hops_;
  std::string prose_;
  mutable Haystack haystack_;  // grows as longer texts are asked for
};

}  // namespace

TaskInfo variable_tracking_task() {
  return {.name = "variable_tracking",
          .doc = "numbers handed on from variable to variable in a long text (RULER)",
          .params = param_table(),
          .metrics = long_prompt_metrics(),
          .make = [](const Params& params, const std::string& base_folder) {
            return std::make_unique<VariableTracking>(params, base_folder);
          }};
}

}  // namespace kv
