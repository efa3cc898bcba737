// The `run` map: one table drives checking, defaults and messages.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "engine/error.h"
#include "engine/linear.h"
#include "runner/env.h"
#include "runner/run_options.h"

namespace kv {
namespace {

using Type = ParamSpec::Type;

ParamSpec row(std::string name, Type type, std::string default_text, std::string doc) {
  ParamSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.default_text = std::move(default_text);
  spec.doc = std::move(doc);
  return spec;
}

ParamSpec integer(std::string name, std::string default_text, double min, double max,
                  std::string doc) {
  ParamSpec spec = row(std::move(name), Type::kInteger, std::move(default_text), std::move(doc));
  spec.min = min;
  spec.max = max;
  return spec;
}

ParamSpec choice(std::string name, std::vector<std::string> choices, std::string doc) {
  ParamSpec spec = row(std::move(name), Type::kChoice, choices.front(), std::move(doc));
  spec.choices = std::move(choices);
  return spec;
}

constexpr double kManyTokens = 1 << 30;
constexpr double kLargestSeed = 9007199254740991.0;  // 2^53 - 1: what a YAML number holds exactly

int64_t read_memory(const Params& params) {
  if (params.is_null("memory")) return 0;
  const Value& value = params.value("memory");
  std::optional<int64_t> bytes;
  if (value.is_integer()) bytes = static_cast<int64_t>(value.number);
  if (value.is_string()) bytes = parse_bytes(value.text);
  if (!bytes || *bytes <= 0) {
    throw_usage("{}: expected bytes or a size such as 8GiB, found {}", value.place,
                value.describe());
  }
  return *bytes;
}

std::vector<ParamSpec> timing_table() {
  return {integer("warmup", "1", 0, 1000, "runs that do not count"),
          integer("repetitions", "3", 1, 1000, "runs that count"),
          row("tasks", Type::kAny, "null", "names of the tasks that are measured; else all"),
          integer("samples", "0", 0, kManyTokens, "samples of each cell, from the first; 0: all")};
}

// false, true or a map.
TimingOptions read_timing(const Value& value) {
  TimingOptions timing;
  if (value.kind == Value::Kind::kBool) {
    timing.on = value.boolean;
    return timing;
  }
  if (!value.is_map()) {
    throw_usage("{}: 'timing' must be true, false or a map, found {}", value.place,
                value.describe());
  }
  const Params params = Params::read(value, timing_table(), "timing");
  timing.on = true;
  timing.warmup = params.integer("warmup");
  timing.repetitions = params.integer("repetitions");
  timing.samples = params.integer("samples");
  if (params.is_null("tasks")) return timing;
  const Value& tasks = params.value("tasks");
  const std::vector<Value> names = tasks.is_list() ? tasks.items : std::vector<Value>{tasks};
  for (const Value& name : names) {
    if (!name.is_string()) {
      throw_usage("{}: expected a task's name, found {}", name.place, name.describe());
    }
    timing.tasks.push_back(name.text);
  }
  return timing;
}

}  // namespace

bool TimingOptions::wants(const std::string& task, size_t sample) const {
  const bool named = tasks.empty() || std::find(tasks.begin(), tasks.end(), task) != tasks.end();
  return on && named && (samples == 0 || sample < static_cast<size_t>(samples));
}

const std::vector<ParamSpec>& run_option_table() {
  static const std::vector<ParamSpec> table = {
      integer("threads", "null", 1, 1024, "threads; default: one for each processor"),
      choice("kv_dtype", {"f16", "f32", "bf16"}, "what cache rows are rounded to"),
      choice("weights", {"stored", "f32", "bf16", "f16", "int8", "codes"},
             "the type that products read; int8 and codes (of Q8_0) round the activations too"),
      choice("gemm", {"native", "openblas"}, "who multiplies"),
      integer("prefill_chunk", "0", 0, kManyTokens, "tokens in one pass; 0: chosen"),
      integer("batch", "0", 0, 4096, "sequences decoded together; 0: chosen"),
      row("memory", Type::kAny, "null", "bytes or 8GiB; default: 60 % of what is free"),
      row("timing", Type::kAny, "null",
          "true: measure each cell alone in a second pass; or a map: warmup, repetitions, tasks, "
          "samples"),
      integer("max_new_tokens", "128", 1, kManyTokens, "longest answer, tokens"),
      integer("seed", "0", 0, kLargestSeed, "of everything random"),
      row("out", Type::kString, "null", "folder of the results"),
      choice("sandbox", {"bubblewrap", "rlimits"}, "how code that a model wrote is run"),
  };
  return table;
}

RunOptions read_run_options(const Value& map, const std::filesystem::path& config_file) {
  const Params params = Params::read(map, run_option_table(), "run");
  RunOptions run;
  run.threads = params.is_null("threads") ? default_threads() : params.integer("threads");
  run.kv_dtype = params.string("kv_dtype");
  run.weights = params.string("weights");
  run.gemm = params.string("gemm");
  if (rounds_activations(run.weights) && run.gemm == "openblas") {
    throw_usage(
        "{}: weights int8 are multiplied by our own kernels; expected gemm: native with them",
        params.value("gemm").place);
  }
  run.prefill_chunk = params.integer("prefill_chunk");
  run.batch = params.integer("batch");
  run.memory_bytes = read_memory(params);
  if (!params.is_null("timing")) run.timing = read_timing(params.value("timing"));
  run.max_new_tokens = params.integer("max_new_tokens");
  run.seed = static_cast<int64_t>(params.number("seed"));
  run.sandbox = params.string("sandbox");
  const std::filesystem::path folder = config_file.parent_path();
  const std::filesystem::path out = params.is_null("out")
                                        ? std::filesystem::path("results") / config_file.stem()
                                        : std::filesystem::path(params.string("out"));
  run.out = (folder / out).lexically_normal();
  return run;
}

std::optional<int64_t> parse_bytes(const std::string& text) {
  double number = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  if (error != std::errc() || !(number >= 0)) return std::nullopt;
  std::string unit(end, last);
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? unit.size()
                                                                 : unit.find_first_not_of(' '));
  static constexpr struct {
    const char* unit;
    double bytes;
  } kUnits[] = {{"", 1},         {"B", 1},        {"kB", 1e3},    {"KB", 1e3},
                {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},   {"KiB", 0x1p10},
                {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  for (const auto& known : kUnits) {
    if (unit != known.unit) continue;
    const double bytes = std::floor(number * known.bytes);
    if (bytes > 0x1p62) return std::nullopt;
    return static_cast<int64_t>(bytes);
  }
  return std::nullopt;
}

}  // namespace kv
