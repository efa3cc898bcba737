// Text tools without a model, and values as a config would give them.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tasks/task.h"
#include "tests/error_of.h"

namespace kv {

// One token for each byte; special tokens: 256 in front. EOS is 257.
inline TextTools byte_tools() {
  TextTools tools;
  tools.encode = [](const std::string& text, bool add_special_tokens) {
    std::vector<int32_t> ids;
    if (add_special_tokens) ids.push_back(256);
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  };
  tools.decode = [](const std::vector<int32_t>& ids) {
    std::string text;
    for (int32_t id : ids) {
      if (id < 256) text += static_cast<char>(id);
    }
    return text;
  };
  tools.eos_id = 257;
  return tools;
}

// One token for each run of letters, digits or other bytes: about as long as a real tokenizer's.
inline TextTools word_tools() {
  TextTools tools = byte_tools();
  tools.encode = [](const std::string& text, bool) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i == 0 || text[i] == ' ' || text[i] == '\n' || (text[i] >= '0' && text[i] <= '9'))
        ids.push_back(1);
    }
    return ids;
  };
  return tools;
}

// Value::of("x") would take the pointer for a bool.
inline Value text_value(const std::string& text) {
  return Value::of(text);
}

inline Value number_list(std::vector<double> numbers) {
  Value list;
  list.kind = Value::Kind::kList;
  for (double number : numbers) list.items.push_back(Value::of(number));
  return list;
}

// {name: NAME, entries...}, with a place as a config reader sets it.
inline Value task_value(const std::string& name,
                        std::vector<std::pair<std::string, Value>> entries = {}) {
  Value map;
  map.kind = Value::Kind::kMap;
  map.place = "test.yaml:7: tasks[0]";
  map.entries.emplace_back("name", text_value(name));
  for (auto& entry : entries) map.entries.push_back(std::move(entry));
  for (auto& [key, value] : map.entries) value.place = "test.yaml:8: tasks[0]." + key;
  return map;
}

// A folder of the test's own that goes away with it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kv_tasks_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return name;
  }
  std::string folder() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace kv
