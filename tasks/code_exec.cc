// code_exec: the model writes functions; each runs with its tests in a sandbox (tasks/sandbox.h).
//
// HumanEval (arXiv 2107.03374) and MBPP (arXiv 2108.07732), three protocols:
//   ours           raw: the prompt as it is (MBPP: as a docstring with its tests), the answer cut
//                  where the function ends. chat: an instruction with the prompt in a code block;
//                  the answer's code block is taken, with the prompt's imports and helpers.
//   kv-exec-bench  the bare prompt is a whole user message and the raw reply is pasted after it;
//                  512 tokens, 15 s, and edit_sim against the canonical solution
//   kv-canary      raw continuation, nothing is cut; 10 s
//
// Differs from both references: an exit status of 0 is no pass, the tests must have run to their
// end, so early exit() fails; the tests run with Python's own builtins; the program is isolated.

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "tasks/code_extract.h"
#include "tasks/code_problems.h"
#include "tasks/factories.h"
#include "tasks/sandbox.h"
#include "tasks/scorers/edit_sim.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

enum class Protocol { kOurs, kKvExecBench, kKvCanary };

constexpr int kKvExecBenchTokens = 512;

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return {
      {.name = "data",
       .type = Type::kFile,
       .default_text = "null",
       .doc =
           "problems as HumanEval, MBPP or kv-exec-bench write them; else the sample that ships"},
      {.name = "protocol",
       .type = Type::kChoice,
       .default_text = "ours",
       .doc = "prompts, cutting and limits: ours, or those of a reference",
       .choices = {"ours", "kv-exec-bench", "kv-canary"}},
      {.name = "chat",
       .type = Type::kBool,
       .default_text = "null",
       .doc = "ours: ask in a chat and take the answer's code block (default: false, raw)"},
      {.name = "timeout",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "seconds of one program; default 10, kv-exec-bench 15",
       .min = 1,
       .max = 3600},
      {.name = "max_new_tokens",
       .type = Type::kInteger,
       .default_text = "null",
       .doc = "tokens of an answer; default: as the run says, kv-exec-bench 512",
       .min = 1,
       .max = 1 << 20},
  };
}

std::vector<MetricInfo> metric_table(bool edit_sim) {
  std::vector<MetricInfo> metrics = {
      {"pass@1", true, "share of programs whose tests ran to their end"}};
  if (edit_sim) {
    metrics.push_back({"edit_sim", true,
                       "difflib ratio of answer and canonical solution (protocol kv-exec-bench)"});
  }
  return metrics;
}

Protocol protocol_of(const std::string& name) {
  if (name == "kv-exec-bench") return Protocol::kKvExecBench;
  return name == "kv-canary" ? Protocol::kKvCanary : Protocol::kOurs;
}

// The part of the prompt before the function that is to be completed: imports and helpers.
std::string header_of(const CodeProblem& problem) {
  const std::string start = "def " + problem.entry_point;
  for (size_t at = 0; at < problem.prefix.size();) {
    if (problem.prefix.compare(at, start.size(), start) == 0) return problem.prefix.substr(0, at);
    const size_t end = problem.prefix.find('\n', at);
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return problem.prefix;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::string raw_prompt(const CodeProblem& problem) {
  if (problem.examples.empty()) return problem.prompt;
  return "\"\"\"\n" + problem.prompt + "\n" + joined(problem.examples) + "\"\"\"\n";
}

std::string chat_prompt(const CodeProblem& problem) {
  if (problem.is_whole) {
    std::string text = problem.prompt;
    if (!problem.examples.empty())
      text +=
          "\n\nThe function must pass these tests:\n```python\n" + joined(problem.examples) + "```";
    return text + "\n\nAnswer with the whole Python function in one fenced code block.";
  }
  const bool ends_line = !problem.prompt.empty() && problem.prompt.back() == '\n';
  return "Complete this Python function. Answer with the whole function in one fenced code "
         "block.\n\n```python\n" +
         problem.prompt + (ends_line ? "" : "\n") + "```";
}

// An answer's block that has only the body belongs after the prompt, four columns in.
std::string as_body(const std::string& code) {
  if (code.empty() || code[0] == ' ' || code[0] == '\t') return code;
  std::string body;
  for (size_t at = 0; at < code.size();) {
    const size_t end = std::min(code.find('\n', at), code.size() - 1) + 1;
    body += "    " + code.substr(at, end - at);
    at = end;
  }
  return body;
}

class CodeExec : public Task {
 public:
  CodeExec(const Params& params, const std::string& base_folder)
      : canonical_("code_exec(" + params.canonical() + ")"),
        protocol_(protocol_of(params.string("protocol"))),
        chat_(!params.is_null("chat") && params.boolean("chat")) {
    const bool bench = protocol_ == Protocol::kKvExecBench;
    if (protocol_ != Protocol::kOurs && params.given("chat") && !params.is_null("chat")) {
      throw_usage("{}: only protocol 'ours' has a choice; {} fixes it", params.value("chat").place,
                  params.string("protocol"));
    }
    limits_.wall_seconds = params.is_null("timeout") ? bench ? 15 : 10 : params.integer("timeout");
    limits_.cpu_seconds = limits_.wall_seconds;
    max_new_tokens_ = !params.is_null("max_new_tokens") ? params.integer("max_new_tokens")
                      : bench                           ? kKvExecBenchTokens
                                                        : 0;
    const fs::path file = params.is_null("data") ? shipped_data("code/problems.jsonl")
                                                 : find_data(params.string("data"), base_folder,
                                                             params.value("data").place);
    const std::string text = read_text_file(file);
    data_hash_ = hash_text(text);
    problems_ = read_code_problems(text, file.string());
    for (size_t i = 0; i < problems_.size(); ++i) {
      if (bench) problems_[i].id = std::to_string(i);
      if (!index_of_.emplace(problems_[i].id, i).second)
        throw_data("{}: two problems are called '{}'", file.string(), problems_[i].id);
    }
  }

  std::string name() const override { return "code_exec"; }
  int version() const override { return 1; }
  std::string canonical() const override { return canonical_; }
  std::vector<MetricInfo> metrics() const override {
    return metric_table(protocol_ == Protocol::kKvExecBench);
  }
  std::string data_hash() const override { return data_hash_; }

  bool runs_code() const override { return true; }
  void allow_code(const std::string& sandbox) override {
    sandbox_.emplace(sandbox_kind(sandbox), limits_);
    const std::string problem = sandbox_->problem();
    if (problem.empty()) return;
    sandbox_.reset();
    if (sandbox == "rlimits") throw_usage("programs cannot be run here: {}", problem);
    throw_usage(
        "programs cannot be isolated here: {}. Install bubblewrap and allow user namespaces, or "
        "set `sandbox: rlimits` under `run` to go without isolation",
        problem);
  }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    if (!tools.encode) throw_usage("task 'code_exec': the model has no tokenizer");
    const size_t count =
        limit < 0 ? problems_.size() : std::min(problems_.size(), static_cast<size_t>(limit));
    std::vector<Sample> result;
    for (size_t i = 0; i < count; ++i) result.push_back(make_sample(problems_[i], tools));
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    const auto at = index_of_.find(sample.id);
    KV_CHECK(at != index_of_.end(), "sample {}", sample.id);
    if (!sandbox_) {
      throw_usage(
          "task 'code_exec': running what a model wrote is off; allow it with "
          "--allow-code-execution or KVENGINE_ALLOW_CODE_EXECUTION=1");
    }
    const CodeProblem& problem = problems_[at->second];
    const SandboxResult result =
        sandbox_->run({program_of(problem, answer.text), problem.test, problem.entry_point});
    Scores scores = {{"pass@1", result.passed ? 1.0 : 0.0}};
    if (protocol_ == Protocol::kKvExecBench)
      scores["edit_sim"] = edit_similarity(answer.text, problem.solution);
    return scores;
  }

 private:
  Sample make_sample(const CodeProblem& problem, const TextTools& tools) const {
    Sample sample;
    sample.id = problem.id;
    sample.max_new_tokens = max_new_tokens_;
    if (chat_ || protocol_ == Protocol::kKvExecBench) {
      if (!tools.split_chat) throw_usage("task 'code_exec': the model has no chat template");
      const auto [head, tail] = tools.split_chat(chat_ ? chat_prompt(problem) : problem.prompt);
      sample.context_ids = tools.encode(head, false);
      sample.continuation_ids = tools.encode(tail, false);
      return sample;
    }
    const bool ours = protocol_ == Protocol::kOurs;
    sample.context_ids = tools.encode(ours ? raw_prompt(problem) : problem.prompt, true);
    if (ours) sample.stop = problem.is_whole ? program_stops() : function_stops();
    return sample;
  }

  std::string program_of(const CodeProblem& problem, const std::string& answer) const {
    if (protocol_ != Protocol::kOurs) return problem.prefix + answer + "\n";
    if (!chat_) {
      if (problem.is_whole) return problem.prefix + cut_after_program(answer);
      const bool starts_line = !problem.prefix.empty() && problem.prefix.back() == '\n';
      return problem.prefix + cut_after_function(answer, starts_line);
    }
    const std::string code = code_of_chat_answer(answer, problem.entry_point);
    if (problem.is_whole) return problem.prefix + code;
    if (defines_function(code, problem.entry_point)) return header_of(problem) + code;
    return problem.prefix + (code.empty() ? cut_after_function(answer) : as_body(code));
  }

  std::string canonical_;
  Protocol protocol_;
  bool chat_;
  int max_new_tokens_ = 0;  // 0: as the run says
  SandboxLimits limits_;
  std::string data_hash_;
  std::vector<CodeProblem> problems_;
  std::map<std::string, size_t> index_of_;  // by id
  std::optional<Sandbox> sandbox_;          // empty: running programs is not allowed
};

}  // namespace

TaskInfo code_exec_task() {
  return {.name = "code_exec",
          .doc = "functions that the model writes, run with their tests in a sandbox",
          .params = param_table(),
          .metrics = metric_table(true),
          .make = [](const Params& params, const std::string& base_folder) {
            return std::make_unique<CodeExec>(params, base_folder);
          }};
}

}  // namespace kv
