// A file's bytes, mapped read-only into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace kv {

class MappedFile {
 public:
  // Throws Error(kData) where the file is missing, a folder, empty or unreadable.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }  // bytes
  const std::filesystem::path& path() const { return path_; }

  // Tells the kernel that the whole file is about to be read in order.
  void read_ahead() const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Whole text of a small file (JSON, templates). Same errors as MappedFile, but an empty file is an
// empty string.
std::string read_whole_file(const std::filesystem::path& path);

}  // namespace kv
