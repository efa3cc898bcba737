#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "engine/chat_template.h"
#include "engine/error.h"
#include "engine/mapped_file.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "runner/resolve_model.h"
#include "runner/value_io.h"
#include "runner/verbs.h"

namespace kv {
namespace {

std::string read_input(const TokenizeFlags& flags) {
  if (!flags.file.empty() && flags.file != "-") return read_whole_file(flags.file);
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

// The parts that are converted alone: the whole input, or its lines without their line feeds.
std::vector<std::string> parts(const std::string& text, bool lines) {
  if (!lines) return {text};
  std::vector<std::string> result;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    result.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return result;
}

std::vector<int32_t> parse_ids(const std::string& text, const std::string& place, int vocab_size) {
  const Value value = parse_json(text, place);
  if (!value.is_list()) {
    throw_usage("{}: expected a JSON list of token ids, found {}", place, value.describe());
  }
  std::vector<int32_t> ids;
  for (const Value& item : value.items) {
    if (!item.is_integer() || item.number < 0 || item.number >= vocab_size) {
      throw_usage("{}: expected a token id from 0 to {}, found {}", item.place, vocab_size - 1,
                  item.describe());
    }
    ids.push_back(static_cast<int32_t>(item.number));
  }
  return ids;
}

// {"messages": [...], "add_generation_prompt": true, …} through the model's chat template:
// {"text": …, "ids": […]}.
std::string chat_line(const std::string& text, const std::string& place, const ModelText& model) {
  using Json = nlohmann::ordered_json;
  Json names = Json::parse(text, nullptr, false);
  if (!names.is_object() || !names.contains("messages") || !names["messages"].is_array()) {
    throw_usage("{}: expected a JSON object with a list of messages, found {}", place,
                names.is_discarded() ? "no JSON" : text.substr(0, 40));
  }
  const Json prompt = names.value("add_generation_prompt", Json(false));
  if (!prompt.is_boolean()) {
    throw_usage("{}: add_generation_prompt: expected true or false, found {}", place,
                prompt.dump());
  }
  names.erase("add_generation_prompt");
  const std::string chat = model.chat_template->render({}, prompt.get<bool>(), names);
  return Json{{"text", chat}, {"ids", model.tokenizer->encode(chat, false)}}.dump() + "\n";
}

ModelText load_text(const std::filesystem::path& location, bool chat) {
  if (!chat) return {load_tokenizer(location), nullptr};
  ModelText model = read_model_text(location);
  if (!model.tokenizer) throw_no_tokenizer(location);
  if (!model.chat_template)
    throw_data("{}: has no chat template; leave out --chat", location.string());
  return model;
}

}  // namespace

int verb_tokenize(const TokenizeFlags& flags) {
  const ModelText model = load_text(resolve_model(flags.model, "."), flags.chat);
  const auto& tokenizer = model.tokenizer;
  const std::string file = flags.file.empty() || flags.file == "-" ? "stdin" : flags.file;
  int line = 0;
  std::string out;
  for (const std::string& part : parts(read_input(flags), flags.lines)) {
    const std::string place = flags.lines ? fmt::format("{}:{}", file, ++line) : file;
    if (flags.chat) {
      out += chat_line(part, place, model);
      continue;
    }
    if (flags.decode) {
      // Decoding is the exact inverse: special tokens that stand in the ids come out as they are
      // written.
      out += tokenizer->decode(parse_ids(part, place, tokenizer->vocab_size()), flags.no_special);
      if (flags.lines) out += '\n';
      continue;
    }
    std::vector<int32_t> ids;
    try {
      ids = tokenizer->encode(part, !flags.no_special);
    } catch (const Error& e) {
      throw Error(e.kind(), place + ": " + e.what());
    }
    out += nlohmann::json(ids).dump() + "\n";
  }
  std::fwrite(out.data(), 1, out.size(), stdout);
  return 0;
}

}  // namespace kv
