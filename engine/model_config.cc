#include "engine/model_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/arch/common.h"
#include "engine/arch/registry.h"
#include "engine/error.h"
#include "engine/json_file.h"

namespace kv {
namespace {

// What generation stops at is generation_config.json's business first: chat models end turns with a
// token that config.json does not name.
void read_generation_config(const std::filesystem::path& file, ModelConfig* config) {
  if (!std::filesystem::exists(file)) return;
  const nlohmann::json parsed = parse_json_file(file);
  const ConfigReader reader(parsed, file.string());
  const std::vector<int> eos = reader.ids("eos_token_id");
  if (!eos.empty()) config->eos_ids = eos;
}

}  // namespace

int ModelConfig::n_sliding_layers() const {
  return static_cast<int>(std::count_if(layers.begin(), layers.end(),
                                        [](const LayerConfig& l) { return l.window > 0; }));
}

float ModelConfig::query_scale() const {
  return static_cast<float>(attention_scale != 0 ? attention_scale
                                                 : 1.0 / std::sqrt(static_cast<double>(head_dim)));
}

int64_t ModelConfig::rows_held(int l, int64_t n) const {
  const int window = layer(l).window;
  return window == 0 ? n : std::min<int64_t>(n, window - 1);
}

void check_length(const ModelConfig& config, int64_t n, const std::string& place) {
  if (config.position_limit == 0 || n <= config.position_limit) return;
  throw_usage("{}{} tokens are more than the {} that this model can take: {}", place, n,
              config.position_limit, config.position_limit_reason);
}

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.json";
  if (!std::filesystem::exists(file)) {
    throw_data("{}: no config.json: expected a model folder in Hugging Face layout or a .gguf file",
               folder.string());
  }
  const nlohmann::json parsed = parse_json_file(file);
  const ConfigReader reader(parsed, file.string());
  const std::vector<std::string> names = reader.strings("architectures");
  if (names.size() != 1) reader.fail("architectures", "a list with one name");
  const Architecture& architecture = architecture_named(names[0], file.string());
  ModelConfig config = architecture.read_config(reader);
  config.architecture = architecture.name;
  check_model_config(config, file.string());
  read_generation_config(folder / "generation_config.json", &config);
  return config;
}

const char* rope_type_name(RopeType type) {
  switch (type) {
    case RopeType::kDefault:
      return "default";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kYarn:
      return "yarn";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kLongrope:
      return "longrope";
  }
  return "";
}

const char* activation_name(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kGeluErf:
      return "gelu";
  }
  return "";
}

}  // namespace kv
