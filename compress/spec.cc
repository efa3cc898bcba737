#include "compress/spec.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "engine/error.h"

namespace kv {
namespace {

// They keep a hostile spec from exhausting the stack, the memory and the time.
constexpr int kMaxDepth = 32;  // of nested maps and lists
constexpr size_t kMaxBytes = 65536;
constexpr size_t kMaxTerms = 32;
constexpr size_t kMaxRows = 1000;  // that lists of ratios may stand for

bool is_word_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '/' ||
         c == '-';
}

// One pass over the text, one function for each rule of the grammar.
class SpecParser {
 public:
  SpecParser(const std::string& text, const std::string& place) : text_(text), place_(place) {}

  std::vector<Value> spec() {
    if (text_.size() > kMaxBytes) {
      throw_usage("{}: expected at most {} bytes of a spec, found {}", place_at(0), kMaxBytes,
                  text_.size());
    }
    std::vector<Value> terms;
    do {
      terms.push_back(term());
    } while (accept('+'));
    if (!at_end()) fail("expected '+' or the end");
    return terms;
  }

 private:
  Value term() {
    skip_spaces();
    const size_t start = at_;
    const std::string name = word("a method's name");
    return term_of(name, start);
  }

  // The map that may follow a name.
  Value term_of(const std::string& name, size_t start) {
    Value name_value = Value::of(name);
    name_value.place = place_at(start);
    Value out;
    out.kind = Value::Kind::kMap;
    out.place = name_value.place;
    out.entries.emplace_back("name", std::move(name_value));
    if (accept('(')) entries(out);
    return out;
  }

  // key=value,... and the closing parenthesis, appended to map.
  void entries(Value& map) {
    enter();
    if (!accept(')')) {
      do {
        skip_spaces();
        const size_t start = at_;
        std::string key = word("a parameter's name");
        if (map.find(key) != nullptr) {
          at_ = start;
          fail(key == "name"
                   ? "'name' is what stands before the parenthesis: expected another key"
                   : fmt::format("the key '{}' is given twice: expected another key", key));
        }
        if (!accept('=')) fail("expected '='");
        map.entries.emplace_back(std::move(key), value());
      } while (accept(','));
      if (!accept(')')) fail("expected ',' or ')'");
    }
    --depth_;
  }

  Value value() {
    skip_spaces();
    const size_t start = at_;
    Value out;
    if (accept('(')) {
      out.kind = Value::Kind::kMap;
      entries(out);
    } else if (accept('[')) {
      out = list();
    } else if (!at_end() && text_[at_] == '\'') {
      out = Value::of(quoted_text());
    } else {
      out = number_or_term(start);
    }
    out.place = place_at(start);
    return out;
  }

  Value list() {
    Value out;
    out.kind = Value::Kind::kList;
    enter();
    if (!accept(']')) {
      do {
        out.items.push_back(value());
      } while (accept(','));
      if (!accept(']')) fail("expected ',' or ']'");
    }
    --depth_;
    return out;
  }

  Value number_or_term(size_t start) {
    const std::string token = word("a value");
    const bool exponent = token.size() > 1 && (token.back() == 'e' || token.back() == 'E') &&
                          parse_number(token.substr(0, token.size() - 1)).has_value();
    // '+' is no word character; behind "1e" it can only be the sign of the exponent.
    if (exponent && at_ < text_.size() && text_[at_] == '+') {
      ++at_;
      const auto number = parse_number(token + word("an exponent"));
      if (number) return Value::of(*number);
      at_ = start;
      fail("expected a number");
    }
    if (const auto number = parse_number(token)) return Value::of(*number);
    if (token == "true" || token == "false") return Value::of(token == "true");
    if (peek() == '(') return term_of(token, start);
    return Value::of(token);
  }

  std::string quoted_text() {
    const size_t start = at_++;
    std::string out;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] != '\'') {
        out += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '\'') {
        out += text_[at_++];  // a quote inside is written twice
      } else {
        ++at_;
        return out;
      }
    }
    at_ = start;
    fail("the text that starts here has no closing quote: expected '");
  }

  std::string word(const char* what) {
    skip_spaces();
    const size_t start = at_;
    while (at_ < text_.size() && is_word_char(text_[at_])) ++at_;
    if (at_ == start) fail(fmt::format("expected {}", what));
    return text_.substr(start, at_ - start);
  }

  void skip_spaces() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  bool at_end() {
    skip_spaces();
    return at_ == text_.size();
  }
  char peek() { return at_end() ? '\0' : text_[at_]; }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void enter() {
    if (++depth_ > kMaxDepth) fail(fmt::format("expected at most {} nested levels", kMaxDepth));
  }

  std::string place_at(size_t offset) const {
    return fmt::format("{}column {} of '{}'", place_.empty() ? "" : place_ + ": ", offset + 1,
                       shown(offset));
  }
  // The text; of a long one what stands around the place.
  std::string shown(size_t offset) const {
    constexpr size_t kShown = 200;
    if (text_.size() <= kShown) return text_;
    const auto inside = [&](size_t at) {  // of a character
      return at < text_.size() && (static_cast<unsigned char>(text_[at]) & 0xC0) == 0x80;
    };
    size_t begin = offset > kShown / 2 ? offset - kShown / 2 : 0;
    size_t end = std::min(begin + kShown, text_.size());
    while (inside(begin)) ++begin;
    while (inside(end)) ++end;
    return (begin > 0 ? "…" : "") + text_.substr(begin, end - begin) +
           (end < text_.size() ? "…" : "");
  }
  [[noreturn]] void fail(const std::string& expected) {
    const std::string found =
        at_ < text_.size() ? fmt::format("'{}'", text_.substr(at_, 1)) : "the end";
    throw_usage("{}: {}, found {}", place_at(at_), expected, found);
  }

  const std::string& text_;
  const std::string& place_;
  size_t at_ = 0;
  int depth_ = 0;
};

std::string place_prefix(const Value& value) {
  return value.place.empty() ? "" : value.place + ": ";
}

// The object without `then`, with `name` (or `method`, kv-canary's word for it) first.
Value term_of_object(const Value& object) {
  Value out;
  out.kind = Value::Kind::kMap;
  out.place = object.place;
  const Value* name = object.find("name");
  const Value* method = object.find("method");
  if (name != nullptr && method != nullptr) {
    throw_usage("{}'name' and 'method' are both given: leave one out", place_prefix(object));
  }
  const Value* either = name != nullptr ? name : method;
  if (either == nullptr) {
    throw_usage("{}expected a compressor with a 'name', found a map without one",
                place_prefix(object));
  }
  if (!either->is_string()) {
    throw_usage("{}'{}' must be a method's name, found {}", place_prefix(object),
                name != nullptr ? "name" : "method", either->describe());
  }
  out.entries.emplace_back(name != nullptr ? "name" : "method", *either);
  for (const auto& entry : object.entries) {
    if (entry.first == "name" || entry.first == "method" || entry.first == "then") continue;
    out.entries.push_back(entry);
  }
  return out;
}

void append_terms(const Value& value, int depth, std::vector<Value>& terms) {
  if (depth > kMaxDepth) {
    throw_usage("{}expected at most {} nested levels of 'then'", place_prefix(value), kMaxDepth);
  }
  if (value.is_string()) {
    for (const Value& term : parse_spec(value.text, value.place))
      append_terms(term, depth + 1, terms);
    return;
  }
  if (!value.is_map()) {
    throw_usage("{}expected a compressor (a spec string or a map with a name), found {}",
                place_prefix(value), value.describe());
  }
  if (terms.size() == kMaxTerms) {
    throw_usage("{}expected at most {} methods in one compressor", place_prefix(value), kMaxTerms);
  }
  terms.push_back(term_of_object(value));
  const Value* then = value.find("then");
  if (then == nullptr) return;
  if (!then->is_list()) return append_terms(*then, depth + 1, terms);
  for (const Value& next : then->items) append_terms(next, depth + 1, terms);
}

}  // namespace

std::vector<Value> parse_spec(const std::string& text, const std::string& place) {
  return SpecParser(text, place).spec();
}

std::string format_spec(const std::vector<Value>& terms) {
  std::string out;
  for (const Value& term : terms) {
    const bool bare = term.entries.size() == 1;
    out += (out.empty() ? "" : "+") + (bare ? term.entries[0].second.text : format_value(term));
  }
  return out;
}

std::vector<Value> read_terms(const Value& value) {
  std::vector<Value> terms;
  append_terms(value, 0, terms);
  return terms;
}

std::vector<std::vector<Value>> expand_ratio_lists(const std::vector<Value>& terms) {
  std::vector<std::vector<Value>> rows = {{}};
  for (const Value& term : terms) {
    std::vector<Value> variants = {term};
    for (size_t key = 0; key < term.entries.size(); ++key) {
      const auto& [name, value] = term.entries[key];
      if ((name != "ratio" && name != "budget") || !value.is_list()) continue;
      if (value.items.empty()) {
        throw_usage("{}'{}' is an empty list: expected at least one number", place_prefix(value),
                    name);
      }
      if (rows.size() * variants.size() * value.items.size() > kMaxRows) {
        throw_usage("{}the lists stand for more than {} compressors: expected fewer",
                    place_prefix(value), kMaxRows);
      }
      std::vector<Value> expanded;
      for (const Value& variant : variants) {
        for (const Value& item : value.items) {
          expanded.push_back(variant);
          Value& target = expanded.back().entries[key].second;
          const std::string place = target.place;
          target = item;
          if (target.place.empty()) target.place = place;
        }
      }
      variants = std::move(expanded);
    }
    std::vector<std::vector<Value>> longer;
    for (const auto& row : rows) {
      for (const Value& variant : variants) {
        longer.push_back(row);
        longer.back().push_back(variant);
      }
    }
    rows = std::move(longer);
  }
  return rows;
}

}  // namespace kv
