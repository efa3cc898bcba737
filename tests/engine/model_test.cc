#include "engine/model.h"

#include <cmath>
#include <cstring>
#include <map>

#include "compress/registry.h"
#include "engine/hub.h"
#include "engine/model_files.h"
#include "engine/safetensors.h"
#include "engine/safetensors_writer.h"
#include "engine/session.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/parallel.h"
#include "tests/engine/gguf_builder.h"
#include "tests/paths.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

fs::path tiny(const std::string& name) {
  return source_dir() / "tests" / "data" / name;
}

std::vector<float> rows_of(const Linear& linear) {
  std::vector<float> rows(static_cast<size_t>(linear.n_out()) * linear.n_in());
  for (int o = 0; o < linear.n_out(); ++o)
    linear.row(o, rows.data() + static_cast<size_t>(o) * linear.n_in());
  return rows;
}

// Output of the matrix for an input of zeros: its bias.
std::vector<float> bias_of(const Linear& linear) {
  const std::vector<float> zeros(linear.n_in());
  std::vector<float> y(linear.n_out());
  linear.multiply(zeros.data(), linear.n_in(), 1, y.data(), linear.n_out());
  return y;
}

std::vector<float> joined(const Safetensors& file, const std::vector<std::string>& names) {
  std::vector<float> all;
  for (const std::string& name : names) {
    const std::vector<float> one = file.floats(name);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

// A copy of a tiny model that a test may damage.
class ModelCopy {
 public:
  explicit ModelCopy(const std::string& name) {
    for (const char* file : {"config.json", "generation_config.json"}) {
      folder_.write(file, read_file(tiny(name) / file));
    }
    const Safetensors source = Safetensors::open_file(tiny(name) / "model.safetensors");
    for (const auto& [tensor, entry] : source.entries()) {
      tensors_[tensor] = {entry.dtype, entry.shape,
                          std::string(reinterpret_cast<const char*>(entry.data), entry.bytes)};
    }
  }
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  std::map<std::string, Tensor>& tensors() { return tensors_; }
  const TempFolder& folder() const { return folder_; }
  const fs::path& path() const { return folder_.path(); }

  void write(const std::string& file, const std::function<bool(const std::string&)>& wanted) const {
    SafetensorsWriter writer;
    for (const auto& [name, t] : tensors_) {
      if (wanted(name)) writer.add_raw(name, t.dtype, t.shape, std::as_bytes(std::span(t.bytes)));
    }
    writer.write(path() / file);
  }
  void write() const {
    write("model.safetensors", [](const std::string&) { return true; });
  }
  void replace_in_config(const std::string& from, const std::string& to) const {
    std::string text = read_file(path() / "config.json");
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    folder_.write("config.json", text.replace(at, from.size(), to));
  }
  void expect_refused(std::vector<std::string> parts) const {
    write();
    expect_error([&] { Model::load(path()); }, parts);
    // The header is held to the same checks, but for those that must read weights.
    expect_error([&] { read_model_header(path()); }, parts);
  }

 private:
  TempFolder folder_;
  std::map<std::string, Tensor> tensors_;
};

class TinyModel : public testing::TestWithParam<const char*> {};

TEST_P(TinyModel, EveryWeightIsWhereTheForwardPassExpectsIt) {
  const fs::path folder = tiny(GetParam());
  const Safetensors file = Safetensors::open_file(folder / "model.safetensors");
  const auto model = Model::load(folder);
  const ModelConfig& c = model->config;
  ASSERT_EQ(model->layers.size(), static_cast<size_t>(c.n_layers));
  for (int i = 0; i < c.n_layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    const LayerWeights& layer = model->layers[i];
    const std::string attention = at + "self_attn.", mlp = at + "mlp.";
    EXPECT_EQ(rows_of(layer.qkv),
              joined(file, {attention + "q_proj.weight", attention + "k_proj.weight",
                            attention + "v_proj.weight"}));
    EXPECT_EQ(layer.qkv.n_out(), (c.n_heads + 2 * c.n_kv_heads) * c.head_dim);
    EXPECT_EQ(rows_of(layer.o), file.floats(attention + "o_proj.weight"));
    EXPECT_EQ(rows_of(layer.gate_up),
              joined(file, {mlp + "gate_proj.weight", mlp + "up_proj.weight"}));
    EXPECT_EQ(rows_of(layer.down), file.floats(mlp + "down_proj.weight"));
    EXPECT_EQ(layer.attention_norm, file.floats(at + "input_layernorm.weight"));
    EXPECT_EQ(layer.mlp_norm, file.floats(at + "post_attention_layernorm.weight"));
    EXPECT_EQ(layer.q_norm.empty(), c.qk_norm == QkNorm::kNone);
    if (c.qk_norm != QkNorm::kNone) {
      EXPECT_EQ(layer.q_norm, file.floats(attention + "q_norm.weight"));
      EXPECT_EQ(layer.k_norm, file.floats(attention + "k_norm.weight"));
    }
    if (c.qkv_bias) {
      EXPECT_EQ(bias_of(layer.qkv),
                joined(file, {attention + "q_proj.bias", attention + "k_proj.bias",
                              attention + "v_proj.bias"}));
    }
  }
  EXPECT_EQ(rows_of(model->embedding), file.floats("model.embed_tokens.weight"));
  EXPECT_EQ(rows_of(model->lm_head),
            file.floats(c.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight"));
  EXPECT_EQ(model->final_norm, file.floats("model.norm.weight"));
  EXPECT_EQ(model->location, folder);
}

TEST_P(TinyModel, TheHeaderSaysWhatLoadFinds) {
  const auto model = Model::load(tiny(GetParam()));
  const ModelHeader header = read_model_header(tiny(GetParam()));
  EXPECT_EQ(header.stored_dtype, model->stored_dtype);
  EXPECT_EQ(header.n_parameters, model->n_parameters);
  EXPECT_EQ(header.config.n_layers, model->config.n_layers);
  const Safetensors file = Safetensors::open_file(tiny(GetParam()) / "model.safetensors");
  size_t bytes = 0;
  for (const auto& [name, entry] : file.entries()) bytes += entry.bytes;
  EXPECT_EQ(header.weight_bytes, bytes);
}

TEST_P(TinyModel, OneThreadLoadsTheSame) {
  const auto two = Model::load(tiny(GetParam()));
  const int before = threads();
  set_threads(1);
  const auto one = Model::load(tiny(GetParam()));
  set_threads(before);
  EXPECT_EQ(one->weights_hash, two->weights_hash);
  EXPECT_EQ(one->weights_hash.size(), 32u);
  EXPECT_EQ(rows_of(one->layers[1].gate_up), rows_of(two->layers[1].gate_up));
}

INSTANTIATE_TEST_SUITE_P(All, TinyModel,
                         testing::Values("tiny-llama", "tiny-llama3", "tiny-qwen2", "tiny-qwen3"),
                         [](const auto& test) { return std::string(test.param).substr(5); });

TEST(Model, WeightsInOtherTypes) {
  const auto stored = Model::load(tiny("tiny-llama"));
  EXPECT_EQ(stored->stored_dtype, "F32");
  const std::vector<float> exact = rows_of(stored->layers[0].qkv);
  for (const auto& [name, narrow, widen] :
       {std::tuple{"bf16", kernels().to_bf16, kernels().from_bf16},
        std::tuple{"f16", kernels().to_f16, kernels().from_f16}}) {
    std::vector<uint16_t> bits(exact.size());
    narrow(exact.data(), static_cast<int64_t>(exact.size()), bits.data());
    std::vector<float> rounded(exact.size());
    widen(bits.data(), static_cast<int64_t>(bits.size()), rounded.data());
    ASSERT_NE(rounded, exact);
    LoadOptions options{.weights = name};
    const auto model = Model::load(tiny("tiny-llama"), options);
    EXPECT_EQ(rows_of(model->layers[0].qkv), rounded) << name;
    EXPECT_LT(model->weight_bytes, stored->weight_bytes * 6 / 10);
    EXPECT_EQ(model->weights_hash, stored->weights_hash);  // of the file, not of what it became
    options.openblas = true;
    EXPECT_EQ(rows_of(Model::load(tiny("tiny-llama"), options)->layers[0].qkv), rounded) << name;
  }
  EXPECT_EQ(rows_of(Model::load(tiny("tiny-qwen2"), {.weights = "f32"})->layers[1].down),
            rows_of(Model::load(tiny("tiny-qwen2"))->layers[1].down));
  expect_error([] { Model::load(tiny("tiny-llama"), {.weights = "int3"}); },
               {"weights", "int3", "bf16"}, ErrorKind::kUsage);
}

TEST(Model, EightBitWeightsAreCloseSmallerAndTheSameBitsInAnyChunks) {
  const auto exact = Model::load(tiny("tiny-llama3"));
  const auto model = Model::load(tiny("tiny-llama3"), {.weights = "int8"});
  EXPECT_LT(model->weight_bytes, static_cast<size_t>(model->n_parameters) * 3 / 2);  // padding too
  EXPECT_EQ(model->weights_hash, exact->weights_hash);
  const std::vector<int32_t> ids = {1, 5, 9, 2, 6, 3, 8, 4, 7, 11, 10};
  const auto logits = [&](const std::shared_ptr<const Model>& of, int chunk) {
    return Session(of, chunk).prefill(ids, {plain_codec("f32"), {}, {}}).last_logits;
  };
  const std::vector<float> expected = logits(exact, 0), got = logits(model, 0);
  EXPECT_EQ(logits(model, 1), got);
  EXPECT_EQ(logits(model, 4), got);
  double difference = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(got[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  EXPECT_GT(difference, 0);
  EXPECT_LT(std::sqrt(difference / size), 0.05);
  expect_error([] { Model::load(tiny("tiny-llama"), {.weights = "int8", .openblas = true}); },
               {"int8", "native"}, ErrorKind::kUsage);
}

TEST(Model, EightBitsRefuseWhatTheyCannotHold) {
  ModelCopy copy("tiny-llama");
  auto& tensor = copy.tensors().at("model.layers.0.mlp.up_proj.weight");
  ASSERT_EQ(tensor.dtype, "F32");
  const float large = 1e8f;
  std::memcpy(tensor.bytes.data() + 8, &large, sizeof(large));
  copy.write();
  EXPECT_NO_THROW(Model::load(copy.path()));
  expect_error([&] { Model::load(copy.path(), {.weights = "int8"}); },
               {"model.layers.0.mlp.up_proj.weight", "int8", "8.3e6"});
}

TEST(Model, TiedEmbeddingsShareMemory) {
  const auto tied = Model::load(tiny("tiny-llama"));
  EXPECT_TRUE(tied->config.tied_embeddings);
  const auto untied = Model::load(tiny("tiny-llama3"));
  EXPECT_FALSE(untied->config.tied_embeddings);
  // One table instead of two: what is counted is what the parameters take, up to the padding of
  // whole panels.
  EXPECT_LT(tied->weight_bytes, static_cast<size_t>(tied->n_parameters) * 4 * 11 / 10);
}

TEST(Model, MissingTensorsAreNamed) {
  for (const char* name :
       {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
        "model.layers.1.self_attn.k_proj.weight", "model.layers.0.mlp.down_proj.weight"}) {
    ModelCopy copy("tiny-llama3");
    ASSERT_EQ(copy.tensors().erase(name), 1u);
    copy.expect_refused({copy.path().string(), name, "is missing"});
  }
  ModelCopy bias("tiny-qwen2");
  bias.tensors().erase("model.layers.1.self_attn.v_proj.bias");
  bias.expect_refused({"model.layers.1.self_attn.v_proj.bias", "is missing"});
}

TEST(Model, WrongShapesAndTypesAreNamed) {
  ModelCopy turned("tiny-llama");
  auto& q = turned.tensors().at("model.layers.0.self_attn.q_proj.weight");
  std::swap(q.shape[0], q.shape[1]);
  turned.expect_refused(
      {"model.layers.0.self_attn.q_proj.weight", "expected shape [64, 32]", "found [32, 64]"});

  ModelCopy flat("tiny-llama");
  auto& norm = flat.tensors().at("model.norm.weight");
  norm.shape = {1, 32};
  flat.expect_refused({"model.norm.weight", "expected shape [32]", "[1, 32]"});

  ModelCopy integers("tiny-llama");
  integers.tensors().at("model.norm.weight").dtype = "I32";
  integers.expect_refused({"model.norm.weight", "F32, F16, BF16 or F64", "I32"});

  ModelCopy fewer("tiny-llama");
  fewer.replace_in_config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  fewer.expect_refused({"model.layers.2.", "is missing"});
}

TEST(Model, TensorsThatWouldBeLeftOutAreRefused) {
  ModelCopy bias("tiny-llama");
  bias.tensors()["model.layers.0.self_attn.q_proj.bias"] = {"F32", {64}, std::string(256, '\0')};
  bias.expect_refused({"model.layers.0.self_attn.q_proj.bias", "[64]", "no such weight"});

  ModelCopy layer("tiny-llama");
  layer.replace_in_config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
  layer.expect_refused({"model.layers.1.", "no such weight", "more like it"});

  ModelCopy table("tiny-llama");
  table.tensors()["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
      "F32", {8}, std::string(32, '\0')};
  table.write();
  EXPECT_EQ(Model::load(table.path())->weights_hash, Model::load(tiny("tiny-llama"))->weights_hash);
}

TEST(Model, AHeadThatRepeatsTheEmbeddingIsNoError) {
  ModelCopy same("tiny-llama");
  same.tensors()["lm_head.weight"] = same.tensors().at("model.embed_tokens.weight");
  same.write();
  const auto model = Model::load(same.path());
  EXPECT_EQ(model->n_parameters, Model::load(tiny("tiny-llama"))->n_parameters);
  same.tensors()["lm_head.weight"].bytes[5] ^= 1;
  same.write();
  expect_error([&] { Model::load(same.path()); },
               {"lm_head.weight", "differs", "tie_word_embeddings"});
}

TEST(Model, ShardsHashLikeOneFile) {
  ModelCopy copy("tiny-llama");
  std::string map;
  for (const auto& [name, tensor] : copy.tensors()) {
    const bool first = name < "model.layers.1";
    map +=
        (map.empty() ? "" : ",") + ("\"" + name + "\":\"" + (first ? "a" : "b") + ".safetensors\"");
  }
  copy.write("a.safetensors", [](const std::string& name) { return name < "model.layers.1"; });
  copy.write("b.safetensors", [](const std::string& name) { return name >= "model.layers.1"; });
  copy.folder().write("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  EXPECT_EQ(Model::load(copy.path())->weights_hash, Model::load(tiny("tiny-llama"))->weights_hash);
}

TEST(Model, OneChangedBitChangesTheHash) {
  ModelCopy copy("tiny-llama");
  copy.tensors().at("model.layers.1.mlp.up_proj.weight").bytes[17] ^= 1;
  copy.write();
  EXPECT_NE(Model::load(copy.path())->weights_hash, Model::load(tiny("tiny-llama"))->weights_hash);
}

TEST(Model, AFolderWithoutTokenizerIsAModelForIds) {
  const auto model = Model::load(tiny("tiny-llama"));
  EXPECT_EQ(model->tokenizer, nullptr);
  expect_error([&] { model->require_tokenizer(); }, {"tiny-llama", "tokenizer.json"});
  const auto with_text = Model::load(tiny("tiny-qwen2"));
  ASSERT_NE(with_text->tokenizer, nullptr);
  EXPECT_EQ(with_text->require_tokenizer().vocab_size(), with_text->config.vocab);
  EXPECT_EQ(read_model_text(tiny("tiny-qwen2")).tokenizer->hash(), with_text->tokenizer->hash());
  EXPECT_EQ(read_model_text(tiny("tiny-llama")).tokenizer, nullptr);
}

TEST(Model, MissingPlacesAreNamed) {
  const TempFolder folder;
  expect_error([&] { Model::load(folder.path() / "none"); }, {"none", "no such model"});
  expect_error([&] { Model::load(folder.path()); }, {folder.path().string(), "config.json"});
  const auto text = folder.write("x.gguf", "hello, this is no model at all");
  expect_error([&] { Model::load(text); }, {"x.gguf", "not a GGUF file"});
  folder.write("adapter_config.json", "{}");
  expect_error([&] { Model::load(folder.path()); }, {"adapter_config.json", "peft_type"});
}

TEST(Model, AMissingTokenizerIsRefusedWithTheCommandThatMakesIt) {
  const TempFolder folder;
  expect_error([&] { throw_no_tokenizer(folder.path()); }, {"no tokenizer", "tokenizer.json"});
  folder.write("tokenizer.model", "");
  expect_error([&] { throw_no_tokenizer(folder.path()); },
               {"expected tokenizer.json, found tokenizer.model", "python -c", "save_pretrained"});
}

// A checkpoint in float64 is rounded to float32, as transformers does with dtype=float32.
TEST(Model, ReadsDoubles) {
  ModelCopy copy("tiny-llama");
  auto& norm = copy.tensors().at("model.norm.weight");
  const size_t n = norm.bytes.size() / sizeof(float);
  ASSERT_EQ(norm.dtype, "F32");
  std::string wide;
  for (size_t i = 0; i < n; ++i) wide += bytes_of(0.1 * static_cast<double>(i));
  norm = {"F64", norm.shape, wide};
  copy.write("model.safetensors", [](const std::string&) { return true; });
  const auto model = Model::load(copy.path());
  for (size_t i = 0; i < n; ++i)
    EXPECT_EQ(model->final_norm[i], static_cast<float>(0.1 * static_cast<double>(i)));
}

}  // namespace
}  // namespace kv
