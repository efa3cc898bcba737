// LongBench's rows (JSON lines) and the prompts made of them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tasks/longbench_sets.h"

namespace kv {

struct LongBenchRow {
  std::map<std::string, std::string> fields;  // texts and whole numbers by name: context, input, …
  LongBenchTruth truth;
  int length = 0;  // words, as the data set counts them
};

// folder/<set>.jsonl. Throws Error(kData) with the line where a row lacks a field or has another type.
std::vector<LongBenchRow> read_longbench_rows(const std::filesystem::path& file,
                                              const LongBenchSet& set);

std::filesystem::path longbench_file(const std::filesystem::path& folder, const LongBenchSet& set);

// Throws Error(kData), which begins with `place`, that lists every file of these sets that the folder
// lacks and says where they come from.
void check_longbench_folder(const std::filesystem::path& folder,
                            const std::vector<const LongBenchSet*>& sets, const std::string& place);

// A filled prompt, cut behind the context.
struct LongBenchPrompt {
  std::string context, question;
};

// {field} of the row filled in, {{ and }} as single braces (Python's str.format). Throws
// Error(kUsage), which begins with `place`, for a field that no row has or a prompt without {context}.
LongBenchPrompt fill_longbench_prompt(const std::string& prompt, const LongBenchRow& row,
                                      const std::string& place);

}  // namespace kv
