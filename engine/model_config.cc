#include "engine/model_config.h"

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
  }
  return "";
}

}  // namespace kv
