#include "engine/jinja/parser.h"

#include <fmt/format.h>

#include <initializer_list>
#include <utility>

#include "engine/jinja/token_stream.h"

namespace kv::jinja {
namespace {

std::unique_ptr<Node> make(Node::Kind kind, int line) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  node->line = line;
  return node;
}

ExpressionPtr block_text(int line) {
  auto name = std::make_unique<Expression>();
  name->kind = Expression::Kind::kName;
  name->line = line;
  name->text = kBlockText;
  return name;
}

class StatementParser {
 public:
  explicit StatementParser(TokenStream stream) : stream_(std::move(stream)) {}

  Body run() {
    Body body = parse_body({});
    return body;
  }

 private:
  // Up to a block that begins with one of these words, which is then the current token; with none
  // of them up to the end of the template.
  Body parse_body(std::initializer_list<const char*> ends) {
    const TokenStream::Depth depth(stream_);
    const int begin_line = stream_.line();
    Body body;
    while (!stream_.at(TokenType::kEnd)) {
      const Token token = stream_.next();
      if (token.type == TokenType::kText) {
        body.push_back(make(Node::Kind::kText, token.line));
        body.back()->text = token.text;
      } else if (token.type == TokenType::kPrintBegin) {
        body.push_back(make(Node::Kind::kPrint, stream_.line()));
        body.back()->expression = parse_tuple(stream_);
        stream_.expect(TokenType::kPrintEnd, "expression {{ }}");
      } else {
        for (const char* end : ends) {
          if (stream_.at_name(end)) return body;
        }
        body.push_back(parse_statement());
      }
    }
    if (ends.size() != 0) {
      stream_.error(fmt::format("the block that begins in line {} has no {{% {} %}}", begin_line,
                                *(ends.end() - 1)));
    }
    return body;
  }

  void end_tag(const char* word) {
    stream_.next();
    stream_.expect(TokenType::kBlockEnd, word);
  }

  std::unique_ptr<Node> parse_statement() {
    const int line = stream_.line();
    const std::string word = stream_.at(TokenType::kName) ? stream_.peek().text : "";
    if (word == "if") return parse_if(line);
    if (word == "for") return parse_for(line);
    if (word == "set") return parse_set(line);
    if (word == "macro") return parse_macro(line);
    if (word == "with") return parse_with(line);
    if (word == "call") return parse_call_block(line);
    if (word == "filter") return parse_filter(line);
    if (word == "generation") return parse_generation(line);
    if (word == "break" || word == "continue") {
      if (loop_depth_ == 0) stream_.error(fmt::format("'{}' outside of a loop", word));
      end_tag("break or continue");
      return make(word == "break" ? Node::Kind::kBreak : Node::Kind::kContinue, line);
    }
    if (word.empty())
      stream_.error(fmt::format("expected the name of a block, found {}", stream_.describe()));
    stream_.error(fmt::format(
        "the block '{}' is not supported here; supported: if, for, set, macro, call, with, filter, "
        "raw, generation, break, continue",
        word));
  }

  std::unique_ptr<Node> parse_if(int line) {
    const TokenStream::Depth depth(stream_);
    auto node = make(Node::Kind::kIf, line);
    stream_.next();  // if, elif
    node->expression = parse_tuple(stream_, false);
    stream_.expect(TokenType::kBlockEnd, "if");
    node->body = parse_body({"elif", "else", "endif"});
    if (stream_.at_name("elif")) {
      node->otherwise.push_back(parse_if(stream_.line()));
      return node;
    }
    if (stream_.at_name("else")) {
      end_tag("else");
      node->otherwise = parse_body({"endif"});
    }
    end_tag("endif");
    return node;
  }

  std::unique_ptr<Node> parse_for(int line) {
    auto node = make(Node::Kind::kFor, line);
    stream_.next();
    node->target = parse_target("for", false);
    if (!stream_.accept_name("in"))
      stream_.error(fmt::format("for: expected 'in', found {}", stream_.describe()));
    node->expression = parse_tuple(stream_, false);
    if (stream_.accept_name("if")) node->condition = parse_expression(stream_);
    if (stream_.at_name("recursive")) stream_.error("for: 'recursive' is not supported");
    stream_.expect(TokenType::kBlockEnd, "for");
    ++loop_depth_;
    node->body = parse_body({"else", "endfor"});
    --loop_depth_;
    if (stream_.at_name("else")) {
      end_tag("else");
      node->otherwise = parse_body({"endfor"});
    }
    end_tag("endfor");
    return node;
  }

  Target parse_target(const char* construct, bool with_attribute) {
    Target target;
    const bool parenthesis = stream_.accept_operator("(");
    target.names.push_back(stream_.expect_identifier(construct));
    if (with_attribute && stream_.accept_operator(".")) {
      target.attribute = stream_.expect_identifier(construct);
      return target;
    }
    while (stream_.accept_operator(",")) {
      target.is_tuple = true;
      if (!stream_.at(TokenType::kName) || stream_.at_name("in")) break;
      target.names.push_back(stream_.expect_identifier(construct));
    }
    if (parenthesis) stream_.expect_operator(")", construct);
    return target;
  }

  std::unique_ptr<Node> parse_set(int line) {
    auto node = make(Node::Kind::kSet, line);
    stream_.next();
    node->target = parse_target("set", true);
    if (stream_.accept_operator("=")) {
      node->expression = parse_tuple(stream_);
      stream_.expect(TokenType::kBlockEnd, "set");
      return node;
    }
    node->kind = Node::Kind::kSetBlock;
    node->expression = parse_filters(stream_, block_text(line));
    stream_.expect(TokenType::kBlockEnd, "set");
    node->body = parse_body({"endset"});
    end_tag("endset");
    return node;
  }

  std::unique_ptr<Node> parse_macro(int line) {
    auto node = make(Node::Kind::kMacro, line);
    stream_.next();
    node->text = stream_.expect_identifier("macro");
    parse_parameters("macro", *node);
    parse_macro_body("macro", "endmacro", *node);
    stream_.next();
    if (stream_.at_name(node->text)) stream_.next();  // {% endmacro name %}
    stream_.expect(TokenType::kBlockEnd, "endmacro");
    return node;
  }

  // "(a, b=1)"
  void parse_parameters(const char* construct, Node& macro) {
    stream_.expect_operator("(", construct);
    while (!stream_.at_operator(")")) {
      Parameter parameter;
      parameter.name = stream_.expect_identifier(construct);
      if (stream_.accept_operator("=")) {
        parameter.fallback = parse_expression(stream_);
      } else if (!macro.parameters.empty() && macro.parameters.back().fallback) {
        stream_.error(
            fmt::format("{}: a parameter without a default behind one with a default", construct));
      }
      macro.parameters.push_back(std::move(parameter));
      if (!stream_.accept_operator(",")) break;
    }
    stream_.expect_operator(")", construct);
  }

  void parse_macro_body(const char* construct, const char* end, Node& macro) {
    stream_.expect(TokenType::kBlockEnd, construct);
    const size_t begin = stream_.position();
    const int outer_loops = std::exchange(loop_depth_, 0);
    macro.body = parse_body({end});
    loop_depth_ = outer_loops;
    macro.uses_caller = stream_.has_name_since(begin, "caller");
    macro.uses_varargs = stream_.has_name_since(begin, "varargs");
    macro.uses_kwargs = stream_.has_name_since(begin, "kwargs");
  }

  // {% call(parameters) f(arguments) %}: f can call the body as its macro `caller`.
  std::unique_ptr<Node> parse_call_block(int line) {
    auto node = make(Node::Kind::kCallBlock, line);
    stream_.next();
    node->text = "caller";
    if (stream_.at_operator("(")) parse_parameters("call", *node);
    node->expression = parse_expression(stream_);
    if (node->expression->kind != Expression::Kind::kCall)
      stream_.error("call: expected a call such as f(x)");
    parse_macro_body("call", "endcall", *node);
    end_tag("endcall");
    return node;
  }

  std::unique_ptr<Node> parse_with(int line) {
    auto node = make(Node::Kind::kWith, line);
    stream_.next();
    while (!stream_.at(TokenType::kBlockEnd)) {
      Target target;
      target.names.push_back(stream_.expect_identifier("with"));
      stream_.expect_operator("=", "with");
      node->with_targets.push_back(std::move(target));
      node->with_values.push_back(parse_expression(stream_));
      if (!stream_.accept_operator(",")) break;
    }
    stream_.expect(TokenType::kBlockEnd, "with");
    node->body = parse_body({"endwith"});
    end_tag("endwith");
    return node;
  }

  std::unique_ptr<Node> parse_filter(int line) {
    auto node = make(Node::Kind::kFilterBlock, line);
    stream_.next();
    node->expression = parse_filter_block(stream_, block_text(line));
    stream_.expect(TokenType::kBlockEnd, "filter");
    node->body = parse_body({"endfilter"});
    end_tag("endfilter");
    return node;
  }

  // transformers' mark around the assistant's text, which is rendered as if the mark were not
  // there.
  std::unique_ptr<Node> parse_generation(int line) {
    auto node = make(Node::Kind::kScope, line);
    end_tag("generation");
    node->body = parse_body({"endgeneration"});
    end_tag("endgeneration");
    return node;
  }

  TokenStream stream_;
  int loop_depth_ = 0;
};

}  // namespace

Body parse_template(const std::string& source, const std::string& name) {
  return StatementParser(TokenStream(tokenize(source, name), name)).run();
}

}  // namespace kv::jinja
