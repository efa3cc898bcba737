// The 16 English data sets of LongBench (arXiv 2308.14508) as longctx_bench runs them: prompts, answer
// lengths, metrics, groups.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kv {

struct LongBenchSet {
  const char* name;    // "qasper"; its file is qasper.jsonl
  const char* group;   // "single_doc_qa", …; "" for passage_count, which no average counts
  const char* prompt;  // {context}, {input}: fields of a row
  int max_new_tokens;
  const char* metric;              // "qa_f1_score"
  bool chat = true;                // the prompt may be a user message of a chat
  bool first_line = false;         // of the answer, after line feeds, counts alone
  bool ends_at_line_feed = false;  // an answer is one line and never empty
};

// In longctx_bench's order.
const std::vector<LongBenchSet>& longbench_sets();
// Null where there is none of this name.
const LongBenchSet* find_longbench_set(std::string_view name);

// What a row is scored with.
struct LongBenchTruth {
  std::vector<std::string> answers;
  std::vector<std::string> classes;  // classification_score
};

// The part of an answer that is scored.
std::string longbench_prediction(const LongBenchSet& set, const std::string& answer);

// The best of the metric's values against each answer, 0 … 1.
double longbench_score(const LongBenchSet& set, const std::string& prediction,
                       const LongBenchTruth& truth);

}  // namespace kv
