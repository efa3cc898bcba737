// Mistral: Llama's layers without any bias, some versions with sliding-window attention.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"
#include "engine/error.h"

namespace kv {
namespace {

// transformers takes this window where the key is absent; null means none.
constexpr int kDefaultWindow = 4096;

}  // namespace

ModelConfig read_mistral_config(const ConfigReader& reader) {
  ModelConfig config = read_common_config(reader);
  if (reader.written("sliding_window") && !reader.has("sliding_window")) return config;
  const int window = reader.count_or("sliding_window", kDefaultWindow);
  // A window that covers every position the model was trained for hides nothing.
  if (window < config.max_position) {
    reader.unsupported("sliding_window",
                       fmt::format("a window of {} tokens, below max_position_embeddings {},",
                                   window, config.max_position));
  }
  return config;
}

}  // namespace kv
