// positions=contiguous, layer by layer: the compressed cache against attention computed in double
// over the kept rows, which stand at the positions 0, 1, 2, …
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "compress/registry.h"
#include "engine/attention.h"
#include "engine/compression.h"
#include "engine/session.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

using testing::random_ids;
using testing::random_model;
using testing::small_config;

// The row turned to a position, in double.
std::vector<double> turned(const ModelConfig& c, const float* row, int position) {
  std::vector<double> out(row, row + c.head_dim);
  const int half = c.rotary_dim / 2;
  for (int i = 0; i < half; ++i) {
    const double angle = position * std::pow(c.rope.theta, -2.0 * i / c.rotary_dim);
    const double lo = row[i], hi = row[i + half];
    out[i] = lo * std::cos(angle) - hi * std::sin(angle);
    out[i + half] = hi * std::cos(angle) + lo * std::sin(angle);
  }
  return out;
}

// Rows of one head of a cache, keys as they are stored: before RoPE.
struct Rows {
  std::vector<std::vector<float>> keys, values;
};
Rows rows_of(const KvCache& cache, int layer, int kv_head) {
  Rows rows;
  const int dim = cache.head_dim();
  std::vector<float> scratch(static_cast<size_t>(padded(dim)) * kTile);
  const KvCache::Head& head = cache.head(layer, kv_head);
  for (int r = 0; r < head.n_rows; ++r) {
    const int tile = r / kTile, n = std::min(kTile, head.n_rows - tile * kTile);
    const float* k = cache.load_keys(head, tile, n, {}, scratch.data());
    std::vector<float>& key = rows.keys.emplace_back();
    for (int d = 0; d < dim; ++d) key.push_back(k[d * kTile + r % kTile]);
    const float* v = cache.load_values(head, tile, n, scratch.data());
    rows.values.emplace_back(v + r % kTile * padded(dim), v + r % kTile * padded(dim) + dim);
  }
  return rows;
}

// What a query head reads from the kept rows of the exact prompt, standing at their ranks.
std::vector<double> expected_output(const ModelConfig& c, const Rows& prompt,
                                    const std::vector<int32_t>& kept, const float* query,
                                    int position) {
  const std::vector<double> q = turned(c, query, position);
  std::vector<double> weights;
  double sum = 0;
  for (size_t rank = 0; rank < kept.size(); ++rank) {
    const std::vector<double> k = turned(c, prompt.keys[kept[rank]].data(), static_cast<int>(rank));
    double dot = 0;
    for (int d = 0; d < c.head_dim; ++d) dot += q[d] * k[d];
    sum += weights.emplace_back(std::exp(dot / std::sqrt(c.head_dim)));
  }
  std::vector<double> out(c.head_dim, 0.0);
  for (size_t rank = 0; rank < kept.size(); ++rank) {
    for (int d = 0; d < c.head_dim; ++d)
      out[d] += weights[rank] / sum * prompt.values[kept[rank]][d];
  }
  return out;
}

TEST(Contiguous, KeptRowsStandAtTheirRanksInEveryLayer) {
  ModelConfig config = small_config();
  config.n_layers = 4;
  const auto model = random_model(config);
  Session session(model);
  const std::vector<int32_t> ids = random_ids(200, config.vocab, 3);
  double largest = 0;
  for (const double ratio : {0.25, 0.5, 0.75}) {
    const CompressorSpec method =
        parse_compressors(fmt::format("streamingllm(ratio={})", ratio), "test").front();
    const PrefilledPrompt prompt = session.prefill(ids, {plain_codec("f32"), {}, nullptr});
    const CompressedCache cut = compress(*model, prompt, method.plan);
    std::mt19937 generator(7);
    std::normal_distribution<float> normal(0, 2);
    std::vector<float> queries(static_cast<size_t>(config.n_heads) * config.head_dim);
    for (float& x : queries) x = normal(generator);
    std::vector<float> out(queries.size());
    for (int layer = 0; layer < config.n_layers; ++layer) {
      // As if the token after the prompt looked once more at what is there.
      const AttentionInput input{.cache = &cut.cache,
                                 .queries = queries.data(),
                                 .stride = static_cast<int64_t>(queries.size()),
                                 .n_tokens = 1,
                                 .first_token = 200,
                                 .out = out.data(),
                                 .out_stride = static_cast<int64_t>(out.size()),
                                 .scale = config.query_scale()};
      attend(config, prompt.rope->at(layer), layer, {&input, 1});
      for (int h = 0; h < config.n_heads; ++h) {
        const std::vector<int32_t>& kept = cut.kept[layer][h / config.group()];
        const std::vector<double> want =
            expected_output(config, rows_of(prompt.cache, layer, h / config.group()), kept,
                            queries.data() + h * config.head_dim, static_cast<int>(kept.size()));
        for (int d = 0; d < config.head_dim; ++d)
          largest = std::max(largest, std::abs(out[h * config.head_dim + d] - want[d]));
      }
    }
  }
  RecordProperty("largest_difference", fmt::format("{:.2g}", largest));
  EXPECT_LT(largest, 5e-6);
}

}  // namespace
}  // namespace kv
