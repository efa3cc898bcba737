#include "engine/model_files.h"

#include <algorithm>
#include <map>

#include "engine/arch/fused_tensors.h"
#include "engine/error.h"
#include "engine/gguf.h"
#include "engine/gguf_model.h"
#include "engine/lora.h"
#include "engine/safetensors.h"

namespace kv {
namespace {

StorageType storage_of(const SafetensorsEntry& entry, const std::string& name) {
  if (entry.dtype == "F32") return StorageType::kF32;
  if (entry.dtype == "F16") return StorageType::kF16;
  if (entry.dtype == "BF16") return StorageType::kBF16;
  if (entry.dtype == "F64") return StorageType::kF64;
  throw_data("{}: tensor '{}': expected dtype F32, F16, BF16 or F64, found {}", entry.file, name,
             entry.dtype);
}

std::vector<StoredTensor> tensors_of(const Safetensors& safetensors, const TensorNames& names) {
  std::vector<StoredTensor> result;
  for (const auto& [name, entry] : safetensors.entries()) {
    if (is_derived(name, names)) continue;
    StoredTensor tensor;
    tensor.name = tensor.stored_name = name;
    tensor.file = entry.file;
    tensor.type = storage_of(entry, name);
    tensor.shape = entry.shape;
    tensor.data = entry.data;
    tensor.bytes = entry.bytes;
    result.push_back(std::move(tensor));
  }
  return result;
}

ModelFiles open_folder(const std::filesystem::path& folder) {
  ModelFiles files;
  files.location = folder;
  files.config = read_model_config(folder);
  files.architecture = &architecture_named(files.config.architecture, folder.string());
  auto safetensors = std::make_shared<Safetensors>(Safetensors::open_folder(folder));
  const TensorNames& names = *files.architecture->tensors;
  files.tensors = unfused(tensors_of(*safetensors, names), files.config, names);
  files.owner = std::move(safetensors);
  return files;
}

ModelFiles open_gguf(const std::filesystem::path& file) {
  ModelFiles files;
  files.location = file;
  files.gguf = std::make_shared<const Gguf>(file);
  files.architecture = &gguf_architecture(*files.gguf);
  files.config = gguf_model_config(*files.gguf);
  files.tensors = gguf_tensors(*files.gguf, files.config);
  files.owner = files.gguf;
  return files;
}

// Moves lm_head out of the list where the config ties it to the embedding.
void set_aside_tied_head(ModelFiles* files) {
  if (!files->config.tied_embeddings) return;
  const std::string head = std::string(files->architecture->tensors->lm_head) + ".weight";
  const auto found = std::find_if(files->tensors.begin(), files->tensors.end(),
                                  [&](const StoredTensor& t) { return t.name == head; });
  if (found == files->tensors.end()) return;
  files->repeated_embedding.push_back(*found);
  files->tensors.erase(found);
}

std::string what_to_do(const ModelFiles& files, const std::string& name) {
  if (name != std::string(files.architecture->tensors->lm_head) + ".weight") return "";
  return "; a model that shares it with the embedding says tie_word_embeddings: true in "
         "config.json";
}

void check_against_config(const ModelFiles& files) {
  std::map<std::string, const StoredTensor*> present;
  for (const StoredTensor& tensor : files.tensors) present[tensor.name] = &tensor;
  for (const ExpectedTensor& expected :
       expected_tensors(files.config, *files.architecture->tensors)) {
    const auto found = present.find(expected.name);
    if (found == present.end()) {
      throw_data("{}: the tensor '{}' with shape {} is missing{}", files.location.string(),
                 expected.name, shape_text(expected.shape), what_to_do(files, expected.name));
    }
    const StoredTensor& tensor = *found->second;
    if (tensor.shape != expected.shape) {
      throw_data("{}: tensor '{}': expected shape {} (by the config), found {}", tensor.file,
                 tensor.stored_name, shape_text(expected.shape), shape_text(tensor.shape));
    }
    present.erase(found);
  }
  if (present.empty()) return;
  const StoredTensor& extra = *present.begin()->second;
  throw_data(
      "{}: tensor '{}' {}: {} with this config has no such weight, so leaving it out would change "
      "the results{}",
      extra.file, extra.stored_name, shape_text(extra.shape), files.config.architecture,
      present.size() == 1 ? "" : fmt::format(" ({} more like it)", present.size() - 1));
}

ModelFiles open_full_model(const std::filesystem::path& location) {
  std::error_code error;
  const auto status = std::filesystem::status(location, error);
  if (!std::filesystem::exists(status)) {
    throw_data("{}: no such model: expected a folder in Hugging Face layout or a .gguf file",
               location.string());
  }
  ModelFiles files =
      std::filesystem::is_directory(status) ? open_folder(location) : open_gguf(location);
  std::sort(files.tensors.begin(), files.tensors.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
  set_aside_tied_head(&files);
  check_against_config(files);
  return files;
}

}  // namespace

const StoredTensor& ModelFiles::tensor(const std::string& name) const {
  const auto found =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const StoredTensor& t, const std::string& n) { return t.name < n; });
  KV_CHECK(found != tensors.end() && found->name == name, "tensor {}", name);
  return *found;
}

std::string ModelFiles::stored_dtype() const {
  std::map<std::string, size_t> bytes_of;
  for (const StoredTensor& tensor : tensors) bytes_of[storage_name(tensor.type)] += tensor.bytes;
  std::vector<std::pair<size_t, std::string>> order;
  for (const auto& [name, n] : bytes_of) order.emplace_back(n, name);
  std::sort(order.rbegin(), order.rend());
  std::string text;
  for (const auto& [n, name] : order) text += (text.empty() ? "" : "+") + name;
  return adapter ? fmt::format("{} with {}", text, adapter->description()) : text;
}

int64_t ModelFiles::n_parameters() const {
  int64_t n = 0;
  for (const StoredTensor& tensor : tensors) n += tensor.elements();
  return n;
}

size_t ModelFiles::bytes() const {
  size_t n = 0;
  for (const StoredTensor& tensor : tensors) n += tensor.bytes;
  return adapter ? n + adapter->bytes() : n;
}

ModelFiles open_model_files(const std::filesystem::path& location) {
  if (!is_adapter_folder(location)) return open_full_model(location);
  auto adapter = std::make_shared<LoraAdapter>(LoraAdapter::open(location));
  const std::filesystem::path base = find_adapter_base(location);
  if (is_adapter_folder(base)) {
    throw_data("{}: its base model {} is an adapter too; expected a whole model", location.string(),
               base.string());
  }
  ModelFiles files = open_full_model(base);
  adapter->check_against(files.tensors,
                         files.config.tied_embeddings ? files.architecture->tensors->lm_head : "");
  files.location = location;
  files.adapter = std::move(adapter);
  return files;
}

}  // namespace kv
