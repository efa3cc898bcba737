// Mistral: Llama's layers without any bias, some versions with a sliding window in every layer.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"

namespace kv {

ModelConfig read_mistral_config(const ConfigReader& reader) {
  // transformers takes this window where the key is absent.
  constexpr int kDefaultWindow = 4096;
  ModelConfig config = read_common_config(reader);
  read_one_window(reader, kDefaultWindow, &config);
  return config;
}

}  // namespace kv
