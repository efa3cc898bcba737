// Codecs that ask more of the engine than coding rows: whole sequences through them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/session.h"
#include "kernels/parallel.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

using testing::random_ids;
using testing::random_model;
using testing::small_config;

struct Outcome {
  std::vector<float> prompt, suffix;  // logits
  size_t kv_bytes = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome run(const std::shared_ptr<const Model>& model, const std::string& spec,
            const std::vector<int32_t>& prompt_ids, const std::vector<int32_t>& suffix_ids,
            int chunk, const std::string& kv_dtype = "f16") {
  const CompressorSpec method = parse_compressors(spec, "test").front();
  Session session(model, chunk);
  Outcome result;
  const auto collect = [&](std::vector<float>& all) {
    return [&](int, int n, const float* logits) {
      all.insert(all.end(), logits, logits + static_cast<size_t>(n) * model->config.vocab);
    };
  };
  const PrefilledPrompt prompt =
      session.prefill(prompt_ids, {prompt_codec(method.plan, plain_codec(kv_dtype)),
                                   needs_of({&method.plan}, static_cast<int>(prompt_ids.size())),
                                   collect(result.prompt)});
  CompressedCache cell = compress(*model, prompt, method.plan);
  result.kv_bytes = cell.cache.bytes_in_use();
  session.feed(cell.cache, suffix_ids, collect(result.suffix));
  return result;
}

class CodecSession : public ::testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<const Model> model = random_model(small_config());
  std::vector<int32_t> prompt = random_ids(150, model->config.vocab, 1),
                       suffix = random_ids(70, model->config.vocab, 2);
};

TEST_P(CodecSession, ChunksAndThreadsDoNotShow) {
  const Outcome whole = run(model, GetParam(), prompt, suffix, 512);
  EXPECT_EQ(run(model, GetParam(), prompt, suffix, 7), whole);
  set_threads(1);
  EXPECT_EQ(run(model, GetParam(), prompt, suffix, 64), whole);
  set_threads(2);
}

// One pass for several sequences, whatever their codecs, gives what each gives alone.
TEST_P(CodecSession, NeighboursDoNotShow) {
  const CompressorSpec method = parse_compressors(GetParam(), "test").front();
  const Outcome alone = run(model, GetParam(), prompt, suffix, 512);
  Session session(model);
  const PrefilledPrompt filled = session.prefill(
      prompt,
      {prompt_codec(method.plan, plain_codec("f16")), needs_of({&method.plan}, 150), nullptr});
  const PrefilledPrompt plain = session.prefill(prompt, {plain_codec("f16"), {}, nullptr});
  CompressedCache cell = compress(*model, filled, method.plan), other = compress(*model, plain, {});
  const size_t vocab = static_cast<size_t>(model->config.vocab);
  std::vector<float> logits((3 + suffix.size()) * vocab);
  const std::vector<Segment> segments = {
      {&other.cache, std::span(suffix).first(3), LogitRows::kAll},
      {&cell.cache, suffix, LogitRows::kAll}};
  session.forward(segments, logits.data());
  EXPECT_EQ(std::vector<float>(logits.begin() + static_cast<long>(3 * vocab), logits.end()),
            alone.suffix);
  const Outcome full = run(model, "none", prompt, suffix, 512);
  EXPECT_EQ(std::memcmp(logits.data(), full.suffix.data(), 3 * vocab * sizeof(float)), 0);
}

TEST_P(CodecSession, TheExactPromptStaysExact) {
  const CompressorSpec method = parse_compressors(GetParam(), "test").front();
  const Outcome full = run(model, "none", prompt, suffix, 512),
                cell = run(model, GetParam(), prompt, suffix, 512);
  EXPECT_EQ(cell.prompt == full.prompt, !method.plan.codec->acts_on_prompt());
  EXPECT_NE(cell.suffix, full.suffix);
}

TEST_P(CodecSession, RowsLeaveOneByOneOrTogether) {
  const std::string both = "knorm(ratio=0.4)+" + std::string(GetParam());
  const Outcome cut = run(model, both, prompt, suffix, 512);
  EXPECT_LT(cut.kv_bytes, run(model, GetParam(), prompt, suffix, 512).kv_bytes);
  EXPECT_EQ(run(model, both, prompt, suffix, 31), cut);
}

INSTANTIATE_TEST_SUITE_P(Codecs, CodecSession,
                         ::testing::Values("kivi2(group=16,residual=32)",
                                           "kivi4(group=8,residual=40)", "flexgen4(group=16)",
                                           "flexgen4(group=8,scales=f32)", "absmax8", "absmax2",
                                           "int4(keys=post_rope)", "int8(hadamard=true)",
                                           "quanto4(residual=32)",
                                           "quanto2(group=20,residual=20,axis=-1)",
                                           "hqq4(residual=32)", "hqq3(axis=1,residual=24)"));

// Eight bits stay near the full cache wherever the keys are rotated or mixed; two bits do not.
TEST(PostRope, StoresWhatPreRopeRotates) {
  const auto model = random_model(small_config());
  const auto prompt = random_ids(90, model->config.vocab, 3),
             suffix = random_ids(8, model->config.vocab, 4);
  const Outcome full = run(model, "none", prompt, suffix, 512, "f32");
  const auto error = [&](const std::string& spec) {
    const Outcome cell = run(model, spec, prompt, suffix, 512, "f32");
    double largest = 0, difference = 0;
    for (size_t i = 0; i < full.suffix.size(); ++i) {
      const double exact = full.suffix[i];
      largest = std::max(largest, std::abs(exact));
      difference = std::max(difference, std::abs(exact - cell.suffix[i]));
    }
    return difference / largest;
  };
  for (const std::string how :
       {"", "keys=post_rope", "hadamard=true", "keys=post_rope,hadamard=true"}) {
    const std::string options = how.empty() ? "" : "(" + how + ")";
    EXPECT_GT(error("int8" + options), 0) << how;
    EXPECT_LT(error("int8" + options), 0.05) << how;
    EXPECT_GT(error("int2" + options), 0.2) << how;
  }
}

// Rows (n_kv_heads, n, head_dim) of one layer as attention reads them.
std::vector<float> rows_of(const KvCache& cache, int layer, bool keys) {
  const int dim = cache.head_dim(), width = padded(dim);
  std::vector<float> rows, scratch(static_cast<size_t>(width) * kTile);
  for (int h = 0; h < cache.n_kv_heads(); ++h) {
    const KvCache::Head& head = cache.head(layer, h);
    for (int r = 0; r < head.n_rows; ++r) {
      const int tile = r / kTile, n = std::min(kTile, head.n_rows - tile * kTile);
      const float* from = keys ? cache.load_keys(head, tile, n, {}, scratch.data())
                               : cache.load_values(head, tile, n, scratch.data());
      for (int d = 0; d < dim; ++d)
        rows.push_back(keys ? from[d * kTile + r % kTile] : from[r % kTile * width + d]);
    }
  }
  return rows;
}

// When the residual is full, what the codes decode to and the new rows are coded together; a fork
// taken before keeps what it had.
TEST(LayerCodec, CodesTheWholeLayerAgain) {
  const auto model = random_model(small_config());
  const ModelConfig& c = model->config;
  const auto prompt = random_ids(66, c.vocab, 7), suffix = random_ids(30, c.vocab, 8);
  Session session(model);
  const PrefilledPrompt filled = session.prefill(prompt, {plain_codec("f32"), {}, nullptr});
  for (const std::string name : {"quanto4", "hqq2"}) {
    const CompressorSpec soon = parse_compressors(name + "(residual=30)", "test").front(),
                         late = parse_compressors(name + "(residual=60)", "test").front();
    CompressedCache cell = compress(*model, filled, soon.plan),
                    other = compress(*model, filled, late.plan);
    KvCache fork = cell.cache.fork();
    const std::vector<float> before = rows_of(fork, 1, true);
    session.feed(cell.cache, suffix, nullptr);
    session.feed(other.cache, suffix, nullptr);
    EXPECT_EQ(cell.cache.head(1, 0).coded.keys, 96);
    EXPECT_EQ(other.cache.head(1, 0).coded.keys, 66);
    EXPECT_EQ(rows_of(fork, 1, true), before);
    for (const bool keys : {true, false}) {
      const std::vector<float> rows = rows_of(other.cache, 1, keys);
      const int n = 2 * 96, dim = c.head_dim;
      const LayerCodec& codec = *soon.plan.codec->layer_codec();
      std::vector<uint8_t> codes(rows.size());
      const LayerGroups groups = codec.encode_layer(rows.data(), n, dim, codes.data());
      std::vector<float> expected, scratch(static_cast<size_t>(padded(dim)) * kTile);
      std::vector<std::byte> tile(codec.value_tile_bytes(dim));
      for (int r = 0; r < n; r += kTile) {
        codec.pack(codes.data() + r * dim, kTile, dim, tile.data());
        const float* v =
            codec.load_layer_values(tile.data(), groups, r, kTile, dim, scratch.data());
        for (int i = 0; i < kTile; ++i)
          expected.insert(expected.end(), v + i * padded(dim), v + i * padded(dim) + dim);
      }
      EXPECT_EQ(rows_of(cell.cache, 1, keys), expected) << name;
    }
  }
}

TEST(LayerCodec, CountsCodesGroupsAndPlainRows) {
  const auto model = random_model(small_config());
  const ModelConfig& c = model->config;
  const CompressorSpec method = parse_compressors("hqq3(residual=10)", "test").front();
  Session session(model);
  const PrefilledPrompt filled =
      session.prefill(random_ids(64, c.vocab, 9), {plain_codec("f16"), {}, nullptr});
  CompressedCache cell = compress(*model, filled, method.plan);
  const auto expected = [&](size_t coded, size_t plain) {
    const size_t values = coded * 2 * 16;  // of the keys of a layer, or of its values
    return 2 * 2 * (values * 3 / 8 + values / 64 * 8 + plain * 2 * 16 * 2);
  };
  EXPECT_EQ(cell.cache.bytes_in_use(), expected(64, 0));
  std::vector<float> logits(static_cast<size_t>(c.vocab));
  for (size_t n = 65; n < 90; ++n) {
    KvCache* const caches[] = {&cell.cache};
    const int32_t token = static_cast<int32_t>(n);
    session.step(caches, {&token, 1}, logits.data());
    ASSERT_EQ(cell.cache.bytes_in_use(), expected(64 + (n - 64) / 10 * 10, (n - 64) % 10)) << n;
    EXPECT_GE(cell.cache.bytes_allocated(), cell.cache.bytes_in_use());
  }
}

// Attention reads every coded row as it was first coded, and every newer one in full: codes settle
// after the token that fills a group, and never again.
TEST(Kivi, CodesOnceAndOnlyWhatLeftTheResidualWindow) {
  const auto model = random_model(small_config());
  const int dim = model->config.head_dim, width = padded(dim);
  Session session(model);
  const auto prompt = random_ids(70, model->config.vocab, 5);
  const CompressorSpec method = parse_compressors("kivi2(group=16,residual=32)", "test").front();
  const PrefilledPrompt filled = session.prefill(prompt, {plain_codec("f16"), {}, nullptr});
  CompressedCache cell = compress(*model, filled, method.plan);
  std::vector<std::vector<float>> coded_keys(300), plain_keys(300);  // by row of layer 0, head 1
  for (int n = 70; n < 200; ++n) {
    const KvCache::Head& head = cell.cache.head(0, 1);
    ASSERT_EQ(head.coded.keys, n - n % 32);
    ASSERT_EQ(head.coded.values, n - 32);
    std::vector<float> scratch(width * kTile);
    for (int tile = 0; tile * kTile < n; ++tile) {
      const int rows = std::min(kTile, n - tile * kTile);
      const float* keys = cell.cache.load_keys(head, tile, rows, {}, scratch.data());
      for (int r = tile * kTile; r < tile * kTile + rows; ++r) {
        std::vector<float> key;
        for (int d = 0; d < dim; ++d) key.push_back(keys[d * kTile + r % kTile]);
        std::vector<float>& first = (r < head.coded.keys ? coded_keys : plain_keys)[r];
        if (first.empty()) first = key;
        ASSERT_EQ(key, first) << "row " << r << " of " << n;
      }
    }
    const int32_t token = n % 90;
    KvCache* const caches[] = {&cell.cache};
    std::vector<float> logits(static_cast<size_t>(model->config.vocab));
    session.step(caches, {&token, 1}, logits.data());
  }
  EXPECT_NE(coded_keys[100], plain_keys[100]);
}

TEST(Kivi, CountsCodedAndPlainRows) {
  const auto model = random_model(small_config());
  const ModelConfig& c = model->config;
  const auto prompt = random_ids(150, c.vocab, 5);
  const CompressorSpec method = parse_compressors("kivi2(group=16,residual=32)", "test").front();
  Session session(model);
  const PrefilledPrompt filled = session.prefill(prompt, {plain_codec("f16"), {}, nullptr});
  CompressedCache cell = compress(*model, filled, method.plan);
  const size_t heads = static_cast<size_t>(c.n_layers) * c.n_kv_heads;
  const auto expected = [&](size_t n) {
    const size_t coded_keys = n - n % 32, coded_values = n - 32,
                 d = static_cast<size_t>(c.head_dim);
    const size_t key = d * 2 / 8 + d * 4 / 16, value = d * 2 / 8 + d / 16 * 4;
    return heads * (coded_keys * key + coded_values * value + (n - coded_keys + 32) * 2 * d);
  };
  EXPECT_EQ(cell.cache.bytes_in_use(), expected(150));
  std::vector<float> logits(static_cast<size_t>(c.vocab));
  KvCache fork = cell.cache.fork();
  for (size_t n = 151; n < 200; ++n) {
    KvCache* const caches[] = {&cell.cache};
    const int32_t token = static_cast<int32_t>(n % 90);
    session.step(caches, {&token, 1}, logits.data());
    ASSERT_EQ(cell.cache.bytes_in_use(), expected(n));
    EXPECT_GE(cell.cache.bytes_allocated(), cell.cache.bytes_in_use());
  }
  // The fork took no notice.
  EXPECT_EQ(fork.bytes_in_use(), expected(150));
}

}  // namespace
}  // namespace kv
