// GGUF files as models: the tiny models of tests/data written as GGUF must load to the same
// weights.
#include "engine/gguf_model.h"

#include <cmath>
#include <map>
#include <numbers>

#include "compress/registry.h"
#include "engine/hub.h"
#include "engine/model.h"
#include "engine/safetensors.h"
#include "engine/session.h"
#include "kernels/half.h"
#include "kernels/parallel.h"
#include "tests/engine/gguf_builder.h"
#include "tests/paths.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

// The format's numbers of types.
constexpr uint32_t kGgufF32 = 0, kGgufQ4_1 = 3, kGgufQ8_0 = 8, kGgufIq4Nl = 20;

fs::path tiny(const std::string& name) {
  return source_dir() / "tests" / "data" / name;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string gguf_name(std::string name) {
  if (name.starts_with("model.norm")) return replaced(name, "model.norm", "output_norm");
  const std::pair<const char*, const char*> kRenames[] = {{"model.embed_tokens", "token_embd"},
                                                          {"lm_head", "output"},
                                                          {"model.layers", "blk"},
                                                          {"input_layernorm", "attn_norm"},
                                                          {"post_attention_layernorm", "ffn_norm"},
                                                          {"self_attn.q_norm", "attn_q_norm"},
                                                          {"self_attn.k_norm", "attn_k_norm"},
                                                          {"self_attn.q_proj", "attn_q"},
                                                          {"self_attn.k_proj", "attn_k"},
                                                          {"self_attn.v_proj", "attn_v"},
                                                          {"self_attn.o_proj", "attn_output"},
                                                          {"mlp.gate_proj", "ffn_gate"},
                                                          {"mlp.up_proj", "ffn_up"},
                                                          {"mlp.down_proj", "ffn_down"}};
  for (const auto& [from, to] : kRenames) name = replaced(name, from, to);
  return name;
}

// Rows of each head from halves (0 … h-1, h … 2h-1) to pairs (0, h, 1, h + 1, …): what conversion
// does for Llama.
std::vector<float> interleaved(const std::vector<float>& values, int head_dim, size_t row) {
  std::vector<float> result(values.size());
  const size_t n_heads = values.size() / row / head_dim;
  for (size_t head = 0; head < n_heads; ++head) {
    for (int i = 0; i < head_dim; ++i) {
      const size_t from = head * head_dim + (i % 2) * (head_dim / 2) + i / 2,
                   to = head * head_dim + i;
      std::copy_n(values.begin() + static_cast<int64_t>(from * row), row,
                  result.begin() + static_cast<int64_t>(to * row));
    }
  }
  return result;
}

// Blocks of 32 values: Q8_0 with codes up to 100 (others than eight bits would find again), Q4_1, or
// IQ4_NL with all codes the same.
std::string quantised(const std::vector<float>& values, uint32_t type) {
  std::string bytes;
  for (auto at = values.begin(); at != values.end(); at += 32) {
    const auto [low, high] = std::minmax_element(at, at + 32);
    const float range = type == kGgufQ4_1 ? (*high - *low) / 15 : std::max(-*low, *high) / 100;
    const uint16_t scale = float_to_f16(range), minimum = float_to_f16(*low);
    const auto code = [&](int i, float from) {
      return static_cast<int>(std::lround((at[i] - from) / f16_to_float(scale)));
    };
    bytes += bytes_of(scale);
    if (type == kGgufQ4_1) {
      bytes += bytes_of(minimum);
      const auto half = [&](int i) { return std::clamp(code(i, f16_to_float(minimum)), 0, 15); };
      for (int i = 0; i < 16; ++i) bytes += static_cast<char>(half(i) | half(i + 16) << 4);
    } else if (type == kGgufQ8_0) {
      for (int i = 0; i < 32; ++i) bytes += static_cast<char>(code(i, 0));
    } else {
      bytes.append(16, '\0');
    }
  }
  return bytes;
}

// A tiny model as a GGUF file; change: applied to the builder before the tensors. type: of matrices
// whose rows are whole blocks.
std::string as_gguf(
    const std::string& name, const std::string& architecture,
    const std::function<void(GgufBuilder&)>& change = [](GgufBuilder&) {},
    uint32_t type = kGgufF32) {
  const ModelConfig c = read_model_config(tiny(name));
  GgufBuilder b;
  b.string("general.architecture", architecture);
  const std::string at = architecture + ".";
  b.u32(at + "block_count", c.n_layers);
  b.u32(at + "context_length", c.max_position);
  b.u32(at + "embedding_length", c.dim);
  b.u32(at + "feed_forward_length", c.hidden_dim);
  b.u32(at + "attention.head_count", c.n_heads);
  b.u32(at + "attention.head_count_kv", c.n_kv_heads);
  b.u32(at + "attention.key_length", c.head_dim);
  b.u32(at + "attention.value_length", c.head_dim);
  b.f32(at + "rope.freq_base", static_cast<float>(c.rope.theta));
  b.f32(at + "attention.layer_norm_rms_epsilon", c.norm_eps);
  b.u32("tokenizer.ggml.bos_token_id", 1);
  b.u32("tokenizer.ggml.eos_token_id", 2);
  change(b);
  const Safetensors file = Safetensors::open_file(tiny(name) / "model.safetensors");
  for (const auto& [tensor, entry] : file.entries()) {
    std::vector<float> values = file.floats(tensor);
    const bool rotated =
        tensor.find("q_proj") != std::string::npos || tensor.find("k_proj") != std::string::npos;
    if (rotated && architecture == "llama") {
      values = interleaved(values, c.head_dim,
                           entry.shape.size() == 2 ? static_cast<size_t>(entry.shape[1]) : 1);
    }
    if (type != kGgufF32 && entry.shape.size() == 2 && entry.shape[1] % 32 == 0) {
      b.tensor(gguf_name(tensor), type, entry.shape, quantised(values, type));
    } else {
      b.floats(gguf_name(tensor), entry.shape, values);
    }
  }
  return b.build();
}

std::vector<float> rows_of(const Linear& linear) {
  std::vector<float> rows(static_cast<size_t>(linear.n_out()) * linear.n_in());
  for (int o = 0; o < linear.n_out(); ++o)
    linear.row(o, rows.data() + static_cast<size_t>(o) * linear.n_in());
  return rows;
}

std::vector<float> bias_of(const Linear& linear) {
  const std::vector<float> zeros(linear.n_in());
  std::vector<float> y(linear.n_out());
  linear.multiply(zeros.data(), linear.n_in(), 1, y.data(), linear.n_out());
  return y;
}

class GgufModel : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(GgufModel, LoadsLikeTheFolderItCameFrom) {
  const auto [name, architecture] = GetParam();
  const TempFolder folder;
  const auto model = Model::load(folder.write("m.gguf", as_gguf(name, architecture)));
  const auto expected = Model::load(tiny(name), {.weights = "f32"});
  const ModelConfig &c = model->config, &e = expected->config;
  EXPECT_EQ(c.architecture, e.architecture);
  EXPECT_EQ(c.vocab, e.vocab);
  EXPECT_EQ(c.dim, e.dim);
  EXPECT_EQ(c.hidden_dim, e.hidden_dim);
  EXPECT_EQ(c.n_layers, e.n_layers);
  EXPECT_EQ(c.n_heads, e.n_heads);
  EXPECT_EQ(c.n_kv_heads, e.n_kv_heads);
  EXPECT_EQ(c.head_dim, e.head_dim);
  EXPECT_EQ(c.rotary_dim, e.rotary_dim);
  EXPECT_EQ(c.max_position, e.max_position);
  EXPECT_EQ(c.norm_eps, e.norm_eps);
  EXPECT_EQ(c.rope.theta, e.rope.theta);
  EXPECT_EQ(c.qkv_bias, e.qkv_bias);
  EXPECT_EQ(c.qk_norm, e.qk_norm);
  EXPECT_EQ(c.tied_embeddings, e.tied_embeddings);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_EQ(c.eos_ids, std::vector<int>{2});
  EXPECT_EQ(model->stored_dtype, "F32");
  EXPECT_EQ(model->n_parameters, expected->n_parameters);
  EXPECT_EQ(model->weight_bytes, expected->weight_bytes);
  for (int i = 0; i < c.n_layers; ++i) {
    const LayerWeights &a = model->layers[i], &b = expected->layers[i];
    EXPECT_EQ(rows_of(a.qkv), rows_of(b.qkv)) << "layer " << i;
    EXPECT_EQ(bias_of(a.qkv), bias_of(b.qkv)) << "layer " << i;
    EXPECT_EQ(rows_of(a.o), rows_of(b.o));
    EXPECT_EQ(rows_of(a.gate_up), rows_of(b.gate_up));
    EXPECT_EQ(rows_of(a.down), rows_of(b.down));
    EXPECT_EQ(a.attention_norm, b.attention_norm);
    EXPECT_EQ(a.mlp_norm, b.mlp_norm);
    EXPECT_EQ(a.q_norm, b.q_norm);
    EXPECT_EQ(a.k_norm, b.k_norm);
  }
  EXPECT_EQ(rows_of(model->embedding), rows_of(expected->embedding));
  EXPECT_EQ(rows_of(model->lm_head), rows_of(expected->lm_head));
  EXPECT_EQ(model->final_norm, expected->final_norm);
}

INSTANTIATE_TEST_SUITE_P(All, GgufModel,
                         testing::Values(std::pair{"tiny-llama", "llama"},
                                         std::pair{"tiny-llama3", "llama"},
                                         std::pair{"tiny-qwen2", "qwen2"},
                                         std::pair{"tiny-qwen3", "qwen3"}),
                         [](const auto& test) { return std::string(test.param.first).substr(5); });

class GgufCodes : public testing::TestWithParam<std::pair<uint32_t, const char*>> {};

TEST_P(GgufCodes, AreMultipliedAsTheFileHoldsThem) {
  const TempFolder folder;
  const fs::path file =
      folder.write("m.gguf", as_gguf(
                                 "tiny-llama", "llama", [](GgufBuilder&) {}, GetParam().first));
  const auto exact = Model::load(file);
  const auto model = Model::load(file, {.weights = "codes"});
  EXPECT_EQ(model->stored_dtype, GetParam().second + std::string("+F32"));
  EXPECT_EQ(model->weights_hash, exact->weights_hash);
  EXPECT_LT(model->weight_bytes, exact->weight_bytes / 2);
  for (int i = 0; i < model->config.n_layers; ++i) {
    const LayerWeights &a = model->layers[i], &b = exact->layers[i];
    EXPECT_EQ(rows_of(a.qkv), rows_of(b.qkv)) << "layer " << i;
    EXPECT_EQ(rows_of(a.o), rows_of(b.o));
    EXPECT_EQ(rows_of(a.gate_up), rows_of(b.gate_up));
    EXPECT_EQ(rows_of(a.down), rows_of(b.down));  // F32 in the file: rows of 48
    EXPECT_EQ(a.down.bytes(), b.down.bytes());
  }
  EXPECT_EQ(rows_of(model->embedding), rows_of(exact->embedding));
  const std::vector<int32_t> ids = {1, 5, 9, 2, 6, 3, 8, 4, 7, 11, 10};
  const auto logits = [&](const std::shared_ptr<const Model>& of, int chunk) {
    return Session(of, chunk).prefill(ids, {plain_codec("f32"), {}, {}}).last_logits;
  };
  const std::vector<float> expected = logits(exact, 0), got = logits(model, 0);
  const int before = threads();
  for (const int n_threads : {1, 3}) {
    set_threads(n_threads);
    EXPECT_EQ(logits(model, 1), got) << n_threads;
    EXPECT_EQ(logits(model, 4), got) << n_threads;
  }
  set_threads(before);
  double difference = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(got[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  EXPECT_GT(difference, 0);  // the activations are rounded
  EXPECT_LT(std::sqrt(difference / size), 0.05);
}

INSTANTIATE_TEST_SUITE_P(Types, GgufCodes,
                         testing::Values(std::pair{kGgufQ8_0, "Q8_0"},
                                         std::pair{kGgufQ4_1, "Q4_1"}),
                         [](const auto& test) { return std::string(test.param.second); });

TEST(GgufWithoutCodes, IsRefusedByName) {
  const TempFolder folder;
  const auto load = [&](uint32_t type, bool openblas) {
    const fs::path file =
        folder.write("m.gguf", as_gguf(
                                   "tiny-llama", "llama", [](GgufBuilder&) {}, type));
    return Model::load(file, {.weights = "codes", .openblas = openblas});
  };
  expect_error([&] { load(kGgufIq4Nl, false); }, {"m.gguf", "Q4_1", "IQ4_NL+F32"});
  expect_error([&] { load(kGgufF32, false); }, {"m.gguf", "Q8_0", "F32"});
  expect_error([&] { load(kGgufQ8_0, true); }, {"codes", "gemm: native"}, ErrorKind::kUsage);
}

ModelConfig config_of(const std::function<void(GgufBuilder&)>& change,
                      const std::string& name = "tiny-llama") {
  const TempFolder folder;
  return read_model_header(folder.write("m.gguf", as_gguf(name, "llama", change))).config;
}

void expect_refused(const std::function<void(GgufBuilder&)>& change,
                    std::vector<std::string> parts) {
  parts.push_back("m.gguf");
  expect_error([&] { config_of(change); }, parts);
}

TEST(GgufConfig, RopeScaling) {
  const RopeConfig linear = config_of([](GgufBuilder& b) {
                              b.string("llama.rope.scaling.type", "linear");
                              b.f32("llama.rope.scaling.factor", 4);
                            }).rope;
  EXPECT_EQ(linear.type, RopeType::kLinear);
  EXPECT_EQ(linear.factor, 4);
  const RopeConfig yarn = config_of([](GgufBuilder& b) {
                            b.string("llama.rope.scaling.type", "yarn");
                            b.f32("llama.rope.scaling.factor", 2);
                            b.u32("llama.rope.scaling.original_context_length", 256);
                          }).rope;
  EXPECT_EQ(yarn.type, RopeType::kYarn);
  EXPECT_EQ(yarn.original_max_position, 256);
  EXPECT_EQ(yarn.beta_fast, 32);
  expect_refused([](GgufBuilder& b) { b.string("llama.rope.scaling.type", "longrope"); },
                 {"llama.rope.scaling.type", "'longrope'", "not supported"});
  expect_refused([](GgufBuilder& b) { b.string("llama.rope.scaling.type", "linear"); },
                 {"llama.rope.scaling.factor", "missing"});
  expect_refused([](GgufBuilder& b) { b.u32("llama.rope.dimension_count", 8); },
                 {"llama.rope.dimension_count", "8 of 16"});
  expect_refused([](GgufBuilder& b) { b.f32("llama.rope.scale_linear", 2); },
                 {"rope.scale_linear"});
}

// Llama 3's divisors of the frequencies, from the definition in its model card.
std::vector<float> llama3_divisors(double theta, int head_dim, double factor) {
  std::vector<float> divisors;
  for (int i = 0; i < head_dim / 2; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, 2.0 * i / head_dim);
    double divisor = 1;
    if (wavelength > 8192.0 / 1) {
      divisor = factor;
    } else if (wavelength > 8192.0 / 4) {
      const double smooth = (8192 / wavelength - 1) / (4 - 1);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

TEST(GgufConfig, FrequencyDivisorsOfLlama3) {
  const double theta = 500000;  // of tiny-llama3, head_dim 16
  for (const double factor : {8.0, 32.0}) {
    const auto add = [&](GgufBuilder& b) {
      b.floats("rope_freqs.weight", {8}, llama3_divisors(theta, 16, factor));
    };
    const RopeConfig rope = config_of(add, "tiny-llama3").rope;
    EXPECT_EQ(rope.type, RopeType::kLlama3);
    EXPECT_EQ(rope.factor, factor);
    EXPECT_EQ(rope.low_freq_factor, 1);
    EXPECT_EQ(rope.high_freq_factor, 4);
    EXPECT_EQ(rope.original_max_position, 8192);
  }
  const auto ones = [](GgufBuilder& b) {
    b.floats("rope_freqs.weight", {8}, std::vector<float>(8, 1));
  };
  EXPECT_EQ(config_of(ones).rope.type, RopeType::kDefault);
  expect_refused(
      [](GgufBuilder& b) {
        b.floats("rope_freqs.weight", {8}, {1, 1, 1, 2, 3, 5, 7, 9});
      },
      {"rope_freqs.weight", "entry", "not supported"});
  expect_refused(
      [](GgufBuilder& b) { b.floats("rope_freqs.weight", {4}, std::vector<float>(4, 1)); },
      {"rope_freqs.weight", "[8]", "[4]"});
}

TEST(GgufConfig, StopsAtEndOfTextAndEndOfTurn) {
  EXPECT_EQ(config_of([](GgufBuilder& b) { b.u32("tokenizer.ggml.eot_token_id", 5); }).eos_ids,
            (std::vector<int>{2, 5}));
  EXPECT_EQ(config_of([](GgufBuilder& b) { b.u32("tokenizer.ggml.eot_token_id", 2); }).eos_ids,
            std::vector<int>{2});
}

TEST(GgufConfig, RefusesWhatItWouldNotCompute) {
  expect_refused([](GgufBuilder& b) { b.u32("llama.expert_count", 8); },
                 {"llama.expert_count", "not supported"});
  expect_refused([](GgufBuilder& b) { b.u32("llama.attention.sliding_window", 128); },
                 {"sliding_window"});
  expect_refused(
      [](GgufBuilder& b) {
        b.floats("blk.0.attn_sinks.weight", {4}, {1, 2, 3, 4});
      },
      {"blk.0.attn_sinks.weight", "unknown"});
  expect_refused([](GgufBuilder& b) { b.floats("blk.x.attn_q.weight", {1}, {1}); },
                 {"blk.x.attn_q.weight"});
  expect_refused(
      [](GgufBuilder& b) { b.floats("blk.1.attn_q.bias", {64}, std::vector<float>(64)); },
      {"blk.1.attn_q.bias", "no such weight"});
  const TempFolder folder;
  const auto bert = folder.write("m.gguf", as_gguf("tiny-llama", "bert"));
  expect_error([&] { Model::load(bert); }, {"m.gguf", "'bert'", "llama, qwen2, qwen3"});
}

TEST(GgufConfig, MissingKeysAndTensorsAreNamed) {
  const TempFolder folder;
  GgufBuilder b;
  b.string("general.architecture", "llama");
  expect_error([&] { Model::load(folder.write("m.gguf", b.build())); },
               {"m.gguf", "token_embd.weight", "missing"});
  b.floats("token_embd.weight", {4, 2}, std::vector<float>(8));
  expect_error([&] { Model::load(folder.write("m.gguf", b.build())); },
               {"llama.embedding_length", "missing"});
}

TEST(GgufTokenizer, ReadsTheKeys) {
  GgufBuilder b;
  const std::string at = "tokenizer.ggml.";
  b.string(at + "model", "gpt2");
  b.string(at + "pre", "qwen2");
  b.strings(at + "tokens", {"a", "b", "ab"});
  b.strings(at + "merges", {"a b"});
  b.i32s(at + "token_type", {1, 1, 3});
  b.u32(at + "bos_token_id", 1);
  b.u32(at + "eos_token_id", 2);
  b.boolean(at + "add_bos_token", true);
  const TempFolder folder;
  const GgufTokenizer t = gguf_tokenizer(Gguf(folder.write("m.gguf", b.build())));
  EXPECT_EQ(t.model, "gpt2");
  EXPECT_EQ(t.pre, "qwen2");
  EXPECT_EQ(t.tokens, (std::vector<std::string>{"a", "b", "ab"}));
  EXPECT_EQ(t.token_types, (std::vector<int>{1, 1, 3}));
  EXPECT_EQ(t.merges, std::vector<std::string>{"a b"});
  EXPECT_EQ(t.bos_id, 1);
  EXPECT_EQ(t.eos_id, 2);
  EXPECT_EQ(t.pad_id, -1);
  EXPECT_TRUE(t.add_bos);
  EXPECT_FALSE(t.add_eos);
  b.u32(at + "padding_token_id", 3);
  expect_error([&] { gguf_tokenizer(Gguf(folder.write("m.gguf", b.build()))); },
               {"padding_token_id", "3"});
  GgufBuilder none;
  EXPECT_TRUE(gguf_tokenizer(Gguf(folder.write("m.gguf", none.build()))).tokens.empty());
}

// The values come from the Python package gguf's own dequantisation of the same file, in Hugging
// Face's row order.
TEST(SmolLm2, LoadsWithTheValuesOfItsFile) {
  fs::path file;
  try {
    file = find_model("smollm2-135m-instruct");
  } catch (const Error&) {
    GTEST_SKIP() << "smollm2-135m-instruct is not in a model folder; `kvengine pull "
                    "smollm2-135m-instruct` fetches it";
  }
  const auto model = Model::load(file);
  EXPECT_EQ(model->stored_dtype, "Q4_1+Q8_0+F32");
  EXPECT_EQ(model->n_parameters, 134515008);
  EXPECT_EQ(model->config.n_layers, 30);
  EXPECT_EQ(model->config.rope.theta, 100000);
  EXPECT_TRUE(model->config.tied_embeddings);
  EXPECT_NE(model->tokenizer, nullptr);
  const auto value = [](const Linear& linear, int o, int k) {
    std::vector<float> row(static_cast<size_t>(linear.n_in()));
    linear.row(o, row.data());
    return row[static_cast<size_t>(k)];
  };
  const Linear& qkv = model->layers[0].qkv;
  EXPECT_EQ(value(qkv, 33, 5), -0.06280517578125f);
  EXPECT_EQ(value(qkv, 575, 575), -0.255859375f);
  EXPECT_EQ(value(qkv, 577, 2), 0.203369140625f);  // the second row of k
  EXPECT_EQ(value(model->layers[29].down, 7, 1000), -0.035125732421875f);
  EXPECT_EQ(value(model->embedding, 49151, 575), -0.0417022705078125f);
  EXPECT_EQ(value(model->lm_head, 17, 3), 0.1466064453125f);
}

}  // namespace
}  // namespace kv
