// The syntax tree of a template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/jinja/value.h"

namespace kv::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kConstant,   // constant
    kName,       // text
    kList,       // children
    kTuple,      // children
    kDict,       // children: key, value, key, value, …
    kAttribute,  // children[0].text
    kItem,       // children[0][children[1]]
    kSlice,      // children[0][children[1] : children[2] : children[3]], null where left out
    kCall,       // children[0](arguments)
    kFilter,     // children[0] | text(arguments)
    kTest,       // children[0] is text(arguments)
    kNot,        // not children[0]
    kNegative,   // -children[0]
    kPositive,   // +children[0]
    kBinary,     // children[0] text children[1]: + - * / // % ** ~
    kCompare,    // children[0] names[0] children[1] names[1] children[2] …
    kAnd,
    kOr,           // children[0], children[1]
    kConditional,  // children[1] if children[0] else children[2], which may be null
  };
  Kind kind = Kind::kConstant;
  int line = 1;
  int height = 1;  // of the tree below
  std::string text;
  Value constant;
  std::vector<ExpressionPtr> children;
  // kCall, kFilter, kTest: of the arguments children[1…], "" for positional ones, "*" and "**" for
  // lists and dicts of arguments.
  std::vector<std::string> names;
};

struct Node;
using Body = std::vector<std::unique_ptr<Node>>;

// What a `set` or a `for` assigns to: names, or one attribute of a namespace.
struct Target {
  std::vector<std::string> names;  // several: the value is unpacked
  bool is_tuple = false;           // "a, b" or "a,"
  std::string attribute;           // names[0].attribute
};

struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null: none
};

struct Node {
  enum class Kind {
    kText,         // text
    kPrint,        // expression
    kIf,           // expression, body, otherwise (elif is an `if` in there)
    kFor,          // target, expression (what it runs over), condition, body, otherwise
    kSet,          // target, expression
    kSetBlock,     // target, filters, body
    kMacro,        // text (name), parameters, body, uses_…
    kCallBlock,    // expression (a call), and the macro `caller` that it is given: as kMacro
    kWith,         // with_targets, with_values, body
    kFilterBlock,  // expression: filters over the name kBlockText; body
    kScope,        // body: {% generation %}
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  int line = 1;
  std::string text;
  ExpressionPtr expression, condition;
  Target target;
  std::vector<Target> with_targets;
  std::vector<ExpressionPtr> with_values;
  std::vector<Parameter> parameters;
  // What a macro takes besides its parameters, which follows from the names in its body.
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
  Body body, otherwise;
};

// The name under which a filter block and a set block hand their text to their filters: no template
// can write it.
inline constexpr const char* kBlockText = "<block>";

}  // namespace kv::jinja
