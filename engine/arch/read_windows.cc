#include "engine/arch/common.h"
#include "engine/error.h"

namespace kv {

void read_windows(const ConfigReader& reader, const std::function<bool(int)>& slides,
                  int default_window, ModelConfig* config) {
  const std::vector<std::string> types = reader.strings("layer_types");
  const bool listed = reader.has("layer_types");
  if (listed && static_cast<int>(types.size()) != config->n_layers) {
    reader.fail("layer_types", fmt::format("one type for each of {} layers", config->n_layers));
  }
  config->layers.resize(static_cast<size_t>(config->n_layers));
  for (int l = 0; l < config->n_layers; ++l) {
    if (listed && types[l] != "full_attention" && types[l] != "sliding_attention") {
      reader.unsupported("layer_types", fmt::format("'{}' (full_attention and sliding_attention "
                                                    "are)",
                                                    types[l]));
    }
    if (listed ? types[l] == "full_attention" : !slides(l)) continue;
    config->layers[l].window = default_window > 0
                                   ? reader.count_or("sliding_window", default_window)
                                   : reader.required_count("sliding_window");
  }
}

void read_one_window(const ConfigReader& reader, int default_window, ModelConfig* config) {
  const bool none = reader.written("sliding_window") && !reader.has("sliding_window");
  if (none || (default_window == 0 && !reader.has("sliding_window"))) return;
  const int window = reader.count_or("sliding_window", default_window);
  if (window >= config->max_position) {  // hides nothing up to there
    config->position_limit = window;
    config->position_limit_reason = fmt::format(
        "its sliding window of {} tokens, no shorter than what it was trained for, is "
        "taken as none",
        window);
    return;
  }
  config->layers.assign(static_cast<size_t>(config->n_layers), LayerConfig{window});
}

void read_qwen_windows(const ConfigReader& reader, ModelConfig* config) {
  const bool used = reader.bool_or("use_sliding_window", false);
  if (!used && !reader.has("layer_types")) return;
  // What transformers takes where the keys are absent.
  constexpr int kFirstLayer = 28, kWindow = 4096;
  const int first =
      reader.written("max_window_layers") && reader.number_or("max_window_layers", 0) == 0
          ? 0
          : reader.count_or("max_window_layers", kFirstLayer);
  read_windows(
      reader, [&](int l) { return used && l >= first; }, kWindow, config);
  if (config->n_sliding_layers() == 0) {
    config->layers.clear();
  } else if (!used) {
    reader.fail("use_sliding_window", "true, as layer_types has 'sliding_attention'");
  }
}

}  // namespace kv
