#include "tasks/sandbox_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "engine/error.h"

namespace kv {
namespace {

// Names in an open folder; the descriptor stays open.
std::vector<std::string> names_in(int folder) {
  std::vector<std::string> names;
  const int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* listing = copy < 0 ? nullptr : fdopendir(copy);
  if (listing == nullptr) return names;
  while (const dirent* entry = readdir(listing)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(listing);
  return names;
}

// Removes a file, link or empty folder. False where it is a folder with something in it.
bool remove_entry(int folder, const std::string& name) {
  if (unlinkat(folder, name.c_str(), 0) == 0) return true;
  return unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0;
}

// Opens a folder whatever its permissions; -1 where the name is none. Only our own process is left
// by now, so nothing changes under our hands.
int open_folder(int parent, const std::string& name) {
  struct stat info {};
  if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode))
    return -1;
  if ((info.st_mode & 0700) != 0700) fchmodat(parent, name.c_str(), 0700, 0);
  return openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// Removes what can be removed at once; the names of the folders that are not empty remain.
std::vector<std::string> remove_entries(int folder) {
  std::vector<std::string> left;
  for (std::string& name : names_in(folder)) {
    if (!remove_entry(folder, name)) left.push_back(std::move(name));
  }
  return left;
}

// Empties a folder. Paths may be longer than any system call takes, so this walks down and up with
// one descriptor and a list of names.
void empty_tree(int top) {
  struct Level {
    std::string name;
    std::vector<std::string> left;
  };
  std::vector<Level> levels{{"", remove_entries(top)}};
  int here = top;
  for (;;) {
    Level& level = levels.back();
    if (!level.left.empty()) {
      const std::string name = std::move(level.left.back());
      level.left.pop_back();
      const int below = open_folder(here, name);
      if (below < 0) continue;
      if (here != top) close(here);
      here = below;
      levels.push_back({name, remove_entries(here)});
      continue;
    }
    if (levels.size() == 1) return;
    const int above = levels.size() == 2 ? top : openat(here, "..", O_RDONLY | O_CLOEXEC);
    close(here);
    if (above < 0) return;
    here = above;
    unlinkat(here, level.name.c_str(), AT_REMOVEDIR);
    levels.pop_back();
  }
}

}  // namespace

SandboxFolder::SandboxFolder(int owner) {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "kvengine_sandbox_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw_usage("sandbox: the folder {} cannot be made: {}; set TMPDIR to one that can be written",
                pattern, std::strerror(errno));
  }
  path_ = pattern;
  if (owner < 0) return;
  const auto id = static_cast<unsigned>(owner);
  if (chown(path_.c_str(), id, id) != 0) {
    const int error = errno;
    rmdir(path_.c_str());
    throw_usage("sandbox: {} cannot be given to an unprivileged user: {}", path_,
                std::strerror(error));
  }
}

SandboxFolder::~SandboxFolder() {
  chmod(path_.c_str(), 0700);
  const int top = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (top >= 0) {
    empty_tree(top);
    close(top);
  }
  rmdir(path_.c_str());
}

}  // namespace kv
