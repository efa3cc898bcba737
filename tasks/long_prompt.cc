#include "tasks/long_prompt.h"

#include <algorithm>
#include <set>
#include <utility>

#include "tasks/haystack.h"
#include "tasks/scorers/string_match.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

using Type = ParamSpec::Type;

constexpr const char* kExpected = "expected";           // meta: the expected strings, one a line
constexpr uint64_t kExampleStream = uint64_t{1} << 63;  // beyond every sample's

ParamSpec integer(std::string name, std::string default_text, double min, double max,
                  std::string doc) {
  return {.name = std::move(name),
          .type = Type::kInteger,
          .default_text = std::move(default_text),
          .doc = std::move(doc),
          .min = min,
          .max = max};
}

// Whether this tokenizer has the blank between `start` and such an answer at the end of what comes
// before it ("is |7"), as it has where a digit is a token of its own, and not at the beginning of
// the answer ("the| lamp").
bool blank_stands_before(const std::string& start, const std::string& answer,
                         const TextTools& tools) {
  std::string like = answer;  // of the same kind, so that the answer itself is not looked at
  if (!like.empty() && like[0] >= '0' && like[0] <= '9') {
    like = "7";
  } else {
    like = !like.empty() && like[0] >= 'A' && like[0] <= 'Z' ? "Lamp" : "lamp";
  }
  std::vector<int32_t> apart = tools.encode(start + " ", false);
  const std::vector<int32_t> rest = tools.encode(like, false);
  apart.insert(apart.end(), rest.begin(), rest.end());
  return apart == tools.encode(start + " " + like, false);
}

// Everything after the context. tail: what a chat template puts between question and answer.
std::vector<int32_t> question_ids(const LongQuestion& question, const std::string& tail,
                                  const TextTools& tools) {
  const std::string& start = question.answer_start;
  const bool blank = blank_stands_before(start, question.expected.front(), tools);
  return tools.encode(question.text + tail + start + (blank ? " " : ""), false);
}

struct Split {
  std::vector<int32_t> context;
  std::string tail;
};

Split split(const std::string& context, bool chat, const TextTools& tools) {
  if (!chat) return {tools.encode(context, true), ""};
  auto [head, tail] = tools.split_chat(context);
  return {tools.encode(head, false), tail};
}

}  // namespace

std::vector<ParamSpec> long_prompt_params(std::vector<ParamSpec> own, int examples,
                                          int max_new_tokens) {
  std::vector<ParamSpec> table = {
      {.name = "lengths",
       .type = Type::kIntegerList,
       .default_text = "[512,1024,2048]",
       .doc = "lengths of the prompt, in tokens, at most",
       .min = 1,
       .max = 1 << 24},
      integer("samples", "10", 1, 1 << 20, "contexts of each length"),
      integer("seed", "42", 0, 2147483647, "of everything drawn"),
  };
  for (ParamSpec& spec : own) table.push_back(std::move(spec));
  table.push_back(integer("examples", std::to_string(examples), 0, 16,
                          "short solved examples before the text"));
  table.push_back({.name = "chat",
                   .type = Type::kBool,
                   .default_text = "false",
                   .doc = "put the prompt into the model's chat template, as a user's message"});
  table.push_back(
      integer("max_new_tokens", std::to_string(max_new_tokens), 1, 1 << 20, "tokens of an answer"));
  return table;
}

std::vector<MetricInfo> long_prompt_metrics() {
  return {{"string_match", true, "share of the expected strings that the answer contains"},
          {"all_found", true, "share of answers that contain all expected strings"}};
}

std::vector<std::string> shipped_words(const std::string& name) {
  return lines_not_blank(read_text_file(shipped_data("words/" + name + ".txt")));
}

std::string spoken_list(const std::vector<std::string>& items, const std::string& before) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? " and " : ", ";
    text += before + items[i];
  }
  return text;
}

LongPromptTask::LongPromptTask(std::string name, const Params& params)
    : name_(std::move(name)),
      canonical_(name_ + "(" + params.canonical() + ")"),
      place_(params.value("lengths").place),
      lengths_(params.integers("lengths")),
      samples_(params.integer("samples")),
      examples_(params.integer("examples")),
      max_new_tokens_(params.integer("max_new_tokens")),
      seed_(static_cast<uint64_t>(params.integer("seed"))),
      chat_(params.boolean("chat")) {
  if (lengths_.empty())
    throw_usage("{}: lengths: expected at least one length, found none", place_);
  if (std::set<int>(lengths_.begin(), lengths_.end()).size() != lengths_.size())
    throw_usage("{}: lengths: expected different lengths, found one twice", place_);
}

std::string LongPromptTask::data_hash() const {
  return hash_text(data_text());
}

LongPrompt LongPromptTask::prompt(uint64_t stream, size_t filler) const {
  LongPrompt prompt = build(Draws(seed_, stream), filler);
  for (const LongQuestion& question : prompt.questions) KV_CHECK(!question.expected.empty());
  if (examples_ > 0) prompt.context = solved_examples() + prompt.context;
  return prompt;
}

std::string LongPromptTask::solved_examples() const {
  std::string text;
  for (int i = 0; i < examples_; ++i) {
    const LongPrompt example =
        build(Draws(seed_, kExampleStream + static_cast<uint64_t>(i)), example_filler());
    const LongQuestion& question = example.questions.front();
    text += fmt::format("{}{}{} {}\n\n", example.context, question.text, question.answer_start,
                        fmt::join(question.expected, ", "));
  }
  return text;
}

size_t LongPromptTask::n_tokens(const LongPrompt& prompt, const TextTools& tools) const {
  const Split parts = split(prompt.context, chat_, tools);
  size_t longest = 0;
  for (const LongQuestion& question : prompt.questions)
    longest = std::max(longest, question_ids(question, parts.tail, tools).size());
  return parts.context.size() + longest;
}

size_t LongPromptTask::filler_that_fits(int length, uint64_t stream, const TextTools& tools,
                                        size_t guess) const {
  const auto tokens = [&](size_t filler) { return n_tokens(prompt(stream, filler), tools); };
  const size_t wanted = static_cast<size_t>(length), least = tokens(0);
  if (least > wanted) {
    throw_usage(
        "{}: task '{}': length {} is too short: instruction and question alone take {} "
        "tokens",
        place_, name_, length, least);
  }
  // A unit takes a token or more.
  return largest_that_fits(std::min(wanted + 1, most_filler()), guess,
                           [&](size_t filler) { return tokens(filler) <= wanted; });
}

Sample LongPromptTask::make_sample(const LongPrompt& prompt, size_t question,
                                   const TextTools& tools) const {
  const LongQuestion& asked = prompt.questions[question];
  Split parts = split(prompt.context, chat_, tools);
  Sample sample;
  sample.continuation_ids = question_ids(asked, parts.tail, tools);
  sample.context_ids = std::move(parts.context);
  sample.max_new_tokens = max_new_tokens_;
  if (!chat_) sample.stop = {"\n"};
  sample.meta = {{kExpected, fmt::format("{}", fmt::join(asked.expected, "\n"))}};
  const size_t n = sample.context_ids.size() + sample.continuation_ids.size();
  if (tools.max_position > 0 && n > static_cast<size_t>(tools.max_position)) {
    sample.meta["note"] = fmt::format("{} tokens; the model's configuration names {} positions", n,
                                      tools.max_position);
  }
  return sample;
}

std::vector<Sample> LongPromptTask::samples(const TextTools& tools, int limit) const {
  if (!tools.encode) throw_usage("task '{}': the model has no tokenizer", name_);
  std::vector<Sample> result;
  for (const int length : lengths_) {
    size_t guess = 0;  // the last prompt's filler: the next one takes nearly as much
    for (int i = 0; i < samples_; ++i) {
      const uint64_t stream = static_cast<uint64_t>(length) << 32 | static_cast<uint64_t>(i);
      if (limit >= 0 && result.size() >= static_cast<size_t>(limit)) return result;
      guess = filler_that_fits(length, stream, tools, guess);
      const LongPrompt found = prompt(stream, guess);
      for (size_t q = 0; q < found.questions.size(); ++q) {
        if (limit >= 0 && result.size() >= static_cast<size_t>(limit)) return result;
        Sample sample = make_sample(found, q, tools);
        sample.id = fmt::format("len{}-{}", length, i);
        if (found.questions.size() > 1) sample.id += fmt::format("-q{}", q);
        sample.meta["length"] = std::to_string(length);
        result.push_back(std::move(sample));
      }
    }
  }
  return result;
}

Scores LongPromptTask::score(const Sample& sample, const Answer& answer) const {
  const double share = string_match(answer.text, lines_not_blank(sample.meta.at(kExpected)));
  return {{"string_match", share}, {"all_found", share == 1 ? 1.0 : 0.0}};
}

}  // namespace kv
