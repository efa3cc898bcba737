#include "engine/lora.h"

#include <fmt/ranges.h>
#include <xxhash.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/arch/config_reader.h"
#include "engine/error.h"
#include "engine/hub.h"
#include "engine/json_file.h"
#include "engine/safetensors.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kConfigFile[] = "adapter_config.json";
constexpr char kTensorFile[] = "adapter_model.safetensors";
constexpr char kPrefix[] = "base_model.model.";

struct LoraConfig {
  std::string base_model;
  int rank = 0;
  double alpha = 0;
  bool rank_stabilised = false;
  bool ranks_vary = false;  // rank_pattern: the tensors say which module has which

  float scale(int64_t r) const {
    const double rank_of_module = static_cast<double>(r);
    return static_cast<float>(alpha /
                              (rank_stabilised ? std::sqrt(rank_of_module) : rank_of_module));
  }
};

// Null, false, 0, "", [] and {} all say that an option is not used.
bool is_unset(const json& value) {
  return value.is_null() || value == false || value == 0 || value == "" ||
         (value.is_structured() && value.empty());
}

// Options under which a trained adapter is more, or something else, than W + s B A.
void refuse_other_forms(const json& config, const ConfigReader& reader) {
  for (const char* key :
       {"use_dora", "fan_in_fan_out", "modules_to_save", "lora_bias", "alpha_pattern",
        "layer_replication", "trainable_token_indices", "target_parameters", "use_qalora",
        "megatron_config", "alora_invocation_tokens", "arrow_config", "use_bdlora", "kasa_config",
        "velora_config", "monteclora_config"}) {
    const auto found = config.find(key);
    if (found != config.end() && !is_unset(*found)) reader.unsupported(key, found->dump());
  }
  if (const std::string bias = reader.string_or("bias", "none"); bias != "none")
    reader.unsupported("bias", fmt::format("'{}' (trained biases)", bias));
  // These start from a base model whose weights they change; the file alone does not say how.
  const auto start = config.find("init_lora_weights");
  if (start != config.end() && start->is_string()) {
    static const std::set<std::string> kPlain = {"gaussian", "eva", "orthogonal"};
    const std::string name = start->get<std::string>();
    if (kPlain.count(name) == 0) reader.unsupported("init_lora_weights", fmt::format("'{}'", name));
  }
}

LoraConfig read_config(const fs::path& file) {
  const json object = parse_json_file(file);
  const ConfigReader reader(object, file.string());
  if (const std::string type = reader.required_string("peft_type"); type != "LORA")
    reader.unsupported("peft_type", fmt::format("'{}'; only LORA", type));
  refuse_other_forms(object, reader);
  LoraConfig config;
  config.base_model = reader.required_string("base_model_name_or_path");
  config.rank = reader.required_count("r");
  config.alpha = reader.required_number("lora_alpha");
  config.rank_stabilised = reader.bool_or("use_rslora", false);
  config.ranks_vary = reader.object("rank_pattern").has_value();
  return config;
}

// "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight" -> module and 'A' or 'B'.
std::pair<std::string, char> parse_name(const std::string& name, const fs::path& file) {
  for (const char side : {'A', 'B'}) {
    const std::string suffix = fmt::format(".lora_{}.weight", side);
    if (name.starts_with(kPrefix) && name.ends_with(suffix)) {
      const size_t begin = sizeof(kPrefix) - 1;
      return {name.substr(begin, name.size() - suffix.size() - begin), side};
    }
  }
  throw_data(
      "{}: tensor '{}' is no LoRA matrix: expected {}MODULE.lora_A.weight and "
      "{}MODULE.lora_B.weight only",
      file.string(), name, kPrefix, kPrefix);
}

}  // namespace

bool is_adapter_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kConfigFile, ignored) && !fs::exists(folder / "config.json", ignored);
}

fs::path find_adapter_base(const fs::path& folder) {
  const fs::path file = folder / kConfigFile;
  const LoraConfig config = read_config(file);
  try {
    return fs::weakly_canonical(find_model_beside(config.base_model, folder));
  } catch (const Error& error) {
    throw_data("{}: base_model_name_or_path: {}", file.string(), error.what());
  }
}

LoraAdapter LoraAdapter::open(const fs::path& folder) {
  const LoraConfig config = read_config(folder / kConfigFile);
  const fs::path file = folder / kTensorFile;
  const Safetensors tensors = Safetensors::open_file(file);

  LoraAdapter adapter;
  adapter.folder_ = folder;
  adapter.base_model_ = config.base_model;
  std::set<std::string> dtypes;
  for (const auto& [name, entry] : tensors.entries()) {
    const auto [module, side] = parse_name(name, file);
    if (entry.shape.size() != 2) {
      throw_data("{}: tensor '{}': expected a matrix, found shape {}", file.string(), name,
                 shape_text(entry.shape));
    }
    Update& update = adapter.updates_[module];
    (side == 'A' ? update.a : update.b) = tensors.floats(name);
    (side == 'A' ? update.n_in : update.rank) = entry.shape[1];
    if (side == 'B') update.n_out = entry.shape[0];
    adapter.n_bytes_ += entry.bytes;
    dtypes.insert(entry.dtype);
  }
  if (adapter.updates_.empty()) throw_data("{}: no tensors", file.string());
  for (auto& [module, update] : adapter.updates_) {
    const std::string name = kPrefix + module;
    const auto& a = tensors.get(name + ".lora_A.weight").shape;  // throws where one is missing
    const auto& b = tensors.get(name + ".lora_B.weight").shape;
    if (a[0] != b[1] || (!config.ranks_vary && a[0] != config.rank)) {
      throw_data("{}: module '{}': lora_A {} and lora_B {} do not fit r = {} of {}", file.string(),
                 module, shape_text(a), shape_text(b), config.rank, kConfigFile);
    }
    update.scale = config.scale(update.rank);
  }
  adapter.dtypes_ = fmt::format("r={} {}", config.rank, fmt::join(dtypes, "+"));
  return adapter;
}

void LoraAdapter::check_against(const std::vector<StoredTensor>& tensors,
                                const std::string& tied_head) const {
  std::map<std::string, const StoredTensor*> matrices;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.shape.size() == 2 && tensor.name.ends_with(".weight"))
      matrices[tensor.name.substr(0, tensor.name.size() - sizeof(".weight") + 1)] = &tensor;
  }
  const std::string file = (folder_ / kTensorFile).string();
  for (const auto& [module, update] : updates_) {
    if (module == tied_head) {
      throw_data("{}: module '{}' is the embedding too in this model and cannot change alone", file,
                 module);
    }
    const auto found = matrices.find(module);
    if (found == matrices.end())
      throw_data("{}: the base model {} has no matrix '{}'", file, base_model_, module);
    const std::vector<int64_t> shape = {update.n_out, update.n_in};
    if (found->second->shape != shape) {
      throw_data("{}: module '{}': the adapter is for shape {}, the base model {} has {}", file,
                 module, shape_text(shape), base_model_, shape_text(found->second->shape));
    }
  }
}

void LoraAdapter::add_to(const std::string& module, int64_t first, int64_t n, float* rows) const {
  const auto found = updates_.find(module);
  if (found == updates_.end()) return;
  const Update& update = found->second;
  const size_t n_in = static_cast<size_t>(update.n_in);
  std::vector<float> change(n_in);
  for (int64_t i = 0; i < n; ++i) {
    const float* b = update.b.data() + (first + i) * update.rank;
    std::fill(change.begin(), change.end(), 0.0f);
    for (int64_t k = 0; k < update.rank; ++k) {
      const float* a = update.a.data() + k * update.n_in;
      for (size_t j = 0; j < n_in; ++j) change[j] += b[k] * a[j];
    }
    float* row = rows + i * update.n_in;
    for (size_t j = 0; j < n_in; ++j) row[j] += update.scale * change[j];
  }
}

std::string LoraAdapter::description() const {
  return "LoRA " + dtypes_;
}

std::string LoraAdapter::hash() const {
  std::string all;
  const auto add = [&](const std::vector<float>& values) {
    const XXH128_hash_t hash = XXH3_128bits(values.data(), values.size() * sizeof(float));
    all += fmt::format(" {:016x}{:016x}", hash.high64, hash.low64);
  };
  for (const auto& [module, update] : updates_) {
    all += fmt::format("{} {} {}", module, update.rank, update.scale);
    add(update.a);
    add(update.b);
    all += "\n";
  }
  const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace kv
