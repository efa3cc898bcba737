// Template text -> tokens, with the white-space rules that transformers sets (trim_blocks and
// lstrip_blocks).
#pragma once

#include <string>
#include <vector>

namespace kv::jinja {

enum class TokenType {
  kText,        // outside of tags
  kPrintBegin,  // {{
  kPrintEnd,    // }}
  kBlockBegin,  // {%
  kBlockEnd,    // %}
  kName,
  kString,  // text: unescaped
  kInteger,
  kFloat,
  kOperator,  // text: the operator
  kEnd,       // of the template
};

struct Token {
  TokenType type = TokenType::kEnd;
  std::string text;
  int line = 1;
};

// Throws Error(kData) with the template's name and the line.
std::vector<Token> tokenize(const std::string& source, const std::string& name);

}  // namespace kv::jinja
