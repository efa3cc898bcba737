// `kvengine probe`: exact tensors of one forward pass with compression (interface section 5).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "compress/registry.h"

namespace kv {

struct ProbeRequest {
  std::string place;                // "request.json: [0]", for messages
  std::filesystem::path model;      // found, not a name any more
  std::vector<int32_t> prompt_ids;  // at least one
  CompressorSpec compressor;
  std::vector<int32_t> suffix_ids;  // fed from the compressed cache, teacher forced
  int generate = 0;                 // greedy tokens from a fresh copy of the compressed cache
  std::string kv_dtype = "f32";
  int threads = 1;
  int prefill_chunk = 0;  // tokens; 0: as the session chooses
  bool scores = false;
};

// Reads the request file and checks everything that can be checked without the weights: keys,
// ranges, models' headers, ids against the vocabulary, codecs against the head size. Throws Error
// naming the request by its index.
std::vector<ProbeRequest> read_probe_requests(const std::filesystem::path& request_json);

// Runs them all and writes `out` (a .safetensors file) at the end, and, unless it is empty, `heatmap`
// (an .svg file: rows kept by layer and KV head, a picture for each request); nothing is written where
// one of them fails.
void run_probe(const std::filesystem::path& request_json, const std::filesystem::path& out,
               const std::filesystem::path& heatmap = {});

}  // namespace kv
