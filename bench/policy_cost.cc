// What each policy costs beside the prefill that it follows.
//
//   policy_cost MODEL [TOKENS [SPEC ...]]     default 2048 tokens and every policy at ratio 0.5
//
// In per cent of the CPU time of the prefill without any policy, the least of kRuns:
//   record   what the policy wants recorded during the prefill
//   rows     unpacking rows for the policy (once for all cells of a grid)
//   score    the policy's own work without top-k
//   top-k    choosing rows from scores as many as it has
//   gather   moving the rows that stay
// then the arithmetic of recording and scoring by the method's formula, in per cent of the prefill's, and
// how many times this share recording and scoring take.
#include <algorithm>
#include <cmath>
#include <optional>
#include <random>

#include "bench/bench_main.h"
#include "bench/random_inputs.h"
#include "compress/registry.h"
#include "compress/select.h"
#include "engine/compression.h"
#include "engine/cpu_clock.h"
#include "engine/layer_rows.h"
#include "engine/session.h"
#include "kernels/parallel.h"

namespace {

using namespace kv;

constexpr int kRuns = 5;
constexpr int kThreads = 2;

template <typename Fn>
double cost(const Fn& fn) {
  const double start = process_cpu_seconds();
  fn();
  return process_cpu_seconds() - start;
}

// What else runs on the machine only ever adds.
double least(const std::vector<double>& seconds) {
  return *std::min_element(seconds.begin(), seconds.end());
}

struct Costs {
  double prefill = 0, record = 0, rows = 0, score = 0, top_k = 0, gather = 0;  // CPU seconds
};

// As many choices as one policy makes at ratio 0.5.
double top_k_cost(const ModelConfig& c, int n) {
  std::mt19937 generator(2);
  std::normal_distribution<float> normal;
  std::vector<float> scores(static_cast<size_t>(n));
  for (float& score : scores) score = normal(generator);
  return cost([&] {
    for (int i = 0; i < c.n_layers * c.n_kv_heads; ++i) top_rows(scores, n / 2, Ties::kPosition);
  });
}

std::vector<HeadState> whole_heads(const ModelConfig& c, int n) {
  HeadState head;
  for (int i = 0; i < n; ++i) head.rows.push_back(i);
  return std::vector<HeadState>(static_cast<size_t>(c.n_kv_heads), head);
}

// Of every layer: its rows unpacked, and the policy's choice.
void choose(Session& session, const PrefilledPrompt& prompt, const KvPolicy& policy,
            const KvNeeds& needs, double& rows_s, double& select_s) {
  const ModelConfig& c = session.model().config;
  const std::vector<HeadState> heads = whole_heads(c, prompt.cache.n_tokens());
  for (int l = 0; l < c.n_layers; ++l) {
    std::optional<LayerRows> rows;
    rows_s += cost(
        [&] { rows.emplace(session.model(), prompt.cache, prompt.rope->at(l), prompt, l, needs); });
    ViewStorage storage;
    const LayerView view = rows->view(heads, needs, storage);
    select_s += cost([&] { policy.select(view); });
  }
}

// Recording is timed where it happens: the difference of two prefills is lost in their noise.
Costs measure(Session& session, const CompressionPlan& plan, std::span<const int32_t> ids,
              double top_k_s) {
  PrefillOptions bare, options;
  bare.codec = options.codec = plain_codec("f32");
  options.needs = needs_of({&plan}, static_cast<int>(ids.size()));
  std::vector<double> prefill, recording, rows, score, gather;
  for (int run = 0; run < kRuns; ++run) {
    prefill.push_back(cost([&] { session.prefill(ids, bare); }));
    const double recorded_before = session.seconds_recording();
    const PrefilledPrompt prompt = session.prefill(ids, options);
    recording.push_back(session.seconds_recording() - recorded_before);
    double rows_s = 0, select_s = 0;
    choose(session, prompt, *plan.policies.front(), options.needs, rows_s, select_s);
    rows.push_back(rows_s);
    score.push_back(select_s - top_k_s);
    gather.push_back(cost([&] { compress(session.model(), prompt, plan); }) - rows_s - select_s);
  }
  return {least(prefill), least(recording),
          least(rows),    std::max(0.0, least(score)),
          top_k_s,        std::max(0.0, least(gather))};
}

// Multiplications and additions of recording and scoring, by the methods' formulas, softmax left out.
double flops_of(const std::string& name, const ModelConfig& c, double n) {
  const double d = c.head_dim, queries = static_cast<double>(c.n_layers) * c.n_heads;
  const double keys = static_cast<double>(c.n_layers) * c.n_kv_heads;
  const double moments = queries * n * d * (d + 1);  // lower triangle, and the sums
  if (name == "knorm") return 2 * keys * n * d;
  if (name == "cur") return 4 * keys * n * d;
  if (name == "keydiff") return 6 * keys * n * d;
  if (name == "block") {  // keydiff of what stays so far and the next block, over and over
    constexpr double kBlock = 128;
    return 6 * keys * std::ceil(n / 2 / kBlock) * (n / 2 + kBlock) * d;
  }
  if (name == "tova") return 2 * queries * n * d;
  if (name == "lagkv") return 2 * 8 * keys * n * d;  // ranges and deviations of keys and values
  if (name == "think") return 2 * keys * n * d;
  if (name == "expected_attention")  // k^T C k and k^T m for each key
    return moments + 2 * queries * n * d * (d + 2);
  if (name == "cap")  // M, its factor and that one's inverse, v^T M^-1 v by a triangle
    return 2 * moments + 2 * queries * d * d * d / 3 + 2 * queries * n * d;
  if (name == "observed_attention") return 2 * queries * n * (n + 1) / 2 * d;  // all logits again
  if (name == "non_causal_attention") return 2 * queries * n * std::min(n, 256.0) * d;
  const double votes = 2 * queries * 64 * n * d;  // of snapkv's window
  if (name == "criticalkv" || name == "criticaladakv") return votes + 2 * queries * n * d * c.dim;
  if (name == "merging") return votes + 2 * keys * n / 2 * n / 2 * d;  // evicted rows, kept rows
  for (const char* around :
       {"snapkv", "pyramidkv", "adakv", "chunkkv", "entropy_chunkkv", "finch"}) {
    if (name == around) return votes;
  }
  return 0;
}

std::vector<std::string> all_policies() {
  std::vector<std::string> specs;
  for (const char* name : {"random",
                           "knorm",
                           "snapkv",
                           "expected_attention",
                           "streamingllm",
                           "observed_attention",
                           "lagkv",
                           "tova",
                           "keydiff",
                           "pyramidkv",
                           "cur",
                           "cap",
                           "non_causal_attention",
                           "adakv",
                           "criticalkv",
                           "criticaladakv",
                           "chunkkv",
                           "entropy_chunkkv",
                           "block",
                           "merging",
                           "think"})
    specs.push_back(fmt::format("{}(ratio=0.5)", name));
  return specs;
}

void run(const BenchArguments& arguments) {
  set_threads(kThreads);
  const int n = arguments.number(2, 2048);
  std::vector<std::string> specs = arguments.from(3);
  if (specs.empty()) specs = all_policies();
  Session session(Model::load(arguments.text(1), {}));
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
  fmt::print("{:22} {:>9} {:>7} {:>6} {:>6} {:>6} {:>7} {:>7} {:>6}\n", "policy", "prefill s",
             "record", "rows", "score", "top-k", "gather", "FLOPs", "times");
  for (const std::string& spec : specs) {
    const CompressorSpec parsed = parse_compressors(spec, "policy_cost").front();
    const Costs costs = measure(session, parsed.plan, ids, top_k_s);
    const auto share = [&](double seconds) { return 100 * seconds / costs.prefill; };
    const double flops = 100 * flops_of(parsed.short_name, c, n) / prefill_flops;
    fmt::print("{:22} {:9.2f} {:7.2f} {:6.2f} {:6.2f} {:6.2f} {:7.2f} {:>7} {:>6}\n",
               parsed.short_name, costs.prefill, share(costs.record), share(costs.rows),
               share(costs.score), share(costs.top_k), share(costs.gather),
               flops > 0 ? fmt::format("{:.3f}", flops) : "",
               flops > 0 ? fmt::format("{:.1f}", share(costs.record + costs.score) / flops) : "");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return kv::bench_main("policy_cost MODEL [TOKENS [SPEC ...]]", argc, argv, run);
}
