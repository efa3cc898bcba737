#include "engine/jinja/token_stream.h"

#include <utility>

#include "engine/error.h"

namespace kv::jinja {

TokenStream::TokenStream(std::vector<Token> tokens, std::string name)
    : tokens_(std::move(tokens)), name_(std::move(name)) {}

const Token& TokenStream::peek(size_t offset) const {
  return tokens_[at_ + offset < tokens_.size() ? at_ + offset : tokens_.size() - 1];
}

Token TokenStream::next() {
  Token token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::at_operator(std::string_view text) const {
  return peek().type == TokenType::kOperator && peek().text == text;
}

bool TokenStream::at_name(std::string_view text) const {
  return peek().type == TokenType::kName && peek().text == text;
}

bool TokenStream::accept_operator(std::string_view text) {
  if (!at_operator(text)) return false;
  next();
  return true;
}

bool TokenStream::accept_name(std::string_view text) {
  if (!at_name(text)) return false;
  next();
  return true;
}

bool TokenStream::has_name_since(size_t position, std::string_view text) const {
  for (size_t i = position; i < at_; ++i) {
    if (tokens_[i].type == TokenType::kName && tokens_[i].text == text) return true;
  }
  return false;
}

void TokenStream::expect_operator(std::string_view text, const char* construct) {
  if (!accept_operator(text))
    error(fmt::format("{}: expected '{}', found {}", construct, text, describe()));
}

void TokenStream::expect(TokenType type, const char* construct) {
  if (!at(type)) error(fmt::format("{}: unexpected {}", construct, describe()));
  next();
}

std::string TokenStream::expect_identifier(const char* construct) {
  if (!at(TokenType::kName))
    error(fmt::format("{}: expected a name, found {}", construct, describe()));
  return next().text;
}

void TokenStream::error(const std::string& what) const {
  throw_data("{}:{}: {}", name_, line(), what);
}

std::string TokenStream::describe() const {
  switch (peek().type) {
    case TokenType::kText:
      return "text";
    case TokenType::kPrintBegin:
      return "'{{'";
    case TokenType::kPrintEnd:
      return "'}}'";
    case TokenType::kBlockBegin:
      return "'{%'";
    case TokenType::kBlockEnd:
      return "'%}'";
    case TokenType::kEnd:
      return "the end of the template";
    case TokenType::kString:
      return fmt::format("the string '{}'", peek().text);
    default:
      return fmt::format("'{}'", peek().text);
  }
}

TokenStream::Depth::Depth(TokenStream& stream) : stream_(stream) {
  constexpr int kDeepest = 200;
  if (++stream_.depth_ > kDeepest)
    stream_.error(fmt::format("nested deeper than {} levels", kDeepest));
}

}  // namespace kv::jinja
