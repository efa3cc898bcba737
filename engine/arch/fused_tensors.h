// From the tensors of a file to those that TensorNames names: fused ones cut into slices, matrices that are
// stored the other way round marked as such, a missing prefix put in front.
#pragma once

#include <string>
#include <vector>

#include "engine/arch/tensor_names.h"
#include "engine/stored_tensor.h"

namespace kv {

// Whether a tensor of this architecture's files follows from the config.
bool is_derived(const std::string& name, const TensorNames& names);

// Throws Error(kData) where a fused tensor has another shape than the config says.
std::vector<StoredTensor> unfused(std::vector<StoredTensor> tensors, const ModelConfig& config,
                                  const TensorNames& names);

}  // namespace kv
