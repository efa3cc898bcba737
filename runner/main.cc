// kvengine: the command line. Only flags are read here; runner/verb_*.cc do the work.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>

#include "engine/error.h"
#include "kernels/kernels.h"
#include "runner/env.h"
#include "runner/verbs.h"

namespace {

using kv::throw_usage;
using Action = std::function<int()>;

constexpr int kInternalError = 4;

// Every flag of one verb and what to do once it is parsed.
struct Verbs {
  kv::RunFlags run, validate;
  kv::ReportFlags report;
  kv::CompareFlags compare;
  kv::ProbeFlags probe;
  kv::GenerateFlags generate;
  kv::TokenizeFlags tokenize;
  kv::ListFlags list;
  std::string inspect_model, pull_name, score_file;
};

void add_run_flags(CLI::App& app, kv::RunFlags& flags) {
  app.add_option("config", flags.config, "CONFIG.yaml")->required();
  app.add_option("--model", flags.models, "a model instead of the config's list (repeatable)");
  app.add_option("--compressor", flags.compressors,
                 "a spec instead of the config's list (repeatable)");
  app.add_option("--task", flags.tasks,
                 "only this task of the config, or one with its defaults (repeatable)");
  app.add_option("--out", flags.out, "folder of the results");
  app.add_option("--limit", flags.limit, "samples per task");
  app.add_option("--max-new-tokens", flags.max_new_tokens, "longest answer, tokens");
  app.add_option("--threads", flags.threads, "threads");
  app.add_option("--set", flags.sets, "key.path=value, as if written in the config (repeatable)");
  app.add_flag("--allow-code-execution", flags.allow_code_execution,
               "let tasks run what a model wrote");
  app.add_flag("--quiet", flags.quiet, "no progress on stderr");
}

void add_run(CLI::App& app, Verbs& v, Action& action) {
  CLI::App* run =
      app.add_subcommand("run", "sweep models x compressors x tasks; goes on where it stopped");
  add_run_flags(*run, v.run);
  run->add_option("--shard", v.run.shard, "I/N: only this part of the contexts, counted from 0");
  run->add_flag("--fresh", v.run.fresh, "ignore earlier records");
  run->add_flag("--dry-run", v.run.dry_run, "print the cells and estimates, run nothing");
  run->footer("Example: kvengine run configs/smoke.yaml --threads 2");
  run->callback([&] { action = [&] { return kv::verb_run(v.run); }; });

  CLI::App* validate =
      app.add_subcommand("validate", "make every check of `run`; one prompt of each task");
  add_run_flags(*validate, v.validate);
  validate->footer("Example: kvengine validate configs/smoke.yaml");
  validate->callback([&] { action = [&] { return kv::verb_validate(v.validate); }; });

  CLI::App* report =
      app.add_subcommand("report", "rebuild the reports of run folders; shards merge");
  report->add_option("folders", v.report.folders, "run folders")->required();
  report->add_option(
      "--out", v.report.out,
      "where the report goes (default: the first folder; with --format its folder FORMAT)");
  report->add_option(
      "--format", v.report.format,
      "another system's files: kv-exec-bench, kv-canary, efficient-llm or longctx-bench");
  report->footer("Example: kvengine report results/smoke");
  report->callback([&] { action = [&] { return kv::verb_report(v.report); }; });
}

void add_compare(CLI::App& app, Verbs& v, Action& action) {
  CLI::App* compare = app.add_subcommand(
      "compare", "two run folders cell by cell: differences with paired intervals");
  compare->add_option("a", v.compare.a, "a run folder")->required();
  compare->add_option("b", v.compare.b, "another one")->required();
  compare->add_flag("--json", v.compare.json, "as JSON");
  compare->footer("Example: kvengine compare results/before results/after");
  compare->callback([&] { action = [&] { return kv::verb_compare(v.compare); }; });
}

void add_probe(CLI::App& app, Verbs& v, Action& action) {
  CLI::App* probe =
      app.add_subcommand("probe", "exact tensors of one forward pass with compression");
  probe->add_option("request", v.probe.request, "REQUEST.json")->required();
  probe->add_option("out", v.probe.out, "OUT.safetensors")->required();
  probe->add_option("--heatmap", v.probe.heatmap,
                    "FILE.svg: the rows that every request kept, by layer and KV head");
  probe->footer("Example: kvengine probe request.json out.safetensors");
  probe->callback([&] { action = [&] { return kv::verb_probe(v.probe); }; });
}

void add_generate(CLI::App& app, Verbs& v, Action& action) {
  CLI::App* generate =
      app.add_subcommand("generate", "text to stdout as it comes; speed and memory to stderr");
  kv::GenerateFlags& f = v.generate;
  generate->add_option("--model", f.model, "folder, .gguf file, name or hub id")->required();
  CLI::Option* prompt = generate->add_option("--prompt", f.prompt, "the prompt");
  generate->add_option("--file", f.file, "the prompt, from a file ('-': stdin)")->excludes(prompt);
  generate->add_flag("--chat", f.chat, "the prompt is a user message of the model's chat template");
  generate->add_option("--system", f.system, "system message; with --chat");
  CLI::Option* compressor =
      generate->add_option("--compressor", f.compressor, "spec of the KV cache's compression");
  CLI::Option* save = generate->add_option("--save-cache", f.save_cache,
                                           "write the compressed cache of the prompt to this file");
  generate
      ->add_option("--load-cache", f.load_cache,
                   "go on from a saved cache: nothing is prefilled, the prompt is what follows")
      ->excludes(save);
  generate->add_flag(
      "--lines", f.lines,
      "with --load-cache and --file: each line is answered from a fork of the cache");
  generate->add_option("--max-new-tokens", f.max_new_tokens, "longest answer, tokens")
      ->check(CLI::Range(0, 1 << 30));
  CLI::Option* kv_dtype =
      generate->add_option("--kv-dtype", f.kv_dtype, "how cache rows are stored")
          ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  generate->add_option("--weights", f.weights, "the type that products read")
      ->check(CLI::IsMember({"stored", "f32", "bf16", "f16", "int8", "codes"}));
  generate->add_option("--threads", f.threads, "threads")->check(CLI::Range(1, 1024));
  generate->add_option("--temperature", f.temperature, "0: greedy")->check(CLI::Range(0.0, 1e6));
  generate->add_option("--top-p", f.top_p, "smallest set of tokens with this probability, (0, 1]")
      ->check(CLI::Range(0.0, 1.0));
  generate->add_option("--seed", f.seed, "seed of the sampling");
  generate->add_flag("--ignore-eos", f.ignore_eos, "end of text does not stop it");
  generate->add_flag("--quiet", f.quiet, "no statistics on stderr");
  generate->footer(
      "Example: kvengine generate --model smollm2-135m-instruct --chat --prompt 'What is a "
      "cache?'");
  generate->callback([&v, &action, prompt, compressor, kv_dtype] {
    v.generate.has_prompt = prompt->count() > 0;
    v.generate.has_compressor = compressor->count() > 0;
    v.generate.has_kv_dtype = kv_dtype->count() > 0;
    action = [&] { return kv::verb_generate(v.generate); };
  });
}

void add_text_verbs(CLI::App& app, Verbs& v, Action& action) {
  CLI::App* tokenize =
      app.add_subcommand("tokenize", "text to ids as a JSON list; --decode is the inverse");
  tokenize->add_option("--model", v.tokenize.model, "folder, .gguf file, name or hub id")
      ->required();
  tokenize->add_option("--file", v.tokenize.file, "input (default: stdin)");
  tokenize->add_flag("--lines", v.tokenize.lines, "each line alone, one list per line");
  tokenize->add_flag("--decode", v.tokenize.decode, "ids to text");
  tokenize->add_flag("--no-special", v.tokenize.no_special,
                     "without the tokens that the tokenizer adds");
  tokenize
      ->add_flag("--chat", v.tokenize.chat,
                 "the input is what a chat template reads, as JSON: messages, tools, "
                 "add_generation_prompt, …; prints the text and its ids")
      ->excludes("--decode");
  tokenize->footer("Example: echo hello | kvengine tokenize --model smollm2-135m-instruct --lines");
  tokenize->callback([&] { action = [&] { return kv::verb_tokenize(v.tokenize); }; });

  CLI::App* list = app.add_subcommand("list", "what this build knows");
  list->add_option("what", v.list.what, "models, compressors or tasks")
      ->required()
      ->check(CLI::IsMember({"models", "compressors", "tasks"}));
  list->add_flag("--json", v.list.json, "as JSON");
  list->footer("Example: kvengine list compressors");
  list->callback([&] { action = [&] { return kv::verb_list(v.list); }; });

  CLI::App* inspect =
      app.add_subcommand("inspect", "architecture, shapes, bytes, chat template of a model");
  inspect->add_option("model", v.inspect_model, "folder, .gguf file, name or hub id")->required();
  inspect->footer("Example: kvengine inspect smollm2-135m-instruct");
  inspect->callback([&] { action = [&] { return kv::verb_inspect(v.inspect_model); }; });

  CLI::App* env = app.add_subcommand("env", "what goes into a run's manifest");
  env->footer("Example: kvengine env");
  env->callback([&] { action = [] { return kv::verb_env(); }; });

  CLI::App* pull = app.add_subcommand("pull", "fetch a model into the model folder");
  pull->add_option("name", v.pull_name, "smollm2-135m-instruct, or a hub id ORG/NAME")->required();
  pull->footer("Example: kvengine pull smollm2-135m-instruct");
  pull->callback([&] { action = [&] { return kv::verb_pull(v.pull_name); }; });

  CLI::App* score = app.add_subcommand("score", "score an already answered six-column file");
  score->add_option("file", v.score_file, "JSON lines or .csv with answer, task, predicted_answer")
      ->required();
  score->footer("Example: kvengine score predictions.csv");
  score->callback([&] { action = [&] { return kv::verb_score(v.score_file); }; });
}

int run(int argc, char** argv) {
  CLI::App app(
      "kvengine: language models on the CPU with a compressed KV cache, and its benchmark");
  app.set_version_flag("--version", kv::version_text());
  app.require_subcommand(1);
  Verbs verbs;
  Action action;
  add_run(app, verbs, action);
  add_compare(app, verbs, action);
  add_probe(app, verbs, action);
  add_generate(app, verbs, action);
  add_text_verbs(app, verbs, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(kv::ErrorKind::kUsage);
  }
  try {
    kv::kernels();  // KVENGINE_ISA is checked before anything else is done
  } catch (const std::exception& e) {
    throw_usage("{}", e.what());
  }
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  // A failed KV_CHECK aborts after its message; callers see the documented status instead of a
  // signal.
  std::signal(SIGABRT, [](int) { _exit(kInternalError); });
  try {
    return run(argc, argv);
  } catch (const kv::Error& e) {
    std::fprintf(stderr, "kvengine: %s\n", e.what());
    return e.exit_status();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kvengine: internal error: %s\n", e.what());
    return kInternalError;
  }
}
