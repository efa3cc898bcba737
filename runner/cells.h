// The grid of a config as an ordered list of cells, each with a fingerprint of everything that can
// change its outputs.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/model_config.h"
#include "runner/config.h"

namespace kv {

// What a fingerprint needs to know about a loaded model.
struct ModelIdentity {
  std::string name;  // as the config writes it; not part of fingerprints
  std::string weights_hash;
  std::string tokenizer_hash;  // "" where there is none
  std::string template_hash;   // "" where there is none
  ModelConfig config;
};

struct Cell {
  size_t model = 0, task = 0, compressor = 0;  // indices into the config's lists
  std::string id;           // "MODEL/TASK/COMPRESSOR", canonical forms; unique in a config
  std::string fingerprint;  // xxh3-128 hex
};

// Every field of a model's configuration as text: it can change an output without changing a
// weight.
std::string model_config_text(const ModelConfig& config);

std::string cell_fingerprint(const ModelIdentity& model, const CompressorSpec& compressor,
                             const Task& task, const RunOptions& run);

// All cells, models outermost, then tasks, then compressors in config order. Throws Error(kUsage)
// where two models are the same under two names: their cells could not be told apart.
std::vector<Cell> make_cells(const RunConfig& config, const std::vector<ModelIdentity>& models);

// xxh3-128 of text, 32 hex digits.
std::string hash_text(const std::string& text);

}  // namespace kv
