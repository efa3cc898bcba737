// Adapters that are whole are checked against PEFT's numbers in golden_test.cc (tiny-qwen2-lora);
// here: what is merged where, and what is refused.
#include "engine/lora.h"

#include <nlohmann/json.hpp>

#include "engine/model.h"
#include "engine/safetensors.h"
#include "engine/safetensors_writer.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/file_testing.h"
#include "tests/paths.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kData = source_dir() / "tests" / "data";
const char kGate[] = "base_model.model.model.layers.1.mlp.gate_proj.lora_A.weight";

// A copy of the committed adapter that a test may damage.
class Lora : public testing::Test {
 protected:
  Lora() {
    config_ = Json::parse(read_file(kData / "tiny-qwen2-lora" / "adapter_config.json"));
    config_["base_model_name_or_path"] = (kData / "tiny-qwen2").string();
    const auto source =
        Safetensors::open_file(kData / "tiny-qwen2-lora" / "adapter_model.safetensors");
    for (const auto& [name, entry] : source.entries())
      tensors_[name] = {entry.shape, source.floats(name)};
  }
  const fs::path& write() {
    folder_.write("adapter_config.json", config_.dump());
    SafetensorsWriter writer;
    for (const auto& [name, t] : tensors_) {
      writer.add_raw(name, "F32", t.shape, std::as_bytes(std::span(t.values)));
    }
    writer.write(folder_.path() / "adapter_model.safetensors");
    return folder_.path();
  }
  void expect_refused(const std::vector<std::string>& parts) {
    write();
    expect_error([&] { Model::load(folder_.path()); }, parts);
    expect_error([&] { read_model_header(folder_.path()); }, parts);
  }
  struct Tensor {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  TempFolder folder_;
  Json config_;
  std::map<std::string, Tensor> tensors_;
};

std::vector<float> row_of(const Linear& linear, int o) {
  std::vector<float> row(static_cast<size_t>(linear.n_in()));
  linear.row(o, row.data());
  return row;
}

TEST_F(Lora, AddsTheScaledProductToItsModuleAlone) {
  // One module, rank 1: row o of the change is 2.5 * B[o] * A.
  const auto a = tensors_.at(kGate);
  tensors_.clear();
  Tensor one_a{{1, a.shape[1]},
               std::vector<float>(a.values.begin(), a.values.begin() + a.shape[1])};
  Tensor one_b{{64, 1}, std::vector<float>(64, 0.0f)};
  one_b.values[3] = 2.0f;
  tensors_[kGate] = one_a;
  tensors_["base_model.model.model.layers.1.mlp.gate_proj.lora_B.weight"] = one_b;
  config_["r"] = 1;
  config_["lora_alpha"] = 2.5;
  const auto base = Model::load(kData / "tiny-qwen2"), merged = Model::load(write());
  const std::vector<float> before = row_of(base->layers[1].gate_up, 3);
  const std::vector<float> after = row_of(merged->layers[1].gate_up, 3);
  for (size_t j = 0; j < before.size(); ++j)
    EXPECT_FLOAT_EQ(after[j], before[j] + 2.5f * (2.0f * one_a.values[j])) << j;
  EXPECT_EQ(row_of(merged->layers[1].gate_up, 2), row_of(base->layers[1].gate_up, 2));
  EXPECT_EQ(row_of(merged->layers[0].gate_up, 3), row_of(base->layers[0].gate_up, 3));
  EXPECT_EQ(row_of(merged->layers[1].down, 3), row_of(base->layers[1].down, 3));
}

TEST_F(Lora, RankStabilisedScalesByTheRoot) {
  const auto plain = Model::load(write());
  const std::vector<float> base = row_of(Model::load(kData / "tiny-qwen2")->layers[0].o, 1);
  const std::vector<float> once = row_of(plain->layers[0].o, 1);
  config_["use_rslora"] = true;
  const std::vector<float> more = row_of(Model::load(write())->layers[0].o, 1);
  for (size_t j = 0; j < base.size(); ++j)
    EXPECT_NEAR(more[j] - base[j], (once[j] - base[j]) * std::sqrt(3.0f), 1e-6) << j;
}

TEST_F(Lora, TextAndSizesComeFromTheBaseModel) {
  const auto base = Model::load(kData / "tiny-qwen2"), merged = Model::load(write());
  ASSERT_NE(merged->tokenizer, nullptr);
  EXPECT_EQ(merged->tokenizer->hash(), base->tokenizer->hash());
  EXPECT_NE(merged->chat_template, nullptr);
  EXPECT_EQ(read_model_text(folder_.path()).tokenizer->hash(), base->tokenizer->hash());
  EXPECT_EQ(merged->n_parameters, base->n_parameters);
  EXPECT_EQ(merged->location, folder_.path());
  EXPECT_EQ(merged->stored_dtype, "BF16 with LoRA r=3 F32");
  EXPECT_GT(read_model_header(folder_.path()).weight_bytes,
            read_model_header(kData / "tiny-qwen2").weight_bytes);
}

TEST_F(Lora, EveryValueAndTheScaleCountInTheHash) {
  const std::string before = Model::load(write())->weights_hash;
  EXPECT_NE(before, Model::load(kData / "tiny-qwen2")->weights_hash);
  EXPECT_EQ(before, Model::load(kData / "tiny-qwen2-lora")->weights_hash);
  config_["lora_alpha"] = 6;
  EXPECT_NE(Model::load(write())->weights_hash, before);
  config_["lora_alpha"] = 5;
  tensors_.at(kGate).values[7] += 0.001f;
  EXPECT_NE(Model::load(write())->weights_hash, before);
}

TEST_F(Lora, SixteenBitWeightsAreRoundedAfterTheMerge) {
  const auto wide = Model::load(write());
  LoadOptions options;
  options.weights = "bf16";
  const std::vector<float> exact = row_of(wide->layers[0].down, 5);
  const std::vector<float> rounded =
      row_of(Model::load(folder_.path(), options)->layers[0].down, 5);
  for (size_t j = 0; j < exact.size(); ++j) {
    uint16_t narrow;
    float back;
    kernels().to_bf16(&exact[j], 1, &narrow);
    kernels().from_bf16(&narrow, 1, &back);
    EXPECT_EQ(rounded[j], back) << j;
  }
}

TEST_F(Lora, RefusesFilesThatDoNotFit) {
  const auto all = tensors_;
  tensors_.erase("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
  expect_refused({"adapter_model.safetensors", "layers.0.self_attn.q_proj.lora_B.weight"});
  tensors_ = all;
  tensors_["base_model.model.lm_head.lora_A.weight"] = {{3, 48}, std::vector<float>(144)};
  tensors_["base_model.model.lm_head.lora_B.weight"] = {{320, 3}, std::vector<float>(960)};
  expect_refused({"lm_head", "embedding"});
  tensors_ = all;
  tensors_["base_model.model.model.embed_tokens.lora_embedding_A"] = {{3, 320},
                                                                      std::vector<float>(960)};
  expect_refused({"lora_embedding_A", "no LoRA matrix"});
  tensors_ = all;
  tensors_["base_model.model.model.layers.7.mlp.up_proj.lora_A.weight"] = {{3, 48},
                                                                           std::vector<float>(144)};
  tensors_["base_model.model.model.layers.7.mlp.up_proj.lora_B.weight"] = {{64, 3},
                                                                           std::vector<float>(192)};
  expect_refused({"model.layers.7.mlp.up_proj", "tiny-qwen2"});
  tensors_ = all;
  tensors_.at(kGate) = {{3, 40}, std::vector<float>(120)};
  expect_refused({"model.layers.1.mlp.gate_proj", "[64, 40]", "[64, 48]"});
  tensors_ = all;
  config_["r"] = 4;
  expect_refused({"adapter_model.safetensors", "r = 4"});
}

TEST_F(Lora, RefusesOptionsThatAMergeDoesNotCover) {
  const Json whole = config_;
  const auto refused = [&](const char* key, const Json& value) {
    config_ = whole;
    config_[key] = value;
    expect_refused({"adapter_config.json", key});
  };
  refused("use_dora", true);
  refused("bias", "all");
  refused("fan_in_fan_out", true);
  refused("modules_to_save", Json::array({"lm_head"}));
  refused("alpha_pattern", {{"q_proj", 2}});
  refused("init_lora_weights", "pissa");
  refused("peft_type", "IA3");
  refused("r", 0);
  refused("lora_alpha", "many");
}

TEST_F(Lora, NamesTheBaseModelThatIsMissing) {
  config_["base_model_name_or_path"] = "no-such-model";
  expect_refused({"adapter_config.json", "base_model_name_or_path", "no-such-model"});
  config_["base_model_name_or_path"] = (kData / "tiny-qwen2-lora").string();
  expect_refused({"tiny-qwen2-lora", "adapter too"});
}

}  // namespace
}  // namespace kv
