// Safetensors files: 8 bytes header length, a JSON header, the tensors' bytes.
//
// Everything is checked before use: lengths, offsets, shapes and dtypes against the file's size,
// and that the tensors cover the data exactly, without gaps or overlaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace kv {

class MappedFile;

struct SafetensorsEntry {
  std::string dtype;                // "F32", "BF16", "I64", …
  std::vector<int64_t> shape;       // outermost first; empty: a scalar
  const std::byte* data = nullptr;  // into the mapped file; no alignment
  size_t bytes = 0;
  std::string file;  // for messages
};

// One file, or all shards of a folder. Cheap to copy: copies share the mapping.
class Safetensors {
 public:
  // Throws Error(kData) for every fault of a file.
  static Safetensors open_file(const std::filesystem::path& file);
  // model.safetensors, else the shards that model.safetensors.index.json lists.
  static Safetensors open_folder(const std::filesystem::path& folder);

  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const SafetensorsEntry* find(const std::string& name) const;  // null where absent
  // Throws Error(kData) where the tensor is absent or (shape given) has another shape; -1 stands
  // for any extent.
  const SafetensorsEntry& get(const std::string& name) const;
  const SafetensorsEntry& get(const std::string& name, const std::vector<int64_t>& shape) const;

  // Copies of a whole tensor. floats: F32, F16 or BF16; int32s: I32; int64s: I64 or I32; bytes: U8
  // or BOOL.
  std::vector<float> floats(const std::string& name) const;
  std::vector<int32_t> int32s(const std::string& name) const;
  std::vector<int64_t> int64s(const std::string& name) const;
  std::vector<uint8_t> bytes(const std::string& name) const;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }  // __metadata__

 private:
  void add_file(const std::filesystem::path& file);

  std::string place_;  // file or folder, for messages
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// Bytes of one element; 0 for an unknown dtype name.
size_t safetensors_dtype_bytes(const std::string& dtype);

}  // namespace kv
