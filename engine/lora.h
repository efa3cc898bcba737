// LoRA adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685) in PEFT's layout: a folder with
// adapter_config.json and adapter_model.safetensors.
//
// An adapter is merged into its base model while that is loaded, in float32:
//   W' = W + s * B A,  s = lora_alpha / r (use_rslora: lora_alpha / sqrt(r)),
// with A (r, inputs) and B (outputs, r). The forward pass knows nothing of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/stored_tensor.h"

namespace kv {

// Whether a folder holds an adapter and no model of its own.
bool is_adapter_folder(const std::filesystem::path& folder);

// The base model that an adapter's config names: a path relative to the adapter's folder, or a name
// (engine/hub.h). Reads no weights. Throws Error(kData) where it is not found.
std::filesystem::path find_adapter_base(const std::filesystem::path& folder);

class LoraAdapter {
 public:
  // Reads and checks both files. Throws Error(kData) for every fault and for every option of PEFT
  // that would change the forward pass in a way that a merge like the above does not.
  static LoraAdapter open(const std::filesystem::path& folder);

  // Every module that the adapter changes must be one of the model's matrices, with its shape.
  // Throws Error(kData). tied_head: the module name of an output matrix that is the embedding.
  void check_against(const std::vector<StoredTensor>& tensors, const std::string& tied_head) const;

  bool changes(const std::string& module) const { return updates_.count(module) > 0; }
  // Adds rows first .. first + n - 1 of s * B A to rows (n, inputs); nothing where the module is
  // not changed. The sum over r runs in ascending order, so the result never depends on the cut.
  void add_to(const std::string& module, int64_t first, int64_t n, float* rows) const;

  std::string description() const;           // "LoRA r=8 F32": for people
  std::string hash() const;                  // xxh3-128 hex over names, scales and values
  size_t bytes() const { return n_bytes_; }  // in the file

 private:
  struct Update {
    int64_t rank = 0, n_in = 0, n_out = 0;
    float scale = 0;
    std::vector<float> a, b;  // (rank, n_in), (n_out, rank)
  };

  std::filesystem::path folder_;
  std::string base_model_, dtypes_;
  std::map<std::string, Update> updates_;  // by the base model's module name
  size_t n_bytes_ = 0;
};

}  // namespace kv
