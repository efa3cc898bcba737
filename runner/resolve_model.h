// Where a model that a config or a request names lies.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace kv {

class Tokenizer;

// A path relative to base_folder (the folder of the config or request) where a model lies there,
// else what engine/hub.h finds: a path, a name in the model folder or a hub id. The answer is
// absolute. Throws Error(kData) that lists where it was looked for.
std::filesystem::path resolve_model(const std::string& name,
                                    const std::filesystem::path& base_folder);

// A model as configs and --model name it: M, or M(rope_theta_factor=32).
struct NamedModel {
  std::string name;
  double rope_theta_factor = 1;
};
// Throws Error(kUsage), which begins with `place`.
NamedModel read_model_name(const std::string& text, const std::string& place);

// The tokenizer of the model at `location` alone. Throws Error(kData) where it has none.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& location);

}  // namespace kv
