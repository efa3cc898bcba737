// Decode speed of several sequences on one shared prompt, beside the same number on prompts of their
// own.
//
//   shared_prompt MODEL [SEQUENCES [TOKENS [STEPS [WEIGHTS]]]]
//       default 16 sequences, 2048 tokens, 16 steps, weights as stored
#include <chrono>

#include "bench/bench_main.h"
#include "bench/random_inputs.h"
#include "compress/registry.h"
#include "engine/session.h"
#include "kernels/parallel.h"

namespace {

using namespace kv;

// Tokens/s of all sequences together.
double decode_speed(Session& session, std::vector<KvCache>& caches, int steps) {
  std::vector<KvCache*> pointers;
  for (KvCache& cache : caches) pointers.push_back(&cache);
  const std::vector<int32_t> tokens(caches.size(), 1);
  std::vector<float> rows(caches.size() * static_cast<size_t>(session.model().config.vocab));
  session.step(pointers, tokens, rows.data());  // warms up
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < steps; ++i) session.step(pointers, tokens, rows.data());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return static_cast<double>(caches.size()) * steps / seconds.count();
}

// The same rows in pages of its own.
KvCache copy_of(const KvCache& cache, const ModelConfig& config) {
  KvCache copy(config, cache.codec_ptr());
  for (int l = 0; l < config.n_layers; ++l) {
    for (int h = 0; h < config.n_kv_heads; ++h) {
      copy.head(l, h) = cache.head(l, h);
      for (PageRef& page : copy.head(l, h).pages) page.writable_keys();
    }
  }
  copy.advance(cache.n_tokens());
  return copy;
}

void run(const BenchArguments& arguments) {
  const int n_sequences = arguments.number(2, 16), n_tokens = arguments.number(3, 2048),
            steps = arguments.number(4, 16);
  set_threads(2);
  LoadOptions load;
  if (arguments.has(5)) load.weights = arguments.text(5);
  Session session(Model::load(arguments.text(1), load));
  const ModelConfig& config = session.model().config;
  const std::vector<int32_t> ids = random_ids(n_tokens, config.vocab);
  for (const char* kv_dtype : {"f32", "f16"}) {
    PrefillOptions options;
    options.codec = plain_codec(kv_dtype);
    const PrefilledPrompt prompt = session.prefill(ids, options);
    for (int round = 0; round < 3; ++round) {  // in turn, so that what else runs hits both
      std::vector<KvCache> shared, own;
      for (int i = 0; i < n_sequences; ++i) {
        shared.push_back(prompt.cache.fork());
        own.push_back(copy_of(prompt.cache, config));
      }
      const double together = decode_speed(session, shared, steps);
      const double apart = decode_speed(session, own, steps);
      fmt::print("{} sequences, {} tokens, {}: shared {:.0f} tokens/s, own {:.0f}, {:.2f} times\n",
                 n_sequences, n_tokens, kv_dtype, together, apart, together / apart);
      std::fflush(stdout);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return kv::bench_main("shared_prompt MODEL [SEQUENCES [TOKENS [STEPS [WEIGHTS]]]]", argc, argv,
                        run);
}
