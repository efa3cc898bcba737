// A text much longer than a model's context, through a cache that does not grow with it.
//
//   endless_text MODEL TEXT SPEC [TOKENS [BLOCK [OUT.safetensors]]]      default 100000 10000
//
// TEXT is tokenized once (no special tokens) and fed in passes of 512 tokens to the method SPEC in f16,
// for example 'streaming_rolling(sinks=4,window=1020)'. One line of CSV for each block of BLOCK tokens:
// the mean cost of its tokens in nats, tokens per second and per second of processor time, and bytes: in use and allocated at its end,
// and the most that was allocated so far. OUT gets ids (I32) and nll (F32, entry 0 is 0): the cost of
// each token after all those before it.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>

#include "bench/bench_main.h"
#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/mapped_file.h"
#include "engine/model.h"
#include "engine/safetensors_writer.h"
#include "engine/session.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/kernels.h"

namespace {

using Clock = std::chrono::steady_clock;

class Reader {
 public:
  Reader(const kv::Model& model, std::vector<int32_t> ids)
      : vocab_(model.config.vocab), ids_(std::move(ids)), nll_(ids_.size(), 0.0f) {}

  const std::vector<int32_t>& ids() const { return ids_; }
  const std::vector<float>& nll() const { return nll_; }

  // Row i of the logits predicts token first + i + 1.
  void take(size_t first, int n, const float* rows) {
    for (int i = 0; i < n && first + i + 1 < ids_.size(); ++i) {
      const float* row = rows + static_cast<int64_t>(i) * vocab_;
      const size_t next = first + i + 1;
      nll_[next] = static_cast<float>(kv::kernels().log_sum_exp(row, vocab_) -
                                      static_cast<double>(row[ids_[next]]));
    }
  }

  double mean(size_t begin, size_t end) const {
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += nll_[i];
    return sum / static_cast<double>(end - begin);
  }

 private:
  int vocab_;
  std::vector<int32_t> ids_;
  std::vector<float> nll_;
};

void read_text(const std::shared_ptr<const kv::Model>& model, const kv::CompressionPlan& plan,
               Reader& reader, size_t block) {
  kv::Session session(model);
  const size_t n = reader.ids().size();
  std::optional<kv::KvCache> cache;
  std::printf("tokens,nll,tokens_per_s,tokens_per_cpu_s,bytes_in_use,bytes_allocated,bytes_peak\n");
  kv::reset_page_bytes_peak();
  for (size_t begin = 0; begin < n; begin += block) {
    const auto start = Clock::now();
    const std::clock_t cpu_start = std::clock();
    const size_t end = std::min(n, begin + block);
    const auto ids = std::span(reader.ids()).subspan(begin, end - begin);
    const auto on_logits = [&](int first, int n_rows, const float* rows) {
      reader.take(begin + static_cast<size_t>(first), n_rows, rows);
    };
    if (!cache) {
      kv::PrefillOptions options;
      options.codec = kv::prompt_codec(plan, kv::plain_codec("f16"));
      options.step = kv::prompt_rules(plan);
      options.needs = kv::needs_of({&plan}, static_cast<int>(ids.size()));
      options.on_logits = on_logits;
      const kv::PrefilledPrompt prompt = session.prefill(ids, options);
      cache = kv::compress(*model, prompt, plan).cache;
    } else {
      session.feed(*cache, ids, on_logits);
    }
    const double n_tokens = static_cast<double>(end - begin);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count(),
                 cpu_seconds = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
    std::printf("%zu,%.4f,%.1f,%.1f,%zu,%zu,%zu\n", end,
                reader.mean(std::max<size_t>(1, begin), end), n_tokens / seconds,
                n_tokens / cpu_seconds, cache->bytes_in_use(), cache->bytes_allocated(),
                kv::page_bytes_peak());
    std::fflush(stdout);
  }
}

void run(const kv::BenchArguments& arguments) {
  if (!arguments.has(3)) kv::throw_usage("expected MODEL, TEXT and SPEC");
  const auto n_tokens = static_cast<size_t>(arguments.number(4, 100000));
  const auto block = static_cast<size_t>(arguments.number(5, 10000));
  if (n_tokens < 2) kv::throw_usage("TOKENS must be at least 2");
  const std::string text = arguments.text(2);
  const kv::CompressionPlan plan = kv::parse_compressors(arguments.text(3), "SPEC").at(0).plan;
  const auto model = kv::Model::load(arguments.text(1));
  plan.check_model(kv::shape_of(model->config));
  std::vector<int32_t> ids = model->require_tokenizer().encode(kv::read_whole_file(text), false);
  if (ids.size() < n_tokens)
    kv::throw_data("{}: expected at least {} tokens, found {}", text, n_tokens, ids.size());
  ids.resize(n_tokens);
  Reader reader(*model, std::move(ids));
  read_text(model, plan, reader, block);
  if (!arguments.has(6)) return;
  kv::SafetensorsWriter out;
  const std::vector<int64_t> shape = {static_cast<int64_t>(n_tokens)};
  out.add("ids", shape, std::span(reader.ids()));
  out.add("nll", shape, std::span(reader.nll()));
  out.write(arguments.text(6));
}

}  // namespace

int main(int argc, char** argv) {
  return kv::bench_main("endless_text MODEL TEXT SPEC [TOKENS [BLOCK [OUT.safetensors]]]", argc,
                        argv, run);
}
