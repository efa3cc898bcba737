#include "engine/chat_template.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "engine/error.h"
#include "engine/jinja/evaluator.h"
#include "engine/jinja/parser.h"
#include "engine/tokenizer/json_file.h"
#include "engine/tokenizer/special_names.h"

namespace kv {
namespace {

class JinjaTemplate final : public ChatTemplate {
 public:
  JinjaTemplate(std::string source, std::string name, std::map<std::string, std::string> globals)
      : source_(std::move(source)),
        name_(std::move(name)),
        globals_(std::move(globals)),
        body_(jinja::parse_template(source_, name_)) {}

  using ChatTemplate::render;
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                     const nlohmann::ordered_json& variables) const override {
    return jinja::render_template(body_, name_,
                                  names_of(messages, add_generation_prompt, variables));
  }

  const std::string& source() const override { return source_; }
  const std::string& name() const override { return name_; }

 private:
  // What the template can see.
  std::map<std::string, jinja::Value> names_of(const std::vector<ChatMessage>& messages,
                                               bool add_generation_prompt,
                                               const nlohmann::ordered_json& variables) const {
    std::map<std::string, jinja::Value> names;
    for (const auto& [name, text] : globals_) names[name] = jinja::Value(text);
    names["tools"] = jinja::Value::none();
    names["documents"] = jinja::Value::none();
    jinja::List list;
    for (const ChatMessage& message : messages) {
      jinja::Dict entries;
      entries.set("role", message.role);
      entries.set("content", message.content);
      list.push_back(jinja::Value::dict(std::move(entries)));
    }
    names["messages"] = jinja::Value::list(std::move(list));
    names["add_generation_prompt"] = jinja::Value(add_generation_prompt);
    if (!variables.is_null()) {
      KV_CHECK(variables.is_object(), "variables: {}", variables.dump());
      for (const auto& [name, value] : variables.items())
        names[name] = jinja::Value::from_json(value);
    }
    return names;
  }

  std::string source_;
  std::string name_;
  std::map<std::string, std::string> globals_;
  jinja::Body body_;
};

// tokenizer_config.json has one template or a list of {"name": …, "template": …}; "" where it has
// none.
std::string template_of_config(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return "";
  const nlohmann::json json = read_json_file(file);
  const JsonPlace root(json, file.string(), "");
  if (!root.has("chat_template")) return "";
  const JsonPlace entry = root.at("chat_template");
  if (!entry.value().is_array()) return entry.text();
  for (size_t i = 0; i < entry.size(); ++i) {
    if (entry.at(i).string_at("name") == "default") return entry.at(i).string_at("template");
  }
  throw_data("{}: none of the {} templates is named 'default'", entry.where(), entry.size());
}

std::string read_text_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw_data("{}: cannot open the file", file.string());
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

size_t count_code_points(const std::string& text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

}  // namespace

std::shared_ptr<const ChatTemplate> ChatTemplate::parse(
    const std::string& source, const std::string& name,
    const std::map<std::string, std::string>& globals) {
  return std::make_shared<JinjaTemplate>(source, name, globals);
}

std::shared_ptr<const ChatTemplate> ChatTemplate::from_folder(const std::filesystem::path& folder) {
  std::filesystem::path file = folder / "chat_template.jinja";
  std::string source;
  if (std::filesystem::exists(file)) {
    source = read_text_file(file);
  } else {
    file = folder / "tokenizer_config.json";
    source = template_of_config(file);
  }
  if (source.empty()) return nullptr;
  const bool in_config = file.filename() == "tokenizer_config.json";
  return parse(source, file.string() + (in_config ? ": chat_template" : ""),
               read_special_names(folder));
}

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 bool add_generation_prompt) const {
  return render(messages, add_generation_prompt, nlohmann::ordered_json());
}

ChatTemplate::Split ChatTemplate::split_user_message(const std::string& context) const {
  const std::string mark(count_code_points(context) + 10, '#');
  const std::string text = render({{"user", context + mark}}, true, {{"enable_thinking", false}});
  const size_t found = text.find(mark);
  if (found == std::string::npos || text.find(mark, found + mark.size()) != std::string::npos) {
    throw_data("{}: the template {}, so the text before and after it cannot be told apart", name(),
               found == std::string::npos ? "leaves the user message out or changes it"
                                          : "writes the user message more than once");
  }
  return {text.substr(0, found), text.substr(found + mark.size())};
}

}  // namespace kv
