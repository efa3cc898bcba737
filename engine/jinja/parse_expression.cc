// Expressions, from the loosest binding to the tightest, in Jinja's own order: a filter or test
// binds tighter than any operator, and -x|f is (-x)|f.
#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "engine/jinja/token_stream.h"

namespace kv::jinja {
namespace {

using Kind = Expression::Kind;

ExpressionPtr make(Kind kind, int line, std::string text = "") {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  expression->text = std::move(text);
  return expression;
}

// child: may be null.
void adopt(TokenStream& stream, Expression& parent, ExpressionPtr child) {
  constexpr int kHighest = 500;  // a.b.c…, a ~ b ~ c…: chains nest to the left
  if (child) parent.height = std::max(parent.height, child->height + 1);
  if (parent.height > kHighest)
    stream.error(fmt::format("an expression nested deeper than {} levels", kHighest));
  parent.children.push_back(std::move(child));
}

ExpressionPtr make(TokenStream& stream, Kind kind, int line, std::string text, ExpressionPtr a,
                   ExpressionPtr b = nullptr) {
  ExpressionPtr expression = make(kind, line, std::move(text));
  adopt(stream, *expression, std::move(a));
  if (b) adopt(stream, *expression, std::move(b));
  return expression;
}

ExpressionPtr constant(int line, Value value) {
  ExpressionPtr expression = make(Kind::kConstant, line);
  expression->constant = std::move(value);
  return expression;
}

ExpressionPtr parse_or(TokenStream& stream);
ExpressionPtr parse_unary(TokenStream& stream, bool with_filters);
ExpressionPtr parse_primary(TokenStream& stream);
ExpressionPtr parse_postfix(TokenStream& stream, ExpressionPtr node);

// Left-associative operators of one level.
template <size_t n, typename Next>
ExpressionPtr parse_binary(TokenStream& stream, const std::array<std::string_view, n>& operators,
                           Next next) {
  ExpressionPtr left = next(stream);
  while (true) {
    bool found = false;
    for (const std::string_view text : operators) {
      if (!stream.at_operator(text)) continue;
      const int line = stream.next().line;
      ExpressionPtr right = next(stream);
      left =
          make(stream, Kind::kBinary, line, std::string(text), std::move(left), std::move(right));
      found = true;
      break;
    }
    if (!found) return left;
  }
}

ExpressionPtr parse_power(TokenStream& stream) {
  return parse_binary<1>(stream, {"**"}, [](TokenStream& s) { return parse_unary(s, true); });
}
ExpressionPtr parse_product(TokenStream& stream) {
  return parse_binary<4>(stream, {"*", "/", "//", "%"}, parse_power);
}
ExpressionPtr parse_concat(TokenStream& stream) {
  return parse_binary<1>(stream, {"~"}, parse_product);
}
ExpressionPtr parse_sum(TokenStream& stream) {
  return parse_binary<2>(stream, {"+", "-"}, parse_concat);
}

// "==", "in", "not in" … at the current place, taken; "" where there is none.
std::string accept_comparison(TokenStream& stream) {
  for (const char* text : {"==", "!=", ">=", "<=", ">", "<"}) {
    if (stream.accept_operator(text)) return text;
  }
  if (stream.accept_name("in")) return "in";
  if (stream.at_name("not") && stream.peek(1).type == TokenType::kName &&
      stream.peek(1).text == "in") {
    stream.next();
    stream.next();
    return "not in";
  }
  return "";
}

ExpressionPtr parse_comparison(TokenStream& stream) {
  ExpressionPtr first = parse_sum(stream);
  ExpressionPtr chain;
  for (std::string op = accept_comparison(stream); !op.empty(); op = accept_comparison(stream)) {
    if (!chain) {
      const int line = first->line;
      chain = make(stream, Kind::kCompare, line, "", std::move(first));
    }
    chain->names.push_back(op);
    adopt(stream, *chain, parse_sum(stream));
  }
  return chain ? std::move(chain) : std::move(first);
}

ExpressionPtr parse_not(TokenStream& stream) {
  if (!stream.at_name("not")) return parse_comparison(stream);
  const TokenStream::Depth depth(stream);
  const int line = stream.next().line;
  return make(stream, Kind::kNot, line, "", parse_not(stream));
}

ExpressionPtr parse_and(TokenStream& stream) {
  ExpressionPtr left = parse_not(stream);
  while (stream.at_name("and")) {
    const int line = stream.next().line;
    ExpressionPtr right = parse_not(stream);
    left = make(stream, Kind::kAnd, line, "", std::move(left), std::move(right));
  }
  return left;
}

ExpressionPtr parse_or(TokenStream& stream) {
  ExpressionPtr left = parse_and(stream);
  while (stream.at_name("or")) {
    const int line = stream.next().line;
    ExpressionPtr right = parse_and(stream);
    left = make(stream, Kind::kOr, line, "", std::move(left), std::move(right));
  }
  return left;
}

// "(a, b, name=c, *more, **named)" behind a call, filter or test.
void parse_arguments(TokenStream& stream, Expression& call) {
  stream.expect_operator("(", "call");
  while (!stream.at_operator(")")) {
    std::string name;
    if (!call.names.empty() && call.names.back() == "**")
      stream.error("an argument behind **: expected ')'");
    if (stream.at(TokenType::kName) && stream.peek(1).type == TokenType::kOperator &&
        stream.peek(1).text == "=") {
      name = stream.next().text;
      stream.next();
    } else if (stream.at_operator("*") || stream.at_operator("**")) {
      name = stream.next().text;
    } else if (!call.names.empty() && !call.names.back().empty()) {
      stream.error("an argument without a name behind one with a name");
    }
    call.names.push_back(name);
    adopt(stream, call, parse_expression(stream));
    if (!stream.accept_operator(",")) break;
  }
  stream.expect_operator(")", "call");
}

// A test's argument may stand without parentheses: x is divisibleby 3.
bool at_bare_argument(const TokenStream& stream) {
  const Token& token = stream.peek();
  if (token.type == TokenType::kString || token.type == TokenType::kInteger ||
      token.type == TokenType::kFloat) {
    return true;
  }
  if (token.type == TokenType::kOperator) return token.text == "[" || token.text == "{";
  if (token.type != TokenType::kName) return false;
  for (const char* word : {"else", "or", "and", "is", "if", "in", "not"}) {
    if (token.text == word) return false;
  }
  return true;
}

ExpressionPtr parse_test(TokenStream& stream, ExpressionPtr input) {
  const int line = stream.next().line;  // is
  const bool negated = stream.accept_name("not");
  std::string name = stream.expect_identifier("is");
  while (stream.accept_operator(".")) name.append(".").append(stream.expect_identifier("is"));
  ExpressionPtr test = make(stream, Kind::kTest, line, name, std::move(input));
  if (stream.at_operator("(")) {
    parse_arguments(stream, *test);
  } else if (at_bare_argument(stream)) {
    test->names.emplace_back();
    adopt(stream, *test, parse_postfix(stream, parse_primary(stream)));
  }
  return negated ? make(stream, Kind::kNot, line, "", std::move(test)) : std::move(test);
}

ExpressionPtr parse_filter(TokenStream& stream, ExpressionPtr input) {
  const int line = stream.line();
  std::string name = stream.expect_identifier("filter");
  while (stream.accept_operator(".")) name.append(".").append(stream.expect_identifier("filter"));
  ExpressionPtr filter = make(stream, Kind::kFilter, line, name, std::move(input));
  if (stream.at_operator("(")) parse_arguments(stream, *filter);
  return filter;
}

// Filters, tests and calls behind an operand.
ExpressionPtr parse_filters_and_tests(TokenStream& stream, ExpressionPtr node) {
  while (true) {
    if (stream.accept_operator("|")) {
      node = parse_filter(stream, std::move(node));
    } else if (stream.at_name("is")) {
      node = parse_test(stream, std::move(node));
    } else if (stream.at_operator("(")) {
      node = make(stream, Kind::kCall, stream.line(), "", std::move(node));
      parse_arguments(stream, *node);
    } else {
      return node;
    }
  }
}

ExpressionPtr parse_unary(TokenStream& stream, bool with_filters) {
  const TokenStream::Depth depth(stream);
  const int line = stream.line();
  ExpressionPtr node;
  if (stream.accept_operator("-")) {
    node = make(stream, Kind::kNegative, line, "", parse_unary(stream, false));
  } else if (stream.accept_operator("+")) {
    node = make(stream, Kind::kPositive, line, "", parse_unary(stream, false));
  } else {
    node = parse_primary(stream);
  }
  node = parse_postfix(stream, std::move(node));
  return with_filters ? parse_filters_and_tests(stream, std::move(node)) : std::move(node);
}

// [index] or [from:to:step]
ExpressionPtr parse_subscript(TokenStream& stream, ExpressionPtr object) {
  const int line = stream.next().line;  // [
  std::array<ExpressionPtr, 3> parts;
  size_t part = 0;
  bool is_slice = false;
  while (!stream.at_operator("]")) {
    if (stream.accept_operator(":")) {
      is_slice = true;
      if (++part > 2) stream.error("slice: more than two ':'");
    } else if (parts[part]) {
      stream.error(fmt::format("subscript: expected ']', found {}", stream.describe()));
    } else {
      parts[part] = parse_expression(stream);
    }
  }
  stream.next();
  if (!is_slice) {
    if (!parts[0]) stream.error("subscript: expected an index between [ and ]");
    return make(stream, Kind::kItem, line, "", std::move(object), std::move(parts[0]));
  }
  ExpressionPtr slice = make(stream, Kind::kSlice, line, "", std::move(object));
  for (ExpressionPtr& expression : parts) adopt(stream, *slice, std::move(expression));
  return slice;
}

ExpressionPtr parse_postfix(TokenStream& stream, ExpressionPtr node) {
  while (true) {
    const int line = stream.line();
    if (stream.at_operator(".")) {
      stream.next();
      if (stream.at(TokenType::kInteger)) {  // list.0
        node = make(stream, Kind::kItem, line, "", std::move(node), parse_primary(stream));
      } else {
        node = make(stream, Kind::kAttribute, line, stream.expect_identifier("attribute"),
                    std::move(node));
      }
    } else if (stream.at_operator("[")) {
      node = parse_subscript(stream, std::move(node));
    } else if (stream.at_operator("(")) {
      node = make(stream, Kind::kCall, line, "", std::move(node));
      parse_arguments(stream, *node);
    } else {
      return node;
    }
  }
}

ExpressionPtr parse_list(TokenStream& stream) {
  ExpressionPtr list = make(Kind::kList, stream.next().line);
  while (!stream.at_operator("]")) {
    adopt(stream, *list, parse_expression(stream));
    if (!stream.accept_operator(",")) break;
  }
  stream.expect_operator("]", "list");
  return list;
}

ExpressionPtr parse_dict(TokenStream& stream) {
  ExpressionPtr dict = make(Kind::kDict, stream.next().line);
  while (!stream.at_operator("}")) {
    adopt(stream, *dict, parse_expression(stream));
    stream.expect_operator(":", "dict");
    adopt(stream, *dict, parse_expression(stream));
    if (!stream.accept_operator(",")) break;
  }
  stream.expect_operator("}", "dict");
  return dict;
}

ExpressionPtr parse_number(TokenStream& stream) {
  const Token token = stream.peek();
  const char* begin = token.text.data();
  const char* end = begin + token.text.size();
  if (token.type == TokenType::kInteger) {
    int64_t value = 0;
    if (std::from_chars(begin, end, value).ec != std::errc())
      stream.error("the number does not fit into 64 bits");
    stream.next();
    return constant(token.line, Value(value));
  }
  double value = 0;
  if (std::from_chars(begin, end, value).ec != std::errc())
    stream.error("the number is out of range");
  stream.next();
  return constant(token.line, Value(value));
}

ExpressionPtr parse_name(TokenStream& stream) {
  const Token token = stream.next();
  if (token.text == "true" || token.text == "True") return constant(token.line, Value(true));
  if (token.text == "false" || token.text == "False") return constant(token.line, Value(false));
  if (token.text == "none" || token.text == "None") return constant(token.line, Value::none());
  return make(Kind::kName, token.line, token.text);
}

ExpressionPtr parse_primary(TokenStream& stream) {
  const int line = stream.line();
  switch (stream.peek().type) {
    case TokenType::kName:
      return parse_name(stream);
    case TokenType::kInteger:
    case TokenType::kFloat:
      return parse_number(stream);
    case TokenType::kString: {
      std::string text = stream.next().text;
      while (stream.at(TokenType::kString))
        text += stream.next().text;  // neighbours are one string
      return constant(line, Value(std::move(text)));
    }
    default:
      break;
  }
  if (stream.at_operator("[")) return parse_list(stream);
  if (stream.at_operator("{")) return parse_dict(stream);
  if (stream.accept_operator("(")) {
    ExpressionPtr inner = stream.at_operator(")") ? make(Kind::kTuple, line) : parse_tuple(stream);
    stream.expect_operator(")", "parentheses");
    return inner;
  }
  stream.error(fmt::format("expected an expression, found {}", stream.describe()));
}

}  // namespace

ExpressionPtr parse_expression(TokenStream& stream, bool with_condition) {
  const TokenStream::Depth depth(stream);
  ExpressionPtr value = parse_or(stream);
  while (with_condition && stream.at_name("if")) {
    ExpressionPtr conditional = make(Kind::kConditional, stream.next().line);
    adopt(stream, *conditional, parse_or(stream));
    adopt(stream, *conditional, std::move(value));
    adopt(stream, *conditional, stream.accept_name("else") ? parse_expression(stream) : nullptr);
    value = std::move(conditional);
  }
  return value;
}

ExpressionPtr parse_tuple(TokenStream& stream, bool with_condition) {
  ExpressionPtr first = parse_expression(stream, with_condition);
  if (!stream.at_operator(",")) return first;
  const int line = first->line;
  ExpressionPtr tuple = make(stream, Kind::kTuple, line, "", std::move(first));
  while (stream.accept_operator(",")) {
    const bool ends = stream.at_operator(")") || stream.at(TokenType::kBlockEnd) ||
                      stream.at(TokenType::kPrintEnd) || stream.at_name("if");
    if (ends) break;
    adopt(stream, *tuple, parse_expression(stream, with_condition));
  }
  return tuple;
}

ExpressionPtr parse_filters(TokenStream& stream, ExpressionPtr input) {
  while (stream.accept_operator("|")) input = parse_filter(stream, std::move(input));
  return input;
}

ExpressionPtr parse_filter_block(TokenStream& stream, ExpressionPtr input) {
  return parse_filters(stream, parse_filter(stream, std::move(input)));
}

}  // namespace kv::jinja
