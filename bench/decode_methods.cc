// Decoding speed of every method beside the full cache: many long sequences together, and one alone.
//
//   decode_methods MODEL [SEQUENCES [ROWS [STEPS [SPEC ...]]]]      default 16 8192 8, every method
//
// MODEL is a folder or a .gguf file. Without SPEC: every policy that has a ratio, at 0.75, and every
// codec; methods that read a file are left out. One prompt of random tokens is prefilled; every
// sequence has a copy of its rows of its own, so that nothing is served from another one's memory.
// Full cache and method take turns, three times; the medians are compared.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "bench/bench_main.h"
#include "bench/random_inputs.h"
#include "bench/spread.h"
#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/saved_cache.h"
#include "engine/session.h"

namespace {

constexpr double kMiB = 1048576.0;
constexpr int kTurns = 3;

bool has(const std::vector<kv::ParamSpec>& params, const char* name) {
  return std::any_of(params.begin(), params.end(),
                     [&](const kv::ParamSpec& param) { return param.name == name; });
}

std::vector<std::string> every_spec() {
  std::vector<std::string> specs;
  for (const kv::MethodInfo& info : kv::all_methods()) {
    const auto params = kv::all_params(info);
    if (info.kind == "codec") {
      specs.push_back(info.name);
      continue;
    }
    if (!has(params, "ratio") || has(params, "filters") || has(params, "curves")) continue;
    if (info.name == "finch") {
      specs.push_back("finch(ratio=0.75,window=64)");
    } else if (info.name == "think") {
      specs.push_back("think(ratio=0.75,unit=pair)");
    } else {
      specs.push_back(info.name + "(ratio=0.75)");
    }
  }
  return specs;
}

// A cache whose pages are its own.
kv::KvCache copy_of(const kv::KvCache& source) {
  kv::KvCache copy = source.fork();
  for (int layer = 0; layer < copy.n_layers(); ++layer) {
    for (int h = 0; h < copy.n_kv_heads(); ++h) {
      kv::KvCache::Head& head = copy.head(layer, h);
      for (std::vector<kv::PageRef>* pages : {&head.pages, &head.plain}) {
        for (kv::PageRef& page : *pages) {
          if (page) page.writable_keys();
        }
      }
    }
  }
  return copy;
}

std::vector<kv::KvCache> copies_of(const kv::KvCache& source, int n) {
  std::vector<kv::KvCache> copies;
  for (int i = 0; i < n; ++i) copies.push_back(copy_of(source));
  return copies;
}

// The rows of a method that acts at every step lie out of reach of copy_of: each copy is read from a file.
std::vector<kv::KvCache> restored_copies(const kv::CompressedCache& cell,
                                         const kv::ModelConfig& config,
                                         const kv::CompressionPlan& plan,
                                         const kv::CodecPtr& kv_dtype, int n) {
  const auto file = std::filesystem::temp_directory_path() / "kvengine_decode_methods.safetensors";
  kv::save_cache(file, cell.cache, std::vector<float>(static_cast<size_t>(config.vocab)), {});
  std::vector<kv::KvCache> copies;
  {
    const kv::SavedCache saved(file);
    for (int i = 0; i < n; ++i) copies.push_back(saved.restore(config, plan, kv_dtype));
  }
  std::filesystem::remove(file);
  return copies;
}

class Bench {
 public:
  Bench(std::shared_ptr<const kv::Model> model, int n_sequences, int n_rows, int n_steps)
      : session_(std::move(model)),
        n_sequences_(n_sequences),
        n_steps_(n_steps),
        logits_(static_cast<size_t>(n_sequences) * session_.model().config.vocab) {
    ids_ = kv::random_ids(n_rows, session_.model().config.vocab);
  }

  void run(const std::vector<std::string>& specs) {
    std::vector<kv::CompressorSpec> methods;
    for (const std::string& spec : specs)
      methods.push_back(kv::parse_compressors(spec, "decode_methods").front());
    prefill(methods);
    fmt::print("{} sequences x {} rows, {} steps\n{:<44} {:>9} {:>10} {:>7} {:>10} {:>7}\n",
               n_sequences_, ids_.size(), n_steps_, "", "MiB each", "tokens/s", "ratio", "alone",
               "ratio");
    for (const kv::CompressorSpec& method : methods) {
      try {
        measure(method);
      } catch (const kv::Error& e) {
        fmt::print("{:<44} {}\n", method.canonical, e.what());
      }
      std::fflush(stdout);
    }
  }

 private:
  // One prompt for all methods but those that act on it.
  void prefill(const std::vector<kv::CompressorSpec>& methods) {
    std::vector<const kv::CompressionPlan*> plans;
    for (const kv::CompressorSpec& method : methods) plans.push_back(&method.plan);
    const kv::KvNeeds needs = kv::needs_of(plans, static_cast<int>(ids_.size()));
    kv::PrefillOptions options;
    options.codec = f16_;
    options.needs = needs;
    prompt_ = session_.prefill(ids_, options);
    full_ = kv::compress(session_.model(), *prompt_, {});
  }

  kv::CompressedCache compressed(const kv::CompressionPlan& plan) {
    kv::PrefillOptions options;
    options.codec = kv::prompt_codec(plan, f16_);
    options.step = kv::prompt_rules(plan);
    if (options.codec == f16_ && options.step == nullptr)
      return kv::compress(session_.model(), *prompt_, plan);
    options.needs = kv::needs_of({&plan}, static_cast<int>(ids_.size()));
    return kv::compress(session_.model(), session_.prefill(ids_, options), plan);
  }

  void measure(const kv::CompressorSpec& method) {
    const kv::CompressedCache cell = compressed(method.plan);
    const auto [together, full_together] = turns(cell, method.plan, n_sequences_);
    const auto [alone, full_alone] = turns(cell, method.plan, 1);
    fmt::print("{:<44} {:>9.1f} {:>10.1f} {:>7.2f} {:>10.1f} {:>7.2f}\n", method.canonical,
               static_cast<double>(cell.cache.bytes_in_use()) / kMiB, together,
               together / full_together, alone, alone / full_alone);
  }

  // Median tokens/s of n sequences with the method and with the full cache, measured in turn.
  std::pair<double, double> turns(const kv::CompressedCache& cell, const kv::CompressionPlan& plan,
                                  int n) {
    std::vector<kv::KvCache> full = copies_of(full_->cache, n),
                             ours = cell.cache.step() == nullptr
                                        ? copies_of(cell.cache, n)
                                        : restored_copies(cell, session_.model().config, plan, f16_,
                                                          n);
    std::vector<double> speed, full_speed;
    for (int turn = 0; turn < kTurns; ++turn) {
      full_speed.push_back(decode(full));
      speed.push_back(decode(ours));
    }
    return {kv::spread_of(speed).median, kv::spread_of(full_speed).median};
  }

  double decode(std::vector<kv::KvCache>& caches) {
    std::vector<kv::KvCache*> pointers;
    for (kv::KvCache& cache : caches) pointers.push_back(&cache);
    const auto start = std::chrono::steady_clock::now();
    for (int step = 0; step < n_steps_; ++step) {
      const std::vector<int32_t> tokens(caches.size(), ids_[static_cast<size_t>(step)]);
      session_.step(pointers, tokens, logits_.data());
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return static_cast<double>(caches.size()) * n_steps_ / seconds.count();
  }

  kv::Session session_;
  int n_sequences_, n_steps_;
  std::vector<float> logits_;
  std::vector<int32_t> ids_;
  kv::CodecPtr f16_ = kv::plain_codec("f16");
  std::optional<kv::PrefilledPrompt> prompt_;
  std::optional<kv::CompressedCache> full_;
};

}  // namespace

int main(int argc, char** argv) {
  return kv::bench_main("decode_methods MODEL [SEQUENCES [ROWS [STEPS [SPEC ...]]]]", argc, argv,
                        [](const kv::BenchArguments& arguments) {
                          const int n_rows = arguments.number(3, 8192);
                          Bench bench(kv::Model::load(arguments.text(1)), arguments.number(2, 16),
                                      n_rows, std::min(arguments.number(4, 8), n_rows));
                          bench.run(arguments.has(5) ? arguments.from(5) : every_spec());
                        });
}
