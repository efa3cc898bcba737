// Programming problems with tests, from the files of HumanEval, MBPP and kv-exec-bench.
#pragma once

#include <string>
#include <vector>

namespace kv {

struct CodeProblem {
  std::string id;
  std::string prompt;
  std::string prefix;       // what stands before the answer in the program
  bool is_whole = false;    // the answer is a whole function, not the rest of the prompt's
  std::string entry_point;  // "" where unknown
  std::string solution;     // "" where unknown; goes where an answer goes
  std::string test;         // ends normally if the program is right
  std::vector<std::string> examples;  // MBPP: asserts that the prompt may show
};

// One JSON object for each line, or a JSON list of them. Each row is read by its keys:
//   HumanEval      task_id, prompt, entry_point, canonical_solution, test (defines check())
//   MBPP           task_id, text or prompt, code, test_list; test_setup_code or test_imports
//   kv-exec-bench  context, question, answer_prefix, answer: JSON text with test, entry_point, ...
//   kv-canary      id, prompt, check, prefix
// Throws Error(kData) with the line (or index) and the key. file: for messages.
std::vector<CodeProblem> read_code_problems(const std::string& text, const std::string& file);

}  // namespace kv
