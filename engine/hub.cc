#include "engine/hub.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>

#include "engine/error.h"
#include "engine/mapped_file.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

const char kNoHome[] = "(no HOME is set)";

std::optional<fs::path> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return fs::path(value);
}

fs::path user_folder(const char* variable, const char* below_home) {
  if (const auto set = environment(variable)) return *set;
  if (const auto home = environment("HOME")) return *home / below_home;
  return kNoHome;
}

// models/ of the source tree that the program was built in (its build folder lies in the tree), so
// that shipped models are found from every working directory.
std::optional<fs::path> shipped_models() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return std::nullopt;
  return program.parent_path().parent_path() / "models";
}

// Folders that hold models by name, the first wins.
std::vector<fs::path> model_roots() {
  std::vector<fs::path> roots;
  if (const auto set = environment("KVENGINE_MODELS")) roots.push_back(*set);
  roots.push_back("models");
  if (const auto shipped = shipped_models()) roots.push_back(*shipped);
  roots.push_back(user_folder("XDG_DATA_HOME", ".local/share") / "kvengine" / "models");
  return roots;
}

// Hugging Face caches, the first wins.
std::vector<fs::path> hub_caches() {
  std::vector<fs::path> caches;
  if (const auto set = environment("HF_HUB_CACHE")) caches.push_back(*set);
  if (const auto set = environment("HF_HOME")) caches.push_back(*set / "hub");
  caches.push_back(user_folder("XDG_CACHE_HOME", ".cache") / "huggingface" / "hub");
  return caches;
}

bool is_gguf_file(const fs::path& path) {
  std::error_code ignored;
  return path.extension() == ".gguf" && fs::is_regular_file(path, ignored);
}

bool is_model_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path / "config.json", ignored) ||
         fs::is_regular_file(path / "adapter_config.json", ignored);
}

// The model at this place: the folder, the .gguf file, or the only .gguf file in a folder without
// config.json.
std::optional<fs::path> model_at(const fs::path& path) {
  std::error_code ignored;
  if (is_gguf_file(path) || is_model_folder(path)) return path;
  if (!fs::is_directory(path, ignored)) return std::nullopt;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    if (is_gguf_file(entry.path())) found.push_back(entry.path());
  }
  if (found.size() != 1) return std::nullopt;
  return found[0];
}

// "org/name" or "org/name@revision": one slash with something on both sides; a branch may have more.
bool is_hub_id(const std::string& full_name) {
  const std::string name = full_name.substr(0, full_name.find('@'));
  const size_t slash = name.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < name.size() &&
         name.find('/', slash + 1) == std::string::npos && name[0] != '.' && name[0] != '~';
}

std::string trimmed(std::string text) {
  const auto space = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && space(text.back())) text.pop_back();
  return text;
}

// A commit, branch or tag that names one place below refs/ or snapshots/, never a way out of them.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find("..") == std::string::npos && name[0] != '/' && name[0] != '.';
}

// The snapshot of a revision of a cached repository: the commit that refs/<revision> names, or the
// revision itself as a commit. *looked: what was looked for.
std::optional<fs::path> snapshot_of(const fs::path& repository, const std::string& revision,
                                    std::string* looked) {
  std::error_code ignored;
  const fs::path reference = repository / "refs" / revision;
  if (!is_plain_name(revision)) {
    *looked = reference.string();
    return std::nullopt;
  }
  if (const auto found = model_at(repository / "snapshots" / revision)) return found;
  if (!fs::is_regular_file(reference, ignored)) {
    *looked = reference.string();
    return std::nullopt;
  }
  const std::string commit = trimmed(read_whole_file(reference));
  const fs::path snapshot = repository / "snapshots" / commit;
  *looked = snapshot.string();
  if (!is_plain_name(commit) || commit.find('/') != std::string::npos) return std::nullopt;
  return model_at(snapshot);
}

fs::path repository_folder(const fs::path& cache, const std::string& id) {
  const size_t slash = id.find('/');
  return cache / ("models--" + id.substr(0, slash) + "--" + id.substr(slash + 1));
}

bool is_explicit_path(const std::string& name) {
  return name[0] == '/' || name.starts_with("./") || name.starts_with("../") || name == "." ||
         name == "..";
}

[[noreturn]] void explain_missing(const std::string& name, const std::vector<std::string>& looked) {
  std::string list;
  for (const std::string& place : looked) list += "\n  " + place;
  const std::string advice =
      is_explicit_path(name)
          ? std::string("expected a folder with config.json and *.safetensors, or a .gguf file")
          : fmt::format("fetch it with `kvengine pull {}`, or put it into {}", name,
                        (model_folder() / name).string());
  throw_data("model '{}' not found; looked for{}\n{}", name, list, advice);
}

// org/name of a cache folder models--org--name; "" for other folders.
std::string id_of_repository(const fs::path& folder) {
  const std::string name = folder.filename().string(), prefix = "models--";
  if (!name.starts_with(prefix)) return "";
  const size_t split = name.find("--", prefix.size());
  if (split == std::string::npos) return "";
  return name.substr(prefix.size(), split - prefix.size()) + "/" + name.substr(split + 2);
}

}  // namespace

fs::path model_folder() {
  return environment("KVENGINE_MODELS").value_or(model_roots().back());
}

fs::path find_model(const std::string& name) {
  if (name.empty())
    throw_data("the model's name is empty; expected a folder, a .gguf file or a name");
  std::vector<std::string> looked = {name};
  std::error_code ignored;
  if (const auto found = model_at(name)) return *found;
  if (fs::is_regular_file(name, ignored)) {
    throw_data("{}: expected a model folder or a .gguf file, found another file", name);
  }
  if (is_explicit_path(name)) explain_missing(name, looked);
  for (const fs::path& root : model_roots()) {
    std::vector<fs::path> candidates = {root / name, root / (name + ".gguf")};
    if (is_hub_id(name)) candidates.push_back(root / name.substr(name.find('/') + 1));
    for (const fs::path& candidate : candidates) {
      if (const auto found = model_at(candidate)) return *found;
      looked.push_back(candidate.string());
    }
  }
  if (is_hub_id(name)) {
    const size_t at = name.find('@');
    const std::string id = name.substr(0, at);
    const std::string revision = at == std::string::npos ? "main" : name.substr(at + 1);
    for (const fs::path& cache : hub_caches()) {
      std::string place;
      if (const auto found = snapshot_of(repository_folder(cache, id), revision, &place))
        return *found;
      looked.push_back(place);
    }
  }
  explain_missing(name, looked);
}

fs::path find_model_beside(const std::string& name, const fs::path& folder) {
  std::error_code ignored;
  const fs::path beside = folder / name;
  // A folder of that name which holds no model (results/, say) is no answer.
  const bool is_model = fs::is_regular_file(beside, ignored) || is_model_folder(beside);
  return is_model && !name.empty() ? beside : find_model(name);
}

std::vector<std::string> known_models() {
  std::set<std::string> names;
  std::error_code ignored;
  for (const fs::path& root : model_roots()) {
    for (const auto& entry : fs::directory_iterator(root, ignored)) {
      if (!model_at(entry.path())) continue;
      const fs::path name = entry.path().filename();
      names.insert(is_gguf_file(entry.path()) ? name.stem().string() : name.string());
    }
  }
  for (const fs::path& cache : hub_caches()) {
    for (const auto& entry : fs::directory_iterator(cache, ignored)) {
      const std::string id = id_of_repository(entry.path());
      std::string place;
      if (!id.empty() && snapshot_of(entry.path(), "main", &place)) names.insert(id);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace kv
