#include "engine/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/safetensors.h"
#include "engine/stored_tensor.h"

namespace kv {

void SafetensorsWriter::add_raw(const std::string& name, const std::string& dtype,
                                const std::vector<int64_t>& shape,
                                std::span<const std::byte> bytes) {
  size_t expected = safetensors_dtype_bytes(dtype);
  KV_CHECK(expected != 0, "dtype {}", dtype);
  for (const int64_t extent : shape) expected *= static_cast<size_t>(extent);
  KV_CHECK(bytes.size() == expected, "tensor {} {} has {} bytes", name, shape_text(shape),
           bytes.size());
  for (const Tensor& other : tensors_) KV_CHECK(other.name != name, "tensor {} added twice", name);
  tensors_.push_back(
      {name, dtype, shape, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())});
}

void SafetensorsWriter::add(const std::string& name, const std::vector<int64_t>& shape,
                            std::span<const float> values) {
  add_raw(name, "F32", shape, std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, const std::vector<int64_t>& shape,
                            std::span<const int32_t> values) {
  add_raw(name, "I32", shape, std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, const std::vector<int64_t>& shape,
                            std::span<const int64_t> values) {
  add_raw(name, "I64", shape, std::as_bytes(values));
}
void SafetensorsWriter::add(const std::string& name, const std::vector<int64_t>& shape,
                            std::span<const uint8_t> values) {
  add_raw(name, "U8", shape, std::as_bytes(values));
}

std::string SafetensorsWriter::serialize() const {
  std::vector<const Tensor*> order;
  for (const Tensor& tensor : tensors_) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->name < b->name; });
  // Widest elements first, so that every tensor lies at a multiple of its element size.
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return safetensors_dtype_bytes(a->dtype) > safetensors_dtype_bytes(b->dtype);
  });
  nlohmann::json header = nlohmann::json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  size_t offset = 0;
  for (const Tensor* tensor : order) {
    header[tensor->name] = {{"dtype", tensor->dtype},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + tensor->bytes.size()}}};
    offset += tensor->bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  file += text;
  file.reserve(file.size() + offset);
  for (const Tensor* tensor : order) file += tensor->bytes;
  return file;
}

void SafetensorsWriter::write(const std::filesystem::path& file) const {
  write_file_atomically(file, serialize());
}

void write_file_atomically(const std::filesystem::path& file, const std::string& text) {
  // One name for all processes: what a killed one leaves behind, the next one overwrites.
  const std::string temporary = file.string() + ".tmp";
  const auto fail = [&](const char* what) {
    const int error = errno;
    ::unlink(temporary.c_str());
    throw_data("{}: cannot be {}: {}", file.string(), what, std::strerror(error));
  };
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) fail("written");
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      ::close(fd);
      fail("written");
    }
    done += static_cast<size_t>(n);
  }
  if (::close(fd) != 0) fail("written");
  if (::rename(temporary.c_str(), file.c_str()) != 0) fail("put in place");
}

}  // namespace kv
