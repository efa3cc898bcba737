// The subcommands of `kvengine`. Each takes its parsed flags, writes its result to stdout and what
// it has to say to stderr, returns the exit status and throws Error for what the user can fix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/config.h"

namespace kv {

int verb_run(const RunFlags& flags);
int verb_validate(const RunFlags& flags);

struct ReportFlags {
  std::vector<std::string> folders;
  std::string out;     // where the merged report goes; empty: into the first folder
  std::string format;  // empty: our own
};
int verb_report(const ReportFlags& flags);

struct CompareFlags {
  std::string a, b;  // run folders
  bool json = false;
};
int verb_compare(const CompareFlags& flags);

struct ProbeFlags {
  std::string request, out, heatmap;
};
int verb_probe(const ProbeFlags& flags);

struct GenerateFlags {
  std::string model, prompt, file, system, compressor = "none", kv_dtype = "f16",
                                           weights = "stored";
  std::string save_cache, load_cache;  // files
  bool has_prompt = false, chat = false, ignore_eos = false, quiet = false;
  bool lines = false;  // each line of `file` is a question of its own
  bool has_compressor = false, has_kv_dtype = false;  // written by the user
  int max_new_tokens = 128;
  std::optional<int> threads;
  double temperature = 0;  // 0: greedy
  double top_p = 1;
  uint64_t seed = 0;
};
int verb_generate(const GenerateFlags& flags);

struct TokenizeFlags {
  std::string model, file;  // file empty: stdin
  bool lines = false, decode = false, no_special = false, chat = false;
};
int verb_tokenize(const TokenizeFlags& flags);

struct ListFlags {
  std::string what;  // "models" | "compressors" | "tasks"
  bool json = false;
};
int verb_list(const ListFlags& flags);

int verb_inspect(const std::string& model);
int verb_env();
int verb_pull(const std::string& name);
int verb_score(const std::string& file);

}  // namespace kv
