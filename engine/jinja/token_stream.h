// The tokens of a template with a reading position, shared by the parsers of expressions and of
// statements.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/jinja/ast.h"
#include "engine/jinja/lexer.h"

namespace kv::jinja {

class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, std::string name);

  const Token& peek(size_t offset = 0) const;
  Token next();
  bool at(TokenType type) const { return peek().type == type; }
  bool at_operator(std::string_view text) const;
  bool at_name(std::string_view text) const;
  bool accept_operator(std::string_view text);  // moves on where it stands here
  bool accept_name(std::string_view text);
  void expect_operator(std::string_view text, const char* construct);
  void expect(TokenType type, const char* construct);
  std::string expect_identifier(const char* construct);
  size_t position() const { return at_; }
  bool has_name_since(size_t position, std::string_view text) const;  // before the current token
  int line() const { return peek().line; }
  [[noreturn]] void error(const std::string& what) const;  // at the current token
  std::string describe() const;                            // the current token, for messages

  // Guards against templates that are nested so deeply that the parser would run out of stack.
  class Depth {
   public:
    explicit Depth(TokenStream& stream);
    ~Depth() { --stream_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    TokenStream& stream_;
  };

 private:
  std::vector<Token> tokens_;
  std::string name_;
  size_t at_ = 0;
  int depth_ = 0;
};

// with_condition false: `a if b` ends before `if` (the list of a for loop).
ExpressionPtr parse_expression(TokenStream& stream, bool with_condition = true);
// The same, but "a, b" is a tuple.
ExpressionPtr parse_tuple(TokenStream& stream, bool with_condition = true);
// "| filter | filter" behind `input`.
ExpressionPtr parse_filters(TokenStream& stream, ExpressionPtr input);
// "name(arguments)", the first filter of a {% filter %} block, and those that follow.
ExpressionPtr parse_filter_block(TokenStream& stream, ExpressionPtr input);

}  // namespace kv::jinja
