#include "engine/arch/fused_tensors.h"

#include <algorithm>
#include <map>

#include "engine/error.h"

namespace kv {
namespace {

// "transformer.h.0…" for files that say "h.0…".
void put_prefix(std::vector<StoredTensor>& tensors, const TensorNames& names) {
  const std::string prefix = names.prefix;
  const bool has_it = std::any_of(tensors.begin(), tensors.end(), [&](const StoredTensor& t) {
    return t.name.starts_with(prefix);
  });
  if (has_it) return;
  for (StoredTensor& tensor : tensors) {
    if (!tensor.name.starts_with(names.lm_head)) tensor.name = prefix + tensor.name;
  }
}

bool is_layer_matrix(const std::string& name, const TensorNames& names) {
  for (const char* whole : {names.embedding, names.positions, names.lm_head}) {
    if (whole != nullptr && name == std::string(whole) + ".weight") return false;
  }
  return true;
}

// A fused tensor and where its slices go.
struct Found {
  const FusedTensor* fused;
  int layer;
  std::string ending;  // ".weight", ".bias"
};

std::map<std::string, Found> fused_names(const ModelConfig& config, const TensorNames& names) {
  std::map<std::string, Found> result;
  for (const FusedTensor& fused : names.fused) {
    for (int layer = 0; layer < config.n_layers; ++layer) {
      for (const char* ending : {".weight", ".bias"}) {
        result[tensor_name(fused.module, layer) + ending] = {&fused, layer, ending};
      }
    }
  }
  return result;
}

// Rows of a part: by the config's sizes.
int64_t rows_of(const std::string& part, const ModelConfig& config, const TensorNames& names) {
  if (part == names.q) return int64_t{config.n_heads} * config.head_dim;
  if (part == names.k || part == names.v) return int64_t{config.n_kv_heads} * config.head_dim;
  return config.hidden_dim;
}

void cut(const StoredTensor& whole, const Found& found, const ModelConfig& config,
         const TensorNames& names, std::vector<StoredTensor>& out) {
  const std::vector<const char*>& parts = found.fused->parts;
  int64_t total = 0;
  for (const char* part : parts) total += rows_of(part, config, names);
  if (whole.shape.empty() || whole.shape[0] != total) {
    throw_data(
        "{}: tensor '{}': expected {} rows (by the config: all that it fuses), found shape {}",
        whole.file, whole.stored_name, total, shape_text(whole.shape));
  }
  int64_t first = 0;
  for (const char* name : parts) {
    StoredTensor part = whole;
    const int64_t rows = rows_of(name, config, names);
    part.name = tensor_name(name, found.layer) + found.ending;
    part.shape[0] = rows;
    part.bytes = whole.bytes / static_cast<size_t>(total) * static_cast<size_t>(rows);
    part.slice = {first, rows, rows, whole.bytes};
    if (found.fused->by_head) {
      part.slice.block = config.head_dim;
      part.slice.stride = static_cast<int64_t>(parts.size()) * config.head_dim;
    }
    first += part.slice.block;
    out.push_back(std::move(part));
  }
}

}  // namespace

bool is_derived(const std::string& name, const TensorNames& names) {
  return std::any_of(names.derived.begin(), names.derived.end(),
                     [&](const char* ending) { return name.ends_with(ending); });
}

std::vector<StoredTensor> unfused(std::vector<StoredTensor> tensors, const ModelConfig& config,
                                  const TensorNames& names) {
  put_prefix(tensors, names);
  const std::map<std::string, Found> fused = fused_names(config, names);
  std::vector<StoredTensor> result;
  for (StoredTensor& tensor : tensors) {
    if (names.transposed && tensor.shape.size() == 2 && is_layer_matrix(tensor.name, names)) {
      std::swap(tensor.shape[0], tensor.shape[1]);
      tensor.transposed_outputs = tensor.shape[0];
    }
    const auto found = fused.find(tensor.name);
    if (found == fused.end()) {
      result.push_back(std::move(tensor));
    } else {
      cut(tensor, found->second, config, names, result);
    }
  }
  return result;
}

}  // namespace kv
