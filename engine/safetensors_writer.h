// Writes a safetensors file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kv {

class SafetensorsWriter {
 public:
  // Values are copied. The number of values must be the product of shape; a name may be added once.
  void add(const std::string& name, const std::vector<int64_t>& shape,
           std::span<const float> values);
  void add(const std::string& name, const std::vector<int64_t>& shape,
           std::span<const int32_t> values);
  void add(const std::string& name, const std::vector<int64_t>& shape,
           std::span<const int64_t> values);
  void add(const std::string& name, const std::vector<int64_t>& shape,
           std::span<const uint8_t> values);
  // Any other dtype, as raw bytes ("BF16", "F16", …).
  void add_raw(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
               std::span<const std::byte> bytes);

  // The strings of __metadata__; none by default.
  void set_metadata(std::map<std::string, std::string> metadata) {
    metadata_ = std::move(metadata);
  }

  // The whole file: widest elements first, then by name; header padded with spaces to a multiple of
  // 8 bytes.
  std::string serialize() const;
  // Under a temporary name in the same folder, then renamed: a reader never sees half a file.
  // Throws Error(kData).
  void write(const std::filesystem::path& file) const;

 private:
  struct Tensor {
    std::string name, dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  std::vector<Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes text under a temporary name, then renames it over `file`: a reader never sees half of it.
// Throws Error(kData) with the system's reason.
void write_file_atomically(const std::filesystem::path& file, const std::string& text);

}  // namespace kv
