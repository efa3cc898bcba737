// A model on disk, opened and checked, before any weight is read.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/arch/registry.h"
#include "engine/model_config.h"
#include "engine/stored_tensor.h"

namespace kv {

class Gguf;
class LoraAdapter;

struct ModelFiles {
  std::filesystem::path location;
  ModelConfig config;
  const Architecture* architecture = nullptr;
  std::vector<StoredTensor> tensors;  // every weight of the model, in name order
  // lm_head.weight of a model whose config ties it to the embedding: must repeat the embedding's
  // bytes.
  std::vector<StoredTensor> repeated_embedding;
  std::shared_ptr<const Gguf> gguf;  // null for a folder
  // An adapter that is to be merged into the tensors, which are its base model's; null: none.
  std::shared_ptr<const LoraAdapter> adapter;
  std::shared_ptr<const void> owner;  // keeps the mapped files alive

  const StoredTensor& tensor(const std::string& name) const;  // which must be there
  std::string stored_dtype()
      const;  // "BF16", "Q4_1+Q6_K+F32": most bytes first; "… with LoRA r=8 BF16"
  int64_t n_parameters() const;
  size_t bytes() const;
};

// location: a folder in Hugging Face layout, a .gguf file, or the folder of a LoRA adapter, whose
// base model is then opened too. Checks that every tensor that the config asks for is there with its
// shape and a dtype that can be read, and that no other one is there. Throws Error(kData).
ModelFiles open_model_files(const std::filesystem::path& location);

}  // namespace kv
