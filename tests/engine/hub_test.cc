#include "engine/hub.h"

#include <algorithm>
#include <map>
#include <optional>

#include "tests/engine/file_testing.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

// Environment variables for one test; the old values come back.
class Environment {
 public:
  void set(const std::string& name, const std::string& value) {
    remember(name);
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  void clear(const std::string& name) {
    remember(name);
    ::unsetenv(name.c_str());
  }
  ~Environment() {
    for (const auto& [name, value] : old_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }

 private:
  void remember(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    old_.emplace(name, value == nullptr ? std::nullopt : std::optional<std::string>(value));
  }
  std::map<std::string, std::optional<std::string>> old_;
};

class Hub : public testing::Test {
 protected:
  Hub() {
    for (const char* name :
         {"KVENGINE_MODELS", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"}) {
      environment_.clear(name);
    }
    environment_.set("HOME", folder_.path() / "home");
    environment_.set("KVENGINE_MODELS", folder_.path() / "models");
  }
  fs::path model(const std::string& place) {
    folder_.write(place + "/config.json", "{}");
    return folder_.path() / place;
  }
  // A repository of a Hugging Face cache with one snapshot.
  fs::path cached(const std::string& cache, const std::string& repository,
                  const std::string& commit = "abc123") {
    folder_.write(cache + "/" + repository + "/refs/main", commit + "\n");
    return model(cache + "/" + repository + "/snapshots/" + commit);
  }
  TempFolder folder_;
  Environment environment_;
};

TEST_F(Hub, TakesPathsAsTheyAre) {
  const fs::path folder = model("somewhere/m");
  EXPECT_EQ(find_model(folder), folder);
  const fs::path file = folder_.write("x.gguf", "GGUF");
  EXPECT_EQ(find_model(file), file);
  // A folder with one .gguf file and nothing else is that file.
  const fs::path alone = folder_.write("packed/y.gguf", "GGUF");
  EXPECT_EQ(find_model(alone.parent_path()), alone);
  folder_.write("packed/z.gguf", "GGUF");
  expect_error([&] { find_model(alone.parent_path()); }, {"packed"});
  const fs::path adapter = folder_.write("lora/adapter_config.json", "{}").parent_path();
  EXPECT_EQ(find_model(adapter), adapter);
}

TEST_F(Hub, FindsNamesInTheModelFolder) {
  EXPECT_EQ(model_folder(), folder_.path() / "models");
  const fs::path canary = model("models/canary");
  EXPECT_EQ(find_model("canary"), canary);
}

TEST_F(Hub, FindsGgufFilesByTheirStem) {
  const fs::path file = folder_.write("models/small.gguf", "GGUF");
  EXPECT_EQ(find_model("small"), file);
  EXPECT_EQ(find_model("small.gguf"), file);
}

TEST_F(Hub, TheUsersDataFolderIsTheDefault) {
  environment_.clear("KVENGINE_MODELS");
  EXPECT_EQ(model_folder(), folder_.path() / "home/.local/share/kvengine/models");
  const fs::path mine = model("home/.local/share/kvengine/models/mine");
  EXPECT_EQ(find_model("mine"), mine);
  environment_.set("XDG_DATA_HOME", folder_.path() / "data");
  EXPECT_EQ(model_folder(), folder_.path() / "data/kvengine/models");
}

TEST_F(Hub, FollowsTheReferenceInTheCache) {
  environment_.set("HF_HOME", folder_.path() / "hf");
  const fs::path in_home = cached("hf/hub", "models--org--name");
  model("hf/hub/models--org--name/snapshots/older");
  EXPECT_EQ(find_model("org/name"), in_home);
  environment_.set("HF_HUB_CACHE", folder_.path() / "cache");
  EXPECT_EQ(find_model("org/name"), in_home);  // not in the first cache, so the next one
  const fs::path in_cache = cached("cache", "models--org--name", "def");
  EXPECT_EQ(find_model("org/name"), in_cache);
  const fs::path in_default = cached("home/.cache/huggingface/hub", "models--other--name");
  EXPECT_EQ(find_model("other/name"), in_default);
}

TEST_F(Hub, ARevisionIsABranchATagOrACommit) {
  environment_.set("HF_HUB_CACHE", folder_.path() / "cache");
  const fs::path main = cached("cache", "models--org--name");
  const fs::path older = model("cache/models--org--name/snapshots/0ld3r");
  folder_.write("cache/models--org--name/refs/pr/1", "0ld3r\n");
  EXPECT_EQ(find_model("org/name@main"), main);
  EXPECT_EQ(find_model("org/name@0ld3r"), older);
  EXPECT_EQ(find_model("org/name@pr/1"), older);
  expect_error([] { find_model("org/name@gone"); }, {"refs/gone"});
  expect_error([] { find_model("org/name@../../models--org--name/refs/main"); }, {"org/name"});
}

TEST_F(Hub, TheModelFolderComesBeforeTheCache) {
  environment_.set("HF_HUB_CACHE", folder_.path() / "cache");
  cached("cache", "models--org--name");
  const fs::path mine = model("models/org/name");
  EXPECT_EQ(find_model("org/name"), mine);
}

TEST_F(Hub, RefusesBrokenCaches) {
  environment_.set("HF_HUB_CACHE", folder_.path() / "cache");
  folder_.write("cache/models--org--a/refs/main", "gone");
  expect_error([] { find_model("org/a"); }, {"org/a", "snapshots/gone", "kvengine pull org/a"});
  folder_.write("cache/models--org--b/refs/main", "../../../models--org--c/snapshots/x");
  model("cache/models--org--c/snapshots/x");
  expect_error([] { find_model("org/b"); }, {"org/b"});
  expect_error([] { find_model("org/c"); }, {"refs/main"});
}

TEST_F(Hub, AMissingModelListsEveryPlaceAndTheCommand) {
  environment_.set("HF_HUB_CACHE", folder_.path() / "cache");
  expect_error(
      [&] { find_model("org/nothing"); },
      {"org/nothing", (folder_.path() / "models/org/nothing").string(), "models/nothing",
       (folder_.path() / "cache/models--org--nothing/refs/main").string(),
       (folder_.path() / "home/.cache/huggingface/hub").string(), "kvengine pull org/nothing"});
  expect_error([&] { find_model((folder_.path() / "no").string()); }, {"/no", "config.json"});
  expect_error([] { find_model(""); }, {"empty"});
  const fs::path text = folder_.write("notes.txt", "x");
  expect_error([&] { find_model(text); }, {"notes.txt", "another file"});
}

TEST_F(Hub, ListsWhatItWouldFind) {
  environment_.set("HF_HUB_CACHE", folder_.path() / "cache");
  model("models/b");
  folder_.write("models/a.gguf", "GGUF");
  folder_.write("models/not-a-model/readme.txt", "");
  cached("cache", "models--org--c");
  folder_.write("cache/models--org--half/refs/main", "gone");
  const std::vector<std::string> names = known_models();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const char* name : {"a", "b", "org/c"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  for (const std::string& name : names) EXPECT_NO_THROW(find_model(name)) << name;
  EXPECT_EQ(std::find(names.begin(), names.end(), "org/half"), names.end());
}

}  // namespace
}  // namespace kv
