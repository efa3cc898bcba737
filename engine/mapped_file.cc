#include "engine/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace kv {
namespace {

// An open file descriptor of a regular file, closed on every way out.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) {
    // Not waiting: a pipe without a writer is refused below instead of blocking here.
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) {
      if (errno == ENOENT) throw_data("{}: no such file", path.string());
      throw_data("{}: cannot be opened: {}", path.string(), std::strerror(errno));
    }
    struct stat status;
    if (::fstat(fd_, &status) != 0) {
      const int error = errno;
      ::close(fd_);
      throw_data("{}: cannot be examined: {}", path.string(), std::strerror(error));
    }
    if (!S_ISREG(status.st_mode)) {
      ::close(fd_);
      throw_data("{}: expected a file, found {}", path.string(),
                 S_ISDIR(status.st_mode) ? "a folder" : "something that is no regular file");
    }
    size_ = static_cast<size_t>(status.st_size);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { ::close(fd_); }

  int fd() const { return fd_; }
  size_t size() const { return size_; }

 private:
  int fd_ = -1;
  size_t size_ = 0;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const OpenFile file(path);
  if (file.size() == 0) throw_data("{}: the file is empty", path.string());
  void* mapping = ::mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (mapping == MAP_FAILED) {
    throw_data("{}: cannot be mapped into memory: {}", path.string(), std::strerror(errno));
  }
  data_ = static_cast<const std::byte*>(mapping);
  size_ = file.size();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(other.data_), size_(other.size_) {
  other.data_ = nullptr;
  other.size_ = 0;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::read_ahead() const {
  // Only advice: a kernel that ignores it gives the same bytes later.
  ::madvise(const_cast<std::byte*>(data_), size_, MADV_WILLNEED);
}

std::string read_whole_file(const std::filesystem::path& path) {
  const OpenFile file(path);
  std::string text(file.size(), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::read(file.fd(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_data("{}: cannot be read: {}", path.string(), std::strerror(errno));
    if (n == 0) break;  // the file shrank meanwhile
    done += static_cast<size_t>(n);
  }
  text.resize(done);
  return text;
}

}  // namespace kv
