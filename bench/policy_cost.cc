// What each policy costs beside the prefill that it follows.
//
//   policy_cost MODEL [TOKENS [SPEC ...]]     default 2048 tokens and every policy at ratio 0.5
//
// In per cent of the CPU time of the prefill without any policy, medians of kRuns:
//   record   what the prefill takes longer for what the policy wants recorded
//   rows     unpacking rows for the policy (once for all cells of a grid)
//   score    the policy's own work without top-k
//   top-k    choosing rows from scores as many as it has
//   gather   moving the rows that stay
// and, where a formula is known, the arithmetic of recording and scoring in per cent of the prefill's.
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "compress/registry.h"
#include "compress/select.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "engine/layer_rows.h"
#include "engine/session.h"
#include "kernels/parallel.h"

namespace {

using namespace kv;

constexpr int kRuns = 3;
constexpr int kThreads = 2;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

template <typename Fn>
double median_cost(const Fn& fn) {
  std::vector<double> seconds;
  for (int run = 0; run < kRuns; ++run) {
    const double start = cpu_seconds();
    fn();
    seconds.push_back(cpu_seconds() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[kRuns / 2];
}

std::vector<int32_t> random_ids(int n, int vocab) {
  std::mt19937 generator(1);
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % static_cast<uint32_t>(vocab));
  return ids;
}

struct Costs {
  double record = 0, rows = 0, score = 0, top_k = 0, gather = 0;  // CPU seconds
};

// As many choices as one policy makes at ratio 0.5.
double top_k_cost(const ModelConfig& c, int n) {
  std::mt19937 generator(2);
  std::normal_distribution<float> normal;
  std::vector<float> scores(static_cast<size_t>(n));
  for (float& score : scores) score = normal(generator);
  return median_cost([&] {
    for (int i = 0; i < c.n_layers * c.n_kv_heads; ++i) top_rows(scores, n / 2, Ties::kPosition);
  });
}

std::vector<HeadState> whole_heads(const ModelConfig& c, int n) {
  HeadState head;
  for (int i = 0; i < n; ++i) head.rows.push_back(i);
  return std::vector<HeadState>(static_cast<size_t>(c.n_kv_heads), head);
}

Costs measure(Session& session, const CompressionPlan& plan, std::span<const int32_t> ids,
              double prefill_s, double top_k_s) {
  const ModelConfig& c = session.model().config;
  const int n = static_cast<int>(ids.size());
  PrefillOptions options;
  options.codec = plain_codec("f32");
  options.needs = needs_of({&plan}, n);
  Costs costs;
  costs.record = median_cost([&] { session.prefill(ids, options); }) - prefill_s;
  const PrefilledPrompt prompt = session.prefill(ids, options);
  const std::vector<HeadState> heads = whole_heads(c, n);
  const KvPolicy& policy = *plan.policies.front();
  costs.rows = median_cost([&] {
    for (int l = 0; l < c.n_layers; ++l)
      LayerRows(session.model(), prompt.cache, *prompt.rope, prompt, l, options.needs);
  });
  const double select = median_cost([&] {
    for (int l = 0; l < c.n_layers; ++l) {
      const LayerRows rows(session.model(), prompt.cache, *prompt.rope, prompt, l, options.needs);
      ViewStorage storage;
      policy.select(rows.view(heads, options.needs, storage));
    }
  });
  costs.top_k = top_k_s;
  costs.score = std::max(0.0, select - costs.rows - top_k_s);
  costs.gather =
      std::max(0.0, median_cost([&] { compress(session.model(), prompt, plan); }) - select);
  return costs;
}

// Multiplications and additions of recording and scoring, by the methods' formulas; 0: not known.
double flops_of(const std::string& name, const ModelConfig& c, double n) {
  const double d = c.head_dim, queries = static_cast<double>(c.n_layers) * c.n_heads;
  const double keys = static_cast<double>(c.n_layers) * c.n_kv_heads;
  if (name == "knorm") return 2 * keys * n * d;
  if (name == "keydiff") return 6 * keys * n * d;
  if (name == "snapkv" || name == "pyramidkv") return 2 * queries * 64 * n * d;
  if (name == "tova") return 2 * queries * n * d;
  if (name == "lagkv") return 2 * 8 * keys * n * d;  // ranges and deviations of keys and values
  if (name == "expected_attention")                  // moments of queries, then k^T C k for each
    return queries * n * d * (d + 1) + 2 * queries * n * d * (d + 2);
  return 0;
}

std::vector<std::string> all_policies() {
  std::vector<std::string> specs;
  for (const char* name :
       {"random", "knorm", "snapkv", "expected_attention", "streamingllm", "observed_attention",
        "lagkv", "tova", "keydiff", "pyramidkv", "cur", "cap", "non_causal_attention", "adakv",
        "criticalkv", "chunkkv", "think"})
    specs.push_back(fmt::format("{}(ratio=0.5)", name));
  return specs;
}

int run(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: policy_cost MODEL [TOKENS [SPEC ...]]\n");
    return 2;
  }
  set_threads(kThreads);
  const int n = argc > 2 ? std::atoi(argv[2]) : 2048;
  std::vector<std::string> specs(argv + std::min(argc, 3), argv + argc);
  if (specs.empty()) specs = all_policies();
  Session session(Model::load(argv[1], {}));
  const ModelConfig& c = session.model().config;
  const std::vector<int32_t> ids = random_ids(n, c.vocab);
  PrefillOptions bare;
  bare.codec = plain_codec("f32");
  session.prefill(ids, bare);  // warms up
  const double flops_before = session.flops_computed();
  session.prefill(ids, bare);
  const double prefill_flops = session.flops_computed() - flops_before;
  const double top_k_s = top_k_cost(c, n);
  fmt::print("{} tokens, {} threads, {}; per cent of the prefill's CPU time\n", n, kThreads,
             isa_name(isa()));
  fmt::print("{:24} {:>9} {:>7} {:>6} {:>6} {:>6} {:>7} {:>7}\n", "policy", "prefill s", "record",
             "rows", "score", "top-k", "gather", "FLOPs");
  for (const std::string& spec : specs) {
    const CompressorSpec parsed = parse_compressors(spec, "policy_cost").front();
    // Beside each policy again: another process may have the machine by now.
    const double prefill_s = median_cost([&] { session.prefill(ids, bare); });
    const Costs costs = measure(session, parsed.plan, ids, prefill_s, top_k_s);
    const auto share = [&](double seconds) { return 100 * seconds / prefill_s; };
    const double flops = flops_of(parsed.short_name, c, n);
    fmt::print("{:24} {:9.2f} {:7.2f} {:6.2f} {:6.2f} {:6.2f} {:7.2f} {:>7}\n", parsed.short_name,
               prefill_s, share(costs.record), share(costs.rows), share(costs.score),
               share(costs.top_k), share(costs.gather),
               flops > 0 ? fmt::format("{:.2f}", 100 * flops / prefill_flops) : "");
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "policy_cost: {}\n", e.what());
    return 2;
  }
}
