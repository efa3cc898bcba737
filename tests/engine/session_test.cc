#include "engine/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "kernels/parallel.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

using testing::random_ids;
using testing::random_model;
using testing::small_config;

// Logits of every prompt position.
std::vector<float> prompt_logits(const std::shared_ptr<const Model>& model,
                                 const std::vector<int32_t>& ids, int chunk,
                                 const std::string& kv_dtype = "f16") {
  Session session(model, chunk);
  std::vector<float> all;
  PrefillOptions options{plain_codec(kv_dtype), {}, [&](int first, int n, const float* logits) {
                           EXPECT_EQ(all.size(), static_cast<size_t>(first) * model->config.vocab);
                           all.insert(all.end(), logits,
                                      logits + static_cast<size_t>(n) * model->config.vocab);
                         }};
  const PrefilledPrompt prompt = session.prefill(ids, options);
  EXPECT_EQ(std::memcmp(prompt.last_logits.data(), all.data() + all.size() - model->config.vocab,
                        model->config.vocab * sizeof(float)),
            0);
  return all;
}

// The model in double precision, straight from the formulas, one token after the other.
class DoubleModel {
 public:
  explicit DoubleModel(const Model& m)
      : m_(m),
        c_(m.config),
        table_(c_.rope, c_.rotary_dim, 1024),
        keys_(c_.n_layers),
        values_(c_.n_layers) {}

  std::vector<double> next(int32_t id) {
    std::vector<double> x = row(m_.embedding, id);
    for (int l = 0; l < c_.n_layers; ++l) {
      const LayerWeights& w = m_.layers[l];
      add(x, product(w.o, attention(l, product(w.qkv, norm(x, w.attention_norm)))));
      std::vector<double> wide = product(w.gate_up, norm(x, w.mlp_norm)), act(c_.hidden_dim);
      for (int i = 0; i < c_.hidden_dim; ++i)
        act[i] = wide[i] / (1 + std::exp(-wide[i])) * wide[c_.hidden_dim + i];
      add(x, product(w.down, act));
    }
    ++position_;
    return product(m_.lm_head, norm(x, m_.final_norm));
  }

 private:
  static void add(std::vector<double>& x, const std::vector<double>& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }
  static std::vector<double> row(const Linear& w, int o) {
    std::vector<float> f(w.n_in());
    w.row(o, f.data());
    return {f.begin(), f.end()};
  }
  static std::vector<double> product(const Linear& w, const std::vector<double>& x) {
    std::vector<double> y(w.n_out());
    for (int o = 0; o < w.n_out(); ++o) {
      const std::vector<double> r = row(w, o);
      for (int i = 0; i < w.n_in(); ++i) y[o] += r[i] * x[i];
    }
    return y;
  }
  std::vector<double> norm(const std::vector<double>& x, const std::vector<float>& w) const {
    double sum = 0;
    for (double v : x) sum += v * v;
    const double r = 1 / std::sqrt(sum / x.size() + c_.norm_eps);
    std::vector<double> y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * r * w[i];
    return y;
  }
  std::vector<double> rotated(const double* x) const {
    std::vector<double> y(x, x + c_.head_dim);
    const int half = c_.head_dim / 2;
    for (int i = 0; i < half; ++i) {
      const double cos = table_.cos_row(position_)[i], sin = table_.sin_row(position_)[i];
      y[i] = x[i] * cos - x[i + half] * sin;
      y[i + half] = x[i + half] * cos + x[i] * sin;
    }
    return y;
  }
  std::vector<double> attention(int l, const std::vector<double>& qkv) {
    const int d = c_.head_dim;
    std::vector<double> out(c_.n_heads * d);
    std::vector<std::vector<double>> keys, values;
    for (int h = 0; h < c_.n_kv_heads; ++h) {
      const double* k = qkv.data() + (c_.n_heads + h) * d;
      keys_[l].push_back(rotated(k));
      values_[l].emplace_back(k + c_.n_kv_heads * d, k + (c_.n_kv_heads + 1) * d);
    }
    for (int h = 0; h < c_.n_heads; ++h) {
      const std::vector<double> q = rotated(qkv.data() + h * d);
      double sum = 0;
      for (int t = 0; t <= position_; ++t) {
        const size_t at = t * c_.n_kv_heads + h / c_.group();
        double score = 0;
        for (int i = 0; i < d; ++i) score += q[i] * keys_[l][at][i];
        const double p = std::exp(score / std::sqrt(d));
        sum += p;
        for (int i = 0; i < d; ++i) out[h * d + i] += p * values_[l][at][i];
      }
      for (int i = 0; i < d; ++i) out[h * d + i] /= sum;
    }
    return out;
  }

  const Model& m_;
  const ModelConfig& c_;
  RopeTable table_;
  int position_ = 0;
  std::vector<std::vector<std::vector<double>>> keys_,
      values_;  // (layers)(tokens x kv heads)(head_dim)
};

TEST(Session, LogitsFollowTheFormulas) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids =
      random_ids(150, model->config.vocab);  // more than one attention block
  const std::vector<float> logits = prompt_logits(model, ids, 64, "f32");
  DoubleModel exact(*model);
  for (size_t t = 0; t < ids.size(); ++t) {
    const std::vector<double> expected = exact.next(ids[t]);
    for (int v = 0; v < model->config.vocab; ++v) {
      ASSERT_NEAR(logits[t * model->config.vocab + v], expected[v], 2e-5)
          << "token " << t << " logit " << v;
    }
  }
}

TEST(Session, ChunksAndThreadsDoNotShow) {
  ModelConfig config = small_config();
  config.qk_norm = QkNorm::kHead;
  config.qkv_bias = true;
  const auto model = random_model(config);
  const std::vector<int32_t> ids = random_ids(301, config.vocab);
  const std::vector<float> whole = prompt_logits(model, ids, 1000);
  for (int threads : {1, 2, 3}) {
    set_threads(threads);
    for (int chunk : {1, 7, 64, 129, 301})
      EXPECT_EQ(prompt_logits(model, ids, chunk), whole) << threads << " " << chunk;
  }
  set_threads(2);
}

TEST(Session, ABatchGivesWhatEachSequenceGivesAlone) {
  const auto model = random_model(small_config());
  Session session(model);
  std::vector<KvCache> together, alone;
  std::vector<std::vector<int32_t>> ids;
  for (int i = 0; i < 16; ++i) {
    ids.push_back(random_ids(3 + 45 * i, model->config.vocab,
                             100 + i));  // up to 678 rows: several decode spans
    const PrefilledPrompt prompt = session.prefill(ids.back(), {plain_codec("f16"), {}, nullptr});
    together.push_back(prompt.cache.fork());
    alone.push_back(prompt.cache.fork());
  }
  for (int step = 0; step < 3; ++step) {
    std::vector<KvCache*> caches;
    std::vector<int32_t> tokens;
    for (int i = 0; i < 16; ++i) {
      caches.push_back(&together[i]);
      tokens.push_back((i * 13 + step) % model->config.vocab);
    }
    std::vector<float> batch(16 * model->config.vocab), one(model->config.vocab);
    session.step(caches, tokens, batch.data());
    for (int i = 0; i < 16; ++i) {
      KvCache* cache = &alone[i];
      session.step({&cache, 1}, {&tokens[i], 1}, one.data());
      EXPECT_EQ(std::memcmp(one.data(), batch.data() + i * model->config.vocab,
                            one.size() * sizeof(float)),
                0)
          << i;
    }
  }
}

TEST(Session, DecodingEqualsPrefillBitForBit) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(700, model->config.vocab);
  const std::vector<float> whole = prompt_logits(model, ids, 256);
  Session session(model);
  PrefilledPrompt prompt =
      session.prefill(std::span(ids).first(5), {plain_codec("f16"), {}, nullptr});
  std::vector<float> logits(model->config.vocab);
  for (size_t t = 5; t < ids.size(); ++t) {
    KvCache* cache = &prompt.cache;
    session.step({&cache, 1}, {&ids[t], 1}, logits.data());
    ASSERT_EQ(
        std::memcmp(logits.data(), whole.data() + t * logits.size(), logits.size() * sizeof(float)),
        0)
        << t;
  }
}

TEST(Session, RejectsIdsOutsideTheVocabulary) {
  const auto model = random_model(small_config());
  Session session(model);
  const std::vector<int32_t> ids{1, 2, 97};
  try {
    session.prefill(ids, {plain_codec("f32"), {}, nullptr});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("97 at index 2"), std::string::npos) << e.what();
  }
}

CompressedCache compressed(Session& session, const std::vector<int32_t>& ids,
                           const std::string& spec, const std::string& kv_dtype = "f32") {
  const CompressorSpec method = parse_compressors(spec, "test").front();
  const std::vector<const CompressionPlan*> plans{&method.plan};
  const PrefilledPrompt prompt = session.prefill(
      ids, {plain_codec(kv_dtype), needs_of(plans, static_cast<int>(ids.size())), nullptr});
  return compress(session.model(), prompt, method.plan);
}

// Against two passes over the queries of the first layer, which follow from the embeddings alone.
TEST(Session, RecordsMeanAndCovarianceOfTheQueries) {
  const auto model = random_model(small_config());
  const ModelConfig& config = model->config;
  const std::vector<int32_t> ids = random_ids(70, config.vocab);
  constexpr int kFirst = 4;
  Session session(model, 32);
  KvNeeds needs;
  needs.query_statistics = {{0, false}, {kFirst, true}};
  const PrefilledPrompt prompt = session.prefill(ids, {plain_codec("f32"), needs, nullptr});
  ASSERT_EQ(prompt.query_statistics.size(), 2u);
  const QueryStatistics& got = prompt.query_statistics[1];
  ASSERT_EQ(got.first_token, kFirst);
  EXPECT_TRUE(prompt.query_statistics[0].covariance.empty());

  const LayerWeights& layer = model->layers[0];
  std::vector<float> x(config.dim), qkv(layer.qkv.n_out());
  std::vector<std::vector<float>> queries;
  for (size_t t = kFirst; t < ids.size(); ++t) {
    model->embedding.row(ids[t], x.data());
    kernels().rms_norm(x.data(), layer.attention_norm.data(), config.dim, config.norm_eps,
                       x.data());
    layer.qkv.multiply(x.data(), config.dim, 1, qkv.data(), layer.qkv.n_out());
    queries.push_back(qkv);
  }
  const int dim = config.head_dim;
  const double n = static_cast<double>(queries.size());
  // kMomentBlock products of queries relative to the first one are summed in float, each sum rounding by
  // 2^-24 at most; blocks are added in double.
  double farthest = 1;
  for (const auto& q : queries) {
    for (int i = 0; i < config.n_heads * dim; ++i)
      farthest = std::max(farthest, std::abs(static_cast<double>(q[i]) - queries[0][i]));
  }
  const double bound = kMomentBlock * std::ldexp(farthest * farthest, -24);
  for (int h = 0; h < config.n_heads; ++h) {
    std::vector<double> mean(dim, 0.0);
    for (const auto& q : queries) {
      for (int d = 0; d < dim; ++d) mean[d] += q[h * dim + d] / n;
    }
    for (int a = 0; a < dim; ++a) {
      EXPECT_NEAR(got.mean[h * dim + a], mean[a], bound);
      for (int b = 0; b < dim; ++b) {
        double covariance = 0;
        for (const auto& q : queries) {
          covariance += (q[h * dim + a] - mean[a]) * (q[h * dim + b] - mean[b]) / n;
        }
        EXPECT_NEAR(got.covariance[(h * dim + a) * dim + b], covariance, bound);
      }
    }
  }
}

TEST(Compression, NothingRemovedSharesEveryPage) {
  const auto model = random_model(small_config());
  Session session(model);
  const std::vector<int32_t> ids = random_ids(90, model->config.vocab);
  const PrefilledPrompt prompt = session.prefill(ids, {plain_codec("f16"), {}, nullptr});
  const size_t before = page_bytes_alive();
  const CompressedCache none = compress(*model, prompt, {});
  EXPECT_EQ(page_bytes_alive(), before);
  EXPECT_EQ(none.kept[1][1].size(), 90u);
  EXPECT_EQ(none.cache.bytes_in_use(), prompt.cache.bytes_in_use());
}

// Removing rows and standing at new positions must equal a prefill-like computation over the kept
// rows alone: here attention of the next token computed in double from the kept rows of layer 0,
// which do not depend on other rows.
TEST(Compression, ContiguousRowsStandAtTheirRanks) {
  ModelConfig config = small_config();
  config.n_layers = 1;
  const auto model = random_model(config);
  Session session(model);
  const std::vector<int32_t> ids = random_ids(60, config.vocab);
  CompressedCache cut =
      compressed(session, ids, "streamingllm(ratio=0.5,sinks=4,positions=contiguous)");
  ASSERT_EQ(cut.kept[0][0].size(), 30u);
  EXPECT_EQ(cut.kept[0][0][3], 3);
  EXPECT_EQ(cut.kept[0][0][4], 34);
  // With one layer a key depends on its own token only, so the kept tokens alone, prefilled from
  // position 0, give the same cache.
  std::vector<int32_t> kept_ids;
  for (int32_t r : cut.kept[0][0]) kept_ids.push_back(ids[r]);
  PrefilledPrompt fresh = session.prefill(kept_ids, {plain_codec("f32"), {}, nullptr});
  std::vector<float> a(config.vocab), b(config.vocab);
  for (int32_t token : {5, 6, 7}) {
    KvCache* caches[] = {&cut.cache, &fresh.cache};
    session.step({&caches[0], 1}, {&token, 1}, a.data());
    session.step({&caches[1], 1}, {&token, 1}, b.data());
    EXPECT_EQ(a, b);
  }
}

TEST(Compression, OriginalPositionsKeepKeysWhereTheyWere) {
  const auto model = random_model(small_config());
  Session session(model);
  const std::vector<int32_t> ids = random_ids(60, model->config.vocab);
  CompressedCache cut =
      compressed(session, ids, "streamingllm(ratio=0.5,sinks=4,positions=original)");
  EXPECT_EQ(cut.cache.head(1, 1).position(4), 34);
  EXPECT_EQ(cut.cache.next_position(1, 1, 60), 60);
  CompressedCache canary =
      compressed(session, ids, "streamingllm(ratio=0.5,sinks=4,positions=canary)");
  EXPECT_EQ(canary.cache.head(1, 1).position(4), 34);
  EXPECT_EQ(canary.cache.next_position(1, 1, 60), 30);
  CompressedCache ranks =
      compressed(session, ids, "streamingllm(ratio=0.5,sinks=4,positions=contiguous)");
  EXPECT_EQ(ranks.cache.head(1, 1).position(4), 4);
  EXPECT_EQ(ranks.cache.next_position(1, 1, 60), 30);
}

TEST(Compression, BytesShrinkWithRowsAndBits) {
  const auto model = random_model(small_config());
  Session session(model);
  const std::vector<int32_t> ids = random_ids(64, model->config.vocab);
  const size_t full = compressed(session, ids, "none", "f16").cache.bytes_in_use();
  EXPECT_EQ(full, 2u * 2 * 64 * 32 * 2);
  const size_t heads = 2 * 2, half_rows = heads * 32 * 32 * 2;
  EXPECT_EQ(compressed(session, ids, "knorm(ratio=0.5)", "f16").cache.bytes_in_use(),
            half_rows + heads * 32 * 4);
  // One position list for all heads.
  EXPECT_EQ(compressed(session, ids, "streamingllm(ratio=0.5,positions=original)", "f16")
                .cache.bytes_in_use(),
            half_rows + 32 * 4);
  // 4 bits a value and two halves for each group of 16 channels.
  EXPECT_EQ(compressed(session, ids, "int4(group=16)", "f16").cache.bytes_in_use(),
            heads * 64 * 2 * (16 / 2 + 4));
}

TEST(Compression, TheSameBitsForThreadsAndChunks) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(150, model->config.vocab);
  std::vector<float> first;
  for (int threads : {1, 2}) {
    for (int chunk : {1, 64, 500}) {
      set_threads(threads);
      Session session(model, chunk);
      std::vector<float> all;
      for (const char* spec : {"snapkv(ratio=0.5,window=16)", "knorm(ratio=0.3)+int4", "int8",
                               "random(ratio=0.7)+int2", "expected_attention(ratio=0.5)"}) {
        CompressedCache cut = compressed(session, ids, spec, "f16");
        session.feed(cut.cache, random_ids(20, model->config.vocab, 3),
                     [&](int, int n, const float* logits) {
                       all.insert(all.end(), logits,
                                  logits + static_cast<size_t>(n) * model->config.vocab);
                     });
      }
      if (first.empty()) first = all;
      EXPECT_EQ(all, first) << threads << " threads, chunk " << chunk;
    }
  }
  set_threads(2);
}

}  // namespace
}  // namespace kv
