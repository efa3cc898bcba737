// GGUF files for tests, made in memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/engine/file_testing.h"

namespace kv {

class GgufBuilder {
 public:
  uint32_t version = 3;
  size_t alignment =
      32;  // what offsets are rounded to; write the key general.alignment for others than 32

  static std::string text(const std::string& s) { return bytes_of<uint64_t>(s.size()) + s; }

  // type: the format's number of the value type; bytes: the value as it lies in the file.
  void raw(const std::string& key, uint32_t type, const std::string& bytes) {
    keys_ += text(key) + bytes_of(type) + bytes;
    ++n_keys_;
  }
  void u32(const std::string& key, uint32_t value) { raw(key, 4, bytes_of(value)); }
  void f32(const std::string& key, float value) { raw(key, 6, bytes_of(value)); }
  void boolean(const std::string& key, bool value) {
    raw(key, 7, std::string(1, value ? '\1' : '\0'));
  }
  void string(const std::string& key, const std::string& value) { raw(key, 8, text(value)); }
  void strings(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = bytes_of<uint32_t>(8) + bytes_of<uint64_t>(values.size());
    for (const std::string& value : values) bytes += text(value);
    raw(key, 9, bytes);
  }
  void i32s(const std::string& key, const std::vector<int32_t>& values) {
    std::string bytes = bytes_of<uint32_t>(5) + bytes_of<uint64_t>(values.size());
    for (const int32_t value : values) bytes += bytes_of(value);
    raw(key, 9, bytes);
  }

  // shape: outermost first, as everywhere here (the file has it the other way).
  void tensor(const std::string& name, uint32_t type, const std::vector<int64_t>& shape,
              const std::string& bytes) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    tensor_at(name, type, shape, data_.size());
    data_ += bytes;
  }
  void floats(const std::string& name, const std::vector<int64_t>& shape,
              const std::vector<float>& values) {
    tensor(
        name, 0, shape,
        std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
  }
  // An entry of the list alone, with any offset.
  void tensor_at(const std::string& name, uint32_t type, const std::vector<int64_t>& shape,
                 uint64_t offset) {
    infos_ += text(name) + bytes_of<uint32_t>(static_cast<uint32_t>(shape.size()));
    for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent)
      infos_ += bytes_of<uint64_t>(*extent);
    infos_ += bytes_of(type) + bytes_of(offset);
    ++n_tensors_;
  }

  std::string build() const {
    std::string file =
        "GGUF" + bytes_of(version) + bytes_of(n_tensors_) + bytes_of(n_keys_) + keys_ + infos_;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }

 private:
  uint64_t n_tensors_ = 0, n_keys_ = 0;
  std::string keys_, infos_, data_;
};

}  // namespace kv
