#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "runner/value_io.h"

namespace kv {
namespace {

using Json = nlohmann::ordered_json;

// Builds a Value from the parser's events; a document model would lose keys that are given twice.
class ValueBuilder : public nlohmann::json_sax<Json> {
 public:
  ValueBuilder(const std::string& text, const std::string& file) : text_(text), file_(file) {}
  Value result() { return std::move(root_); }

  bool null() override { return put(Value{}); }
  bool boolean(bool v) override { return put(Value::of(v)); }
  bool number_integer(number_integer_t v) override {
    return put(Value::of(static_cast<double>(v)));
  }
  bool number_unsigned(number_unsigned_t v) override {
    return put(Value::of(static_cast<double>(v)));
  }
  bool number_float(number_float_t v, const string_t&) override { return put(Value::of(v)); }
  bool string(string_t& v) override { return put(Value::of(std::string(v))); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(Value::Kind::kMap); }
  bool start_array(std::size_t) override { return open(Value::Kind::kList); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (!keys_seen_.back().insert(name).second) {
      throw_usage("{}: key '{}' is given twice in one object; remove one of the two", file_, name);
    }
    keys_.back() = name;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    const size_t end = std::min(position > 0 ? position - 1 : 0, text_.size());
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(end), '\n');
    const size_t line_start = end == 0 ? std::string::npos : text_.rfind('\n', end - 1);
    const size_t column = end - (line_start == std::string::npos ? 0 : line_start + 1) + 1;
    std::string reason = e.what();
    if (const size_t bracket = reason.find("] "); bracket != std::string::npos) {
      reason = reason.substr(bracket + 2);
    }
    throw_usage("{}:{}: not valid JSON (column {}): {}", file_, line, column, reason);
  }

 private:
  bool put(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_list()) {
      open_.back().items.push_back(std::move(value));
    } else {
      open_.back().entries.emplace_back(keys_.back(), std::move(value));
    }
    return true;
  }
  bool open(Value::Kind kind) {
    if (open_.size() == kDeepest) {
      throw_usage("{}: lists and objects lie more than {} deep in each other", file_, kDeepest);
    }
    Value value;
    value.kind = kind;
    open_.push_back(std::move(value));
    keys_.emplace_back();
    keys_seen_.emplace_back();
    return true;
  }
  bool close() {
    Value value = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    keys_seen_.pop_back();
    return put(std::move(value));
  }

  static constexpr size_t kDeepest = 500;  // what walks a Value is recursive

  const std::string& text_;
  std::string file_;
  Value root_;
  std::vector<Value> open_;
  std::vector<std::string> keys_;
  std::vector<std::set<std::string>> keys_seen_;
};

}  // namespace

Value parse_json(const std::string& text, const std::string& file) {
  ValueBuilder builder(text, file);
  Json::sax_parse(text, &builder);
  Value value = builder.result();
  set_json_places(value, file, "");
  return value;
}

void set_json_places(Value& value, const std::string& file, const std::string& path) {
  value.place = path.empty() ? file : file + ": " + path;
  for (size_t i = 0; i < value.items.size(); ++i) {
    set_json_places(value.items[i], file, fmt::format("{}[{}]", path, i));
  }
  for (auto& [key, entry] : value.entries) {
    set_json_places(entry, file, path.empty() ? key : path + "." + key);
  }
}

nlohmann::ordered_json to_json(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull:
      return nullptr;
    case Value::Kind::kBool:
      return value.boolean;
    case Value::Kind::kNumber:
      if (value.is_integer()) return static_cast<int64_t>(value.number);
      return value.number;
    case Value::Kind::kString:
      return value.text;
    case Value::Kind::kList: {
      Json list = Json::array();
      for (const Value& item : value.items) list.push_back(to_json(item));
      return list;
    }
    case Value::Kind::kMap: {
      Json map = Json::object();
      for (const auto& [key, entry] : value.entries) map[key] = to_json(entry);
      return map;
    }
  }
  return nullptr;
}

}  // namespace kv
