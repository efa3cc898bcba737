#include "engine/jinja/evaluator.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "engine/error.h"
#include "engine/jinja/builtins.h"
#include "engine/jinja/operators.h"
#include "engine/jinja/work.h"

namespace kv::jinja {
namespace {

// Names of one block. Loops and macros open a new one, `if` does not.
struct Scope {
  std::map<std::string, Value> names;
  Scope* parent = nullptr;
};

enum class Flow { kNext, kBreak, kContinue };

class Evaluator {
 public:
  explicit Evaluator(std::map<std::string, Value> variables) {
    Scope* builtins = open_scope(nullptr);
    builtins->names = global_functions();
    root_ = open_scope(builtins);
    root_->names = std::move(variables);
  }
  ~Evaluator() {
    for (auto& entry : namespaces_) entry.second->entries.clear();
  }

  std::string render(const Body& body) {
    std::string out;
    run(body, root_, out);
    return out;
  }

  int line() const { return line_; }

 private:
  // One step into the tree, or into a macro.
  struct Level {
    explicit Level(Evaluator& e) : evaluator(e) {
      constexpr int kDeepest = 1000;
      spend(32);
      if (++evaluator.depth_ > kDeepest)
        fail(fmt::format("the template nests deeper than {} levels as it runs", kDeepest));
    }
    ~Level() { --evaluator.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    Evaluator& evaluator;
  };

  // A macro keeps all scopes alive that are open where it is made: once put into a namespace, it may be called after its
  // block ended. So a block closes its scopes only where no macro was made since.
  struct OpenScopes {
    size_t count;
    int macros;
  };
  OpenScopes open_scopes() const { return {scopes_.size(), macros_made_}; }
  void close_scopes(const OpenScopes& before) {
    if (macros_made_ == before.macros) {
      scopes_.resize(before.count);
    } else {
      spend(1024);
    }
  }

  Scope* open_scope(Scope* parent) {
    scopes_.push_back(std::make_unique<Scope>());
    scopes_.back()->parent = parent;
    return scopes_.back().get();
  }

  Flow run(const Body& body, Scope* scope, std::string& out) {
    for (const auto& node : body) {
      const Flow flow = run(*node, scope, out);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  Flow run(const Node& node, Scope* scope, std::string& out) {
    const Level level(*this);
    line_ = node.line;
    switch (node.kind) {
      case Node::Kind::kText:
        out += node.text;
        check_text(out.size());
        break;
      case Node::Kind::kPrint:
        out += evaluate(*node.expression, scope).str();
        check_text(out.size());
        break;
      case Node::Kind::kIf:
        return run(evaluate(*node.expression, scope).truthy() ? node.body : node.otherwise, scope,
                   out);
      case Node::Kind::kFor:
        return run_for(node, scope, out);
      case Node::Kind::kSet:
        assign(node.target, evaluate(*node.expression, scope), scope);
        break;
      case Node::Kind::kSetBlock:
        assign(node.target, filtered_block(node, scope), scope);
        break;
      case Node::Kind::kMacro:
        scope->names[node.text] = make_macro(node, scope);
        break;
      case Node::Kind::kCallBlock:
        out += evaluate_call(*node.expression, scope, &node).str();
        check_text(out.size());
        break;
      case Node::Kind::kWith:
        return run_with(node, scope, out);
      case Node::Kind::kFilterBlock:
        out += filtered_block(node, scope).str();
        check_text(out.size());
        break;
      case Node::Kind::kScope:
        return run_scope(node.body, scope, out);
      case Node::Kind::kBreak:
        return Flow::kBreak;
      case Node::Kind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  Flow run_scope(const Body& body, Scope* scope, std::string& out) {
    const OpenScopes before = open_scopes();
    const Flow flow = run(body, open_scope(scope), out);
    close_scopes(before);
    return flow;
  }

  Value filtered_block(const Node& node, Scope* scope) {
    const OpenScopes before = open_scopes();
    Scope* inner = open_scope(scope);
    std::string text;
    run(node.body, inner, text);
    inner->names[kBlockText] = Value(std::move(text));
    Value filtered = evaluate(*node.expression, inner);
    close_scopes(before);
    return filtered;
  }

  Flow run_with(const Node& node, Scope* scope, std::string& out) {
    const OpenScopes before = open_scopes();
    Scope* inner = open_scope(scope);
    for (size_t i = 0; i < node.with_values.size();
         ++i) {  // the values do not see each other's names
      assign(node.with_targets[i], evaluate(*node.with_values[i], scope), inner);
    }
    const Flow flow = run(node.body, inner, out);
    close_scopes(before);
    return flow;
  }

  void assign(const Target& target, const Value& value, Scope* scope) {
    if (!target.attribute.empty()) {
      Value object = lookup(target.names[0], scope);
      if (!object.is(Value::Type::kNamespace)) {
        fail(fmt::format("set: cannot assign to '{}.{}': '{}' is no namespace", target.names[0],
                         target.attribute, target.names[0]));
      }
      namespaces_.emplace(object.namespace_entries().get(), object.namespace_entries());
      object.namespace_entries()->set(Value(target.attribute), value);
      return;
    }
    if (!target.is_tuple) {
      scope->names[target.names[0]] = value;
      return;
    }
    const List parts = iterate(value);
    if (parts.size() != target.names.size()) {
      fail(fmt::format("cannot unpack {} values into {} names", parts.size(), target.names.size()));
    }
    for (size_t i = 0; i < parts.size(); ++i) scope->names[target.names[i]] = parts[i];
  }

  List loop_items(const Node& node, Scope* scope) {
    List all = iterate(evaluate(*node.expression, scope));
    if (!node.condition) return all;
    List kept;
    for (Value& item : all) {
      const OpenScopes before = open_scopes();
      Scope* inner = open_scope(scope);
      assign(node.target, item, inner);
      if (evaluate(*node.condition, inner).truthy()) kept.push_back(std::move(item));
      close_scopes(before);
    }
    return kept;
  }

  Flow run_for(const Node& node, Scope* scope, std::string& out) {
    const List items = loop_items(node, scope);
    if (items.empty()) return run_scope(node.otherwise, scope, out);
    for (size_t i = 0; i < items.size(); ++i) {
      spend(512);
      const OpenScopes before = open_scopes();
      Scope* inner = open_scope(scope);
      inner->names["loop"] = loop_object(items, i);
      assign(node.target, items[i], inner);
      const Flow flow = run(node.body, inner, out);
      close_scopes(before);
      if (flow == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  static Value loop_object(const List& items, size_t i) {
    const auto index = static_cast<int64_t>(i);
    const auto size = static_cast<int64_t>(items.size());
    Dict loop;
    const auto add = [&](const char* name, Value value) {
      loop.entries.emplace_back(Value(name), std::move(value));
    };
    add("index", index + 1);
    add("index0", index);
    add("revindex", size - index);
    add("revindex0", size - index - 1);
    add("first", i == 0);
    add("last", index + 1 == size);
    add("length", size);
    add("depth", int64_t{1});
    add("depth0", int64_t{0});
    add("previtem", i > 0 ? items[i - 1] : Value::undefined("there is no previous item"));
    add("nextitem", index + 1 < size ? items[i + 1] : Value::undefined("there is no next item"));
    add("cycle", Value::callable("loop.cycle", [i](const Arguments& arguments) -> Value {
          if (arguments.positional.empty()) fail("loop.cycle: no items given");
          return arguments.positional[i % arguments.positional.size()];
        }));
    return Value::dict(std::move(loop));
  }

  Value make_macro(const Node& node, Scope* scope) {
    ++macros_made_;
    return Value::callable(node.text, [this, &node, scope](const Arguments& arguments) -> Value {
      constexpr int kDeepest = 100;
      if (macro_depth_ == kDeepest)
        fail(fmt::format("macro '{}': called deeper than {} times", node.text, kDeepest));
      const OpenScopes before = open_scopes();
      Scope* inner = open_scope(scope);
      bind_parameters(node, arguments, inner);
      ++macro_depth_;
      std::string out;
      run(node.body, inner, out);
      --macro_depth_;
      close_scopes(before);
      return out;
    });
  }

  void bind_parameters(const Node& node, const Arguments& arguments, Scope* scope) {
    ArgumentReader reader(arguments, fmt::format("macro '{}'", node.text));
    for (const Parameter& parameter : node.parameters) {
      const Value* given = reader.next(parameter.name.c_str());
      if (given != nullptr) {
        scope->names[parameter.name] = *given;
      } else if (parameter.fallback) {
        scope->names[parameter.name] = evaluate(*parameter.fallback, scope);
      } else {
        scope->names[parameter.name] =
            Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
      }
    }
    if (node.uses_caller) {
      const Value* caller = reader.next_named("caller");
      scope->names["caller"] = caller == nullptr ? Value::undefined("No caller defined") : *caller;
    }
    if (node.uses_varargs) scope->names["varargs"] = Value::tuple(reader.rest_of_positions());
    if (node.uses_kwargs) scope->names["kwargs"] = Value::dict(reader.rest_of_names());
    reader.done();
  }

  static Value lookup(const std::string& name, const Scope* scope) {
    for (; scope != nullptr; scope = scope->parent) {
      const auto found = scope->names.find(name);
      if (found != scope->names.end()) return found->second;
    }
    return Value::undefined(fmt::format("'{}' is undefined", name));
  }

  Arguments evaluate_arguments(const Expression& call, Scope* scope) {
    Arguments arguments;
    for (size_t i = 0; i < call.names.size(); ++i) {
      Value value = evaluate(*call.children[i + 1], scope);
      if (call.names[i].empty()) {
        arguments.positional.push_back(std::move(value));
      } else if (call.names[i] == "*") {
        for (Value& item : iterate(value)) arguments.positional.push_back(std::move(item));
      } else if (call.names[i] == "**") {
        if (!value.is_dict())
          fail(fmt::format("**: expected a dict of arguments, found {}", value.type_name()));
        for (const auto& [name, item] : value.entries().entries)
          arguments.named.emplace_back(name.str(), item);
      } else {
        arguments.named.emplace_back(call.names[i], std::move(value));
      }
    }
    return arguments;
  }

  Value evaluate(const Expression& e, Scope* scope) {
    using Kind = Expression::Kind;
    const Level level(*this);
    line_ = e.line;
    const auto child = [&](size_t i) { return evaluate(*e.children[i], scope); };
    switch (e.kind) {
      case Kind::kConstant:
        return e.constant;
      case Kind::kName:
        return lookup(e.text, scope);
      case Kind::kList:
        return Value::list(evaluate_all(e, scope));
      case Kind::kTuple:
        return Value::tuple(evaluate_all(e, scope));
      case Kind::kDict:
        return evaluate_dict(e, scope);
      case Kind::kAttribute:
        return get_attribute(child(0), e.text);
      case Kind::kItem: {
        const Value object = child(0);
        return get_item(object, child(1));
      }
      case Kind::kSlice:
        return evaluate_slice(e, scope);
      case Kind::kCall:
        return evaluate_call(e, scope);
      case Kind::kFilter: {
        const Value input = child(0);
        const Arguments arguments = evaluate_arguments(e, scope);
        line_ = e.line;
        return apply_filter(e.text, input, arguments);
      }
      case Kind::kTest: {
        const Value input = child(0);
        const Arguments arguments = evaluate_arguments(e, scope);
        line_ = e.line;
        return apply_test(e.text, input, arguments);
      }
      case Kind::kNot:
        return !child(0).truthy();
      case Kind::kNegative:
        return negative(child(0));
      case Kind::kPositive:
        return child(0);
      case Kind::kBinary: {
        const Value left = child(0);
        const Value right = child(1);
        line_ = e.line;
        return binary_operator(e.text, left, right);
      }
      case Kind::kCompare:
        return evaluate_comparison(e, scope);
      case Kind::kAnd: {
        Value left = child(0);
        return left.truthy() ? child(1) : left;
      }
      case Kind::kOr: {
        Value left = child(0);
        return left.truthy() ? left : child(1);
      }
      case Kind::kConditional:
        if (child(0).truthy()) return child(1);
        return e.children[2] ? child(2)
                             : Value::undefined("the condition is false and there is no else");
    }
    return {};
  }

  List evaluate_all(const Expression& e, Scope* scope) {
    List items;
    for (const ExpressionPtr& item : e.children) items.push_back(evaluate(*item, scope));
    return items;
  }

  Value evaluate_dict(const Expression& e, Scope* scope) {
    Dict dict;
    for (size_t i = 0; i + 1 < e.children.size(); i += 2) {
      Value key = evaluate(*e.children[i], scope);
      dict.set(std::move(key), evaluate(*e.children[i + 1], scope));
    }
    return Value::dict(std::move(dict));
  }

  Value evaluate_slice(const Expression& e, Scope* scope) {
    const Value object = evaluate(*e.children[0], scope);
    const auto bound = [&](size_t i) -> std::optional<int64_t> {
      if (!e.children[i]) return std::nullopt;
      const Value value = evaluate(*e.children[i], scope);
      if (value.is_none()) return std::nullopt;
      if (!value.is_integer())
        fail(fmt::format("slice: expected an integer, found {}", value.type_name()));
      return value.integer();
    };
    const auto from = bound(1);
    const auto to = bound(2);
    return slice(object, from, to, bound(3));
  }

  // block: the call block around it, whose body goes along as `caller`; or null.
  Value evaluate_call(const Expression& e, Scope* scope, const Node* block = nullptr) {
    const Value callee = evaluate(*e.children[0], scope);
    Arguments arguments = evaluate_arguments(e, scope);
    if (block != nullptr) arguments.named.emplace_back("caller", make_macro(*block, scope));
    line_ = e.line;
    if (callee.is_undefined()) fail(callee.undefined_reason());
    if (!callee.is(Value::Type::kCallable))
      fail(fmt::format("a {} cannot be called", callee.type_name()));
    return callee.function().call(arguments);
  }

  Value evaluate_comparison(const Expression& e, Scope* scope) {
    Value left = evaluate(*e.children[0], scope);
    for (size_t i = 0; i < e.names.size(); ++i) {
      Value right = evaluate(*e.children[i + 1], scope);
      line_ = e.line;
      if (!compare_operator(e.names[i], left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  std::vector<std::unique_ptr<Scope>> scopes_;
  Scope* root_ = nullptr;
  int line_ = 1;
  int macro_depth_ = 0, depth_ = 0, macros_made_ = 0;
  // Those that were assigned to: they may hold each other, so they are emptied at the end.
  std::map<const Dict*, std::shared_ptr<Dict>> namespaces_;
};

}  // namespace

std::string render_template(const Body& body, const std::string& name,
                            std::map<std::string, Value> variables) {
  const WorkCounter counter;
  Evaluator evaluator(std::move(variables));
  try {
    return evaluator.render(body);
  } catch (const TemplateError& error) {
    throw_data("{}:{}: {}", name, evaluator.line(), error.message);
  }
}

}  // namespace kv::jinja
