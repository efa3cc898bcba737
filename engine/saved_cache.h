// Compressed caches in files: rows as they are stored, where they stand, and what later cuts need.
//
// A safetensors file. __metadata__ holds SavedCacheInfo and the version of the format; the tensors:
//
//   last_logits        F32 [vocab]           of the last token that the cache has seen
//   head.L.H           I32 [11]              the fields of kHeadFields (saved_cache.cc), in order
//   pages.L.H          U8 [pages, bytes]     tiles of keys and of values, as the codec stores them
//   plain.L.H          U8 [pages, bytes]     residual rows, from page plain_first on
//   key_groups.L       F32 [2, groups]       scales and offsets of codecs over a whole layer;
//   value_groups.L                           likewise
//   list.I, dropped.I  I32 [n], U8 [n]       position lists and channel masks, which heads may share
//   channels.I         I32 [n]               the channels of narrow keys, likewise
//   cut.*                                    of caches that are cut again and again
// Where a method acts at every step, instead of all but last_logits: pages.L.H, and step.* with the
// numbers of StepMemory.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/kv_plan.h"
#include "engine/safetensors.h"

namespace kv {

// What a saved cache was made with.
struct SavedCacheInfo {
  std::string model;       // identity of weights and configuration, compared as a whole
  std::string compressor;  // canonical spec
  std::string kv_dtype;    // of rows without a codec, and of residual rows
  int n_tokens = 0;        // seen so far
};

// Throws Error(kData) where the file cannot be written.
void save_cache(const std::filesystem::path& file, const KvCache& cache,
                const std::vector<float>& last_logits, const SavedCacheInfo& info);

class SavedCache {
 public:
  // Throws Error(kData) for what is no saved cache, is cut short, or has another version.
  explicit SavedCache(const std::filesystem::path& file);

  const SavedCacheInfo& info() const { return info_; }

  // The cache as it was, bit for bit. plan: of info().compressor; kv_dtype: of info().kv_dtype.
  // Throws Error(kData) where a tensor does not fit the model, the codec or the others.
  KvCache restore(const ModelConfig& config, const CompressionPlan& plan,
                  const CodecPtr& kv_dtype) const;
  std::vector<float> last_logits(const ModelConfig& config) const;

 private:
  std::string file_;  // for messages
  Safetensors tensors_;
  SavedCacheInfo info_;
};

}  // namespace kv
