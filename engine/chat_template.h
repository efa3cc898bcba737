// The part of Jinja that chat templates use.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace kv {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  virtual ~ChatTemplate() = default;

  // source: the template text. Throws Error(kData) with line and construct where it cannot be
  // parsed. name: what error messages call it. globals: bos_token, eos_token, … as strings.
  static std::shared_ptr<const ChatTemplate> parse(
      const std::string& source, const std::string& name,
      const std::map<std::string, std::string>& globals);
  // chat_template.jinja, or chat_template of tokenizer_config.json (of several named ones
  // "default"); null where the folder has none. The names of special tokens come from
  // tokenizer_config.json, then special_tokens_map.json.
  static std::shared_ptr<const ChatTemplate> from_folder(const std::filesystem::path& folder);

  // As transformers' apply_chat_template(tokenize=False). variables: a JSON object of further names
  // (enable_thinking, tools, …) whose order of keys is kept; may be null. Throws Error(kData) for
  // raise_exception() and type errors in the template.
  virtual std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                             const nlohmann::ordered_json& variables) const = 0;
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

  virtual const std::string& source() const = 0;
  virtual const std::string& name() const = 0;

  // kvpress's split of a chat around a context that is prefilled alone: `context` as the user
  // message, rendered with the generation prompt and enable_thinking false; head = text up to the
  // end of the context, tail = the rest. As kvpress 0.5.5 does it: a mark of '#' (ten more than the
  // context has characters) behind the context is searched for from the left, so that a context
  // that itself ends in '#' passes these on to the tail, and a template that strips messages only
  // strips the head. Throws Error(kData) where the mark does not come out exactly once.
  struct Split {
    std::string head;  // template's text before the message, and the context
    std::string tail;  // template's text after the message
  };
  Split split_user_message(const std::string& context) const;
};

}  // namespace kv
