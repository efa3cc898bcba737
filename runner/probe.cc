#include "runner/probe.h"

#include <map>
#include <memory>

#include "engine/compression.h"
#include "engine/error.h"
#include "engine/model.h"
#include "engine/safetensors_writer.h"
#include "engine/session.h"
#include "kernels/parallel.h"
#include "runner/kept_svg.h"
#include "runner/logits.h"

namespace kv {
namespace {

// One request on one loaded model.
class Probe {
 public:
  Probe(std::shared_ptr<const Model> model, const ProbeRequest& request, std::string prefix,
        SafetensorsWriter& out)
      : session_(std::move(model), request.prefill_chunk),
        request_(request),
        prefix_(std::move(prefix)),
        out_(out),
        vocab_(session_.model().config.vocab) {}

  // Writes the request's tensors; gives the rows that stayed.
  KeptPicture run() {
    const PrefilledPrompt prompt = prefill();
    const CompressedCache compressed = compress(session_.model(), prompt, request_.compressor.plan);
    add_heads(compressed);
    const auto kv_bytes = static_cast<int64_t>(compressed.cache.bytes_in_use());
    add("kv_bytes", {1}, std::vector<int64_t>{kv_bytes});
    add_suffix(compressed.cache, prompt.last_logits);
    add_generated(compressed.cache, prompt.last_logits);
    const std::string hex = hash_.hex();
    const std::vector<uint8_t> digits(hex.begin(), hex.end());
    add("logits_hash", {static_cast<int64_t>(digits.size())}, digits);
    const auto n = static_cast<int64_t>(request_.prompt_ids.size());
    return {request_.compressor.canonical, kept_rows(compressed.kept, n), n};
  }

 private:
  template <typename T>
  void add(const std::string& name, const std::vector<int64_t>& shape,
           const std::vector<T>& values) {
    out_.add(prefix_ + name, shape, std::span<const T>(values));
  }

  PrefilledPrompt prefill() {
    const auto n = static_cast<int64_t>(request_.prompt_ids.size());
    std::vector<float> logits;
    logits.reserve(static_cast<size_t>(n * vocab_));
    PrefillOptions options;
    options.codec = prompt_codec(request_.compressor.plan, plain_codec(request_.kv_dtype));
    options.step = prompt_rules(request_.compressor.plan);
    options.cut = prompt_cut(request_.compressor.plan, session_.model().config,
                             plain_codec(request_.kv_dtype));
    options.positions = positions_of(request_.compressor.plan);
    options.needs = needs_of({&request_.compressor.plan}, static_cast<int>(n));
    options.on_logits = [&](int, int n_rows, const float* rows) {
      logits.insert(logits.end(), rows, rows + static_cast<int64_t>(n_rows) * vocab_);
      hash_.add(rows, static_cast<int64_t>(n_rows) * vocab_);
    };
    PrefilledPrompt prompt = session_.prefill(request_.prompt_ids, options);
    add("prompt_logits", {n, vocab_}, logits);
    return prompt;
  }

  void add_heads(const CompressedCache& compressed) {
    for (size_t layer = 0; layer < compressed.kept.size(); ++layer) {
      for (size_t head = 0; head < compressed.kept[layer].size(); ++head) {
        const std::vector<int32_t>& rows = compressed.kept[layer][head];
        add(fmt::format("kept.{}.{}", layer, head), {static_cast<int64_t>(rows.size())}, rows);
      }
    }
    if (!request_.scores) return;
    for (size_t layer = 0; layer < compressed.scores.size(); ++layer) {
      for (size_t head = 0; head < compressed.scores[layer].size(); ++head) {
        const std::vector<float>& scores = compressed.scores[layer][head];
        if (scores.empty()) continue;
        add(fmt::format("scores.{}.{}", layer, head), {static_cast<int64_t>(scores.size())},
            scores);
      }
    }
  }

  void add_suffix(const KvCache& compressed, const std::vector<float>& last_logits) {
    const std::vector<int32_t>& ids = request_.suffix_ids;
    const auto n = static_cast<int64_t>(ids.size());
    std::vector<float> logits, nll;
    logits.reserve(static_cast<size_t>(n * vocab_));
    if (n > 0) {
      KvCache cache = compressed.fork();
      session_.feed(cache, ids, [&](int, int n_rows, const float* rows) {
        logits.insert(logits.end(), rows, rows + static_cast<int64_t>(n_rows) * vocab_);
        hash_.add(rows, static_cast<int64_t>(n_rows) * vocab_);
      });
      for (int64_t i = 0; i < n; ++i) {
        const float* row = i == 0 ? last_logits.data() : logits.data() + (i - 1) * vocab_;
        nll.push_back(static_cast<float>(negative_log_likelihood(row, vocab_, ids[i])));
      }
    }
    add("suffix_logits", {n, vocab_}, logits);
    add("suffix_nll", {n}, nll);
  }

  void add_generated(const KvCache& compressed, const std::vector<float>& last_logits) {
    std::vector<int32_t> ids;
    if (request_.generate > 0) {
      KvCache cache = compressed.fork();
      std::vector<float> row = last_logits;
      for (;;) {
        ids.push_back(greedy_token(row.data(), vocab_));
        if (static_cast<int>(ids.size()) == request_.generate) break;
        KvCache* const caches[] = {&cache};
        session_.step(caches, std::span(&ids.back(), 1), row.data());
        hash_.add(row.data(), vocab_);
      }
    }
    add("generated", {static_cast<int64_t>(ids.size())}, ids);
  }

  Session session_;
  const ProbeRequest& request_;
  std::string prefix_;
  SafetensorsWriter& out_;
  int vocab_;
  LogitsHash hash_;
};

// Before any work: results that cannot be written are found at once.
void check_folder(const std::filesystem::path& file) {
  if (file.empty()) return;
  const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
  if (!std::filesystem::is_directory(folder)) {
    throw_usage("{}: the folder {} does not exist; make it first", file.string(), folder.string());
  }
}

}  // namespace

void run_probe(const std::filesystem::path& request_json, const std::filesystem::path& out,
               const std::filesystem::path& heatmap) {
  check_folder(out);
  check_folder(heatmap);
  const std::vector<ProbeRequest> requests = read_probe_requests(request_json);
  std::map<std::filesystem::path, std::vector<size_t>> by_model;
  for (size_t i = 0; i < requests.size(); ++i) by_model[requests[i].model].push_back(i);

  SafetensorsWriter writer;
  std::vector<KeptPicture> pictures(requests.size());
  for (const auto& [location, indices] : by_model) {
    std::shared_ptr<const Model> model;
    for (const size_t i : indices) {
      const ProbeRequest& request = requests[i];
      try {
        if (!model) model = Model::load(location);
        set_threads(request.threads);
        pictures[i] = Probe(model, request, fmt::format("r{}.", i), writer).run();
      } catch (const Error& e) {
        throw Error(e.kind(), fmt::format("{}: {}", request.place, e.what()));
      }
    }
  }
  writer.write(out);
  if (!heatmap.empty()) write_file_atomically(heatmap, kept_file_svg(pictures));
}

}  // namespace kv
