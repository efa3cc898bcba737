// Decoding speed as the context grows: one sequence, every method and codec at each frontier.
//
//   frontier MODEL [SPEC ...] [--contexts 512,2048,8192] [--steps 16] [--rounds 3] [--weights TYPE] [--threads N]
//
// One prompt of random tokens grows from frontier to frontier: each prefill goes on from the snapshot
// that the one before left. At a frontier every SPEC compresses the same rows; methods that act on the
// prompt have one of their own. Then the specs take turns: a fork of the cell's rows decodes --steps
// tokens, always the same ones, so that the end of a text plays no part, and is dropped. Prefilling,
// compressing, forking and one first step are outside the clock. The speed of the prefill, over the
// tokens that the frontier adds and with what the specs want recorded, has a line of its own.
//
// A context may be longer than the model's own: what is computed means nothing then, but its speed
// depends on neither weights nor tokens, so any model of the shape will do, random weights included.
// GB/s counts the weights and the rows that one token reads.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/random_inputs.h"
#include "bench/spread.h"
#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "engine/session.h"
#include "kernels/parallel.h"

namespace {

using namespace kv;

constexpr double kMiB = 1048576.0;
constexpr const char* kUsage =
    "usage: frontier MODEL [SPEC ...] [--contexts N,N,...] [--steps N] [--rounds N] [--weights "
    "TYPE]\n";

struct Options {
  std::string model;
  std::vector<std::string> specs;
  std::vector<int> contexts = {512, 1024, 2048, 4096, 8192, 16384, 32768};
  int steps = 16, rounds = 3;
  int n_threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  LoadOptions load;
};

// A whole number of at least 1 from text; what: the option that it was given to.
int positive(std::string_view text, const char* what) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1)
    throw_usage("{}: expected a whole number of at least 1, found '{}'", what, text);
  return value;
}

std::vector<int> rising_list(std::string_view text) {
  std::vector<int> numbers;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    numbers.push_back(positive(text.substr(at, comma - at), "--contexts"));
    if (numbers.size() > 1 && numbers.back() <= numbers[numbers.size() - 2])
      throw_usage("--contexts: expected rising numbers, found '{}'", text);
    at = comma + 1;
  }
  return numbers;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      (options.model.empty() ? options.model : options.specs.emplace_back()) = word;
      continue;
    }
    if (i + 1 == argc) throw_usage("{}: expected a value after it", word);
    const std::string value = argv[++i];
    if (word == "--contexts") {
      options.contexts = rising_list(value);
    } else if (word == "--steps") {
      options.steps = positive(value, "--steps");
    } else if (word == "--rounds") {
      options.rounds = positive(value, "--rounds");
    } else if (word == "--threads") {
      options.n_threads = positive(value, "--threads");
    } else if (word == "--weights") {
      options.load.weights = value;
    } else {
      throw_usage("unknown option '{}'\n{}", word, kUsage);
    }
  }
  if (options.model.empty()) throw_usage("no model given\n{}", kUsage);
  if (options.specs.empty()) {
    options.specs = {"none",
                     "int8",
                     "int4",
                     "int2",
                     "kivi4",
                     "kivi2",
                     "streamingllm(ratio=0.75)",
                     "snapkv(ratio=0.75)"};
  }
  return options;
}

// What one spec left of a prompt, and its speeds so far.
struct Cell {
  const CompressorSpec* method;
  KvCache cache;
  std::vector<double> tokens_per_s = {};
};

class Frontiers {
 public:
  explicit Frontiers(const Options& options)
      : options_(options), session_(Model::load(options.model, options.load)) {
    for (const std::string& spec : options.specs)
      methods_.push_back(parse_compressors(spec, "frontier").front());
    const int vocab = session_.model().config.vocab;
    ids_ = random_ids(options.contexts.back(), vocab);
    logits_.resize(static_cast<size_t>(vocab));
    // Buffers grow to their size before anything is timed.
    const size_t n_first = std::min<size_t>(ids_.size(), 512);
    PrefillOptions exact;
    exact.codec = f16_;
    session_.prefill({ids_.data(), n_first}, exact);
  }

  void run() {
    const ModelConfig& config = session_.model().config;
    fmt::print(
        "{}: {:.1f} MiB of weights, trained for {} tokens; {} threads, {} steps, {} rounds\n",
        options_.model, static_cast<double>(session_.model().weight_bytes) / kMiB,
        config.max_position, threads(), options_.steps, options_.rounds);
    fmt::print("{:>7} {:<40} {:>9} {:>10} {:>17} {:>6}\n", "context", "spec", "KV MiB", "tokens/s",
               "slowest..fastest", "GB/s");
    for (const int n : options_.contexts) {
      std::vector<Cell> cells = cells_at(n);
      for (int round = 0; round < options_.rounds; ++round) {
        for (Cell& cell : cells) cell.tokens_per_s.push_back(decode(cell.cache));
      }
      for (const Cell& cell : cells) print(n, cell);
      std::fflush(stdout);
    }
  }

 private:
  std::vector<Cell> cells_at(int n) {
    const std::span<const int32_t> ids(ids_.data(), static_cast<size_t>(n));
    std::vector<Cell> cells;
    const PrefilledPrompt prompt = shared_prompt(ids);
    for (const CompressorSpec& method : methods_) {
      if (acts_on_prompt(method)) {
        PrefillOptions options;
        options.codec = prompt_codec(method.plan, f16_);
        options.step = prompt_rules(method.plan);
        if (!options.step) options.needs = needs_of({&method.plan}, n);
        const PrefilledPrompt own = session_.prefill(ids, options);
        cells.push_back({&method, compress(session_.model(), own, method.plan).cache});
      } else {
        cells.push_back({&method, compress(session_.model(), prompt, method.plan).cache});
      }
    }
    return cells;
  }

  bool acts_on_prompt(const CompressorSpec& method) const {
    return prompt_codec(method.plan, f16_) != f16_ || prompt_rules(method.plan) != nullptr;
  }

  // The prompt of all methods that do not act on it; leaves a snapshot for the next frontier.
  PrefilledPrompt shared_prompt(std::span<const int32_t> ids) {
    const int n = static_cast<int>(ids.size());
    std::vector<const CompressionPlan*> plans;
    for (const CompressorSpec& method : methods_) {
      if (!acts_on_prompt(method)) plans.push_back(&method.plan);
    }
    PrefillOptions options;
    options.codec = f16_;
    options.needs = needs_of(plans, n);
    options.save_at = n;
    if (snapshot_ && snapshot_->needs == options.needs &&
        can_go_on(options.needs, snapshot_->cache.n_tokens(), n))
      options.from = snapshot_.get();
    const auto start = std::chrono::steady_clock::now();
    PrefilledPrompt prompt = session_.prefill(ids, options);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const int added = n - (options.from == nullptr ? 0 : options.from->cache.n_tokens());
    fmt::print("{:>7} prefill of {:<29} {:>10} {:>10.1f}\n", n, fmt::format("{} tokens", added), "",
               added / seconds.count());
    snapshot_ = prompt.prefix;
    return prompt;
  }

  double decode(const KvCache& cell) {
    KvCache work = cell.fork();
    KvCache* const cache = &work;
    const auto step = [&](int i) {
      const int32_t token = ids_[static_cast<size_t>(i) % ids_.size()];
      session_.step({&cache, 1}, {&token, 1}, logits_.data());
    };
    step(0);  // copies the page that is shared with the cell and half full
    const auto start = std::chrono::steady_clock::now();
    for (int i = 1; i <= options_.steps; ++i) step(i);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return options_.steps / seconds.count();
  }

  void print(int n, const Cell& cell) const {
    const Model& model = session_.model();
    const Spread speed = spread_of(cell.tokens_per_s);
    const size_t unread = model.config.tied_embeddings ? 0 : model.embedding.bytes();
    const double read =
        static_cast<double>(model.weight_bytes - unread + cell.cache.bytes_in_use());
    fmt::print("{:>7} {:<40} {:>9.2f} {:>10.1f} {:>8.1f}..{:<7.1f} {:>6.1f}\n", n,
               cell.method->canonical, static_cast<double>(cell.cache.bytes_in_use()) / kMiB,
               speed.median, speed.least, speed.most, 1e-9 * read * speed.median);
  }

  Options options_;
  Session session_;
  std::vector<CompressorSpec> methods_;
  std::vector<int32_t> ids_;
  std::vector<float> logits_;
  CodecPtr f16_ = plain_codec("f16");
  std::shared_ptr<const PromptPrefix> snapshot_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    set_threads(options.n_threads);
    Frontiers(options).run();
  } catch (const kv::Error& e) {
    fmt::print(stderr, "frontier: {}\n", e.what());
    return e.exit_status();
  }
  return 0;
}
