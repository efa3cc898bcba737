#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/mapped_file.h"
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

}  // namespace

int verb_tokenize(const TokenizeFlags& flags) {
  const auto tokenizer = load_tokenizer(resolve_model(flags.model, "."));
  const std::string file = flags.file.empty() || flags.file == "-" ? "stdin" : flags.file;
  int line = 0;
  std::string out;
  for (const std::string& part : parts(read_input(flags), flags.lines)) {
    const std::string place = flags.lines ? fmt::format("{}:{}", file, ++line) : file;
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
