#include "engine/value.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "engine/error.h"

namespace kv {
namespace {

constexpr double kLargestExact = 9007199254740992.0;  // 2^53: whole numbers up to here are exact
constexpr double kNoLimit = 1e300;                    // ParamSpec's "no limit of its own"

bool is_word(std::string_view text) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '/' || c == '-';
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed) && text != "true" &&
         text != "false" && !parse_number(text);
}

std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    out += c;
    if (c == '\'') out += c;  // a quote inside is written twice
  }
  return out + "'";
}

std::string format_entries(const Value& map, size_t first) {
  std::string out;
  for (size_t i = first; i < map.entries.size(); ++i) {
    if (i > first) out += ',';
    out += map.entries[i].first + "=" + format_value(map.entries[i].second);
  }
  return out;
}

std::string format_map(const Value& map) {
  const bool is_term = !map.entries.empty() && map.entries[0].first == "name" &&
                       map.entries[0].second.is_string() && is_word(map.entries[0].second.text);
  if (!is_term) return fmt::format("({})", format_entries(map, 0));
  return fmt::format("{}({})", map.entries[0].second.text, format_entries(map, 1));
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Insertions, deletions, replacements and swaps of neighbours that turn a into b.
int edit_distance(const std::string& a, const std::string& b) {
  const int n = static_cast<int>(a.size()), m = static_cast<int>(b.size());
  std::vector<std::vector<int>> d(n + 1, std::vector<int>(m + 1));
  for (int i = 0; i <= n; ++i) d[i][0] = i;
  for (int j = 0; j <= m; ++j) d[0][j] = j;
  for (int i = 1; i <= n; ++i) {
    for (int j = 1; j <= m; ++j) {
      d[i][j] = std::min(
          {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[n][m];
}

double effective_max(const ParamSpec& spec) {
  const bool whole =
      spec.type == ParamSpec::Type::kInteger || spec.type == ParamSpec::Type::kIntegerList;
  return whole && spec.max >= kNoLimit ? std::numeric_limits<int>::max() : spec.max;
}

double effective_min(const ParamSpec& spec) {
  const bool whole =
      spec.type == ParamSpec::Type::kInteger || spec.type == ParamSpec::Type::kIntegerList;
  return whole && spec.min <= -kNoLimit ? std::numeric_limits<int>::min() : spec.min;
}

std::string range_text(const ParamSpec& spec) {
  const bool has_min = spec.min > -kNoLimit, has_max = spec.max < kNoLimit;
  if (has_min && has_max) {
    return fmt::format(" in [{}, {}{}", format_number(spec.min), format_number(spec.max),
                       spec.below_max ? ")" : "]");
  }
  if (has_min) return " >= " + format_number(spec.min);
  if (has_max) return (spec.below_max ? " < " : " <= ") + format_number(spec.max);
  return "";
}

std::string expected_text(const ParamSpec& spec) {
  using Type = ParamSpec::Type;
  switch (spec.type) {
    case Type::kInteger:
      return "a whole number" + range_text(spec);
    case Type::kNumber:
      return "a number" + range_text(spec);
    case Type::kBool:
      return "true or false";
    case Type::kString:
      return "text";
    case Type::kFile:
      return "a file name";
    case Type::kChoice:
      return fmt::format("one of {}", fmt::join(spec.choices, ", "));
    case Type::kIntegerList:
      return "a list of whole numbers" + range_text(spec);
    case Type::kNumberList:
      return "a list of numbers" + range_text(spec);
    case Type::kAny:
      break;
  }
  return "a value";
}

bool number_fits(const ParamSpec& spec, const Value& value, bool whole) {
  if (!value.is_number() || (whole && !value.is_integer())) return false;
  const double max = effective_max(spec);
  return value.number >= effective_min(spec) &&
         (spec.below_max ? value.number < max : value.number <= max);
}

bool fits(const ParamSpec& spec, const Value& value) {
  using Type = ParamSpec::Type;
  const auto all_fit = [&](bool whole) {
    return value.is_list() &&
           std::all_of(value.items.begin(), value.items.end(),
                       [&](const Value& item) { return number_fits(spec, item, whole); });
  };
  switch (spec.type) {
    case Type::kInteger:
      return number_fits(spec, value, true);
    case Type::kNumber:
      return number_fits(spec, value, false);
    case Type::kBool:
      return value.kind == Value::Kind::kBool;
    case Type::kString:
      return value.is_string();
    case Type::kFile:
      return value.is_string() && !value.text.empty();
    case Type::kChoice:
      return value.is_string() &&
             std::find(spec.choices.begin(), spec.choices.end(), value.text) != spec.choices.end();
    case Type::kIntegerList:
      return all_fit(true);
    case Type::kNumberList:
      return all_fit(false);
    case Type::kAny:
      break;
  }
  return true;
}

Value list_from_text(std::string_view text) {
  Value list;
  list.kind = Value::Kind::kList;
  if (!text.empty() && text.front() == '[') text = text.substr(1, text.size() - 2);
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const auto number = parse_number(text.substr(0, comma));
    KV_CHECK(number.has_value(), "default list '{}'", text);
    list.items.push_back(Value::of(*number));
    text = text.substr(std::min(comma + 1, text.size()));
  }
  return list;
}

// The default as a table writes it. Wrong tables are our bug.
Value default_value(const ParamSpec& spec) {
  using Type = ParamSpec::Type;
  const std::string& text = spec.default_text;
  if (text == "null") return {};
  switch (spec.type) {
    case Type::kInteger:
    case Type::kNumber: {
      const auto number = parse_number(text);
      KV_CHECK(number.has_value(), "parameter {} default '{}'", spec.name, text);
      return Value::of(*number);
    }
    case Type::kBool:
      KV_CHECK(text == "true" || text == "false", "parameter {} default '{}'", spec.name, text);
      return Value::of(text == "true");
    case Type::kIntegerList:
    case Type::kNumberList:
      return list_from_text(text);
    case Type::kString:
    case Type::kFile:
    case Type::kChoice:
    case Type::kAny:
      break;
  }
  return Value::of(text);
}

// "v1.yaml:14: compressors[2]: snapkv: " or what of it is known.
std::string prefix(const Value& value, const Value& map, const std::string& what) {
  const std::string& place = value.place.empty() ? map.place : value.place;
  return (place.empty() ? "" : place + ": ") + (what.empty() ? "" : what + ": ");
}

void check_keys(const Value& map, const std::vector<ParamSpec>& table, const std::string& what,
                const std::vector<std::string>& ignore) {
  std::vector<std::string> known;
  for (const ParamSpec& spec : table) known.push_back(spec.name);
  for (const auto& [key, value] : map.entries) {
    if (std::find(ignore.begin(), ignore.end(), key) != ignore.end()) continue;
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw_usage("{}unknown key '{}'{}{}", prefix(value, map, what), key, did_you_mean(key, known),
                known.empty() ? "; it takes no parameters"
                              : fmt::format(" (known: {})", fmt::join(known, ", ")));
  }
}

}  // namespace

Value::Value() = default;

Value Value::of(bool b) {
  Value v;
  v.kind = Kind::kBool;
  v.boolean = b;
  return v;
}

Value Value::of(double n) {
  Value v;
  v.kind = Kind::kNumber;
  v.number = n;
  return v;
}

Value Value::of(std::string t) {
  Value v;
  v.kind = Kind::kString;
  v.text = std::move(t);
  return v;
}

bool Value::is_integer() const {
  return is_number() && std::floor(number) == number && std::abs(number) < kLargestExact;
}

const Value* Value::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string Value::describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing (null)";
    case Kind::kBool:
      return boolean ? "true" : "false";
    case Kind::kNumber:
      return fmt::format("the number {}", number);
    case Kind::kString:
      return fmt::format("the string '{}'", text);
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "?";
}

std::string format_number(double value) {
  if (value == 0) return "0";  // also -0: one canonical form
  return fmt::format("{}", value);
}

std::optional<double> parse_number(std::string_view text) {
  // from_chars also takes inf and nan, which are words here.
  const std::string_view digits = text.substr(!text.empty() && text[0] == '-' ? 1 : 0);
  if (digits.empty() ||
      (std::isdigit(static_cast<unsigned char>(digits[0])) == 0 && digits[0] != '.')) {
    return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string format_value(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull:
      break;
    case Value::Kind::kBool:
      return value.boolean ? "true" : "false";
    case Value::Kind::kNumber:
      return format_number(value.number);
    case Value::Kind::kString:
      return is_word(value.text) ? value.text : in_quotes(value.text);
    case Value::Kind::kMap:
      return format_map(value);
    case Value::Kind::kList: {
      std::string out = "[";
      for (size_t i = 0; i < value.items.size(); ++i) {
        if (i > 0) out += ',';
        out += format_value(value.items[i]);
      }
      return out + "]";
    }
  }
  throw_usage("{}null has no place in a spec; leave the key out",
              value.place.empty() ? "" : value.place + ": ");
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string wanted = lower(word);
  const std::string* best = nullptr;
  int best_distance = std::max<int>(1, static_cast<int>(word.size()) / 3) + 1;
  for (const std::string& candidate : known) {
    const std::string other = lower(candidate);
    int distance = edit_distance(wanted, other);
    // An abbreviation or a longer form: `win`, `window_size`.
    const size_t shorter = std::min(wanted.size(), other.size());
    if (shorter >= 3 && wanted.compare(0, shorter, other, 0, shorter) == 0)
      distance = std::min(distance, 1);
    if (distance < best_distance) {
      best_distance = distance;
      best = &candidate;
    }
  }
  return best == nullptr ? "" : fmt::format("; did you mean '{}'?", *best);
}

Params Params::read(const Value& map, const std::vector<ParamSpec>& table, const std::string& what,
                    const std::vector<std::string>& ignore) {
  if (!map.is_map() && !map.is_null()) {
    throw_usage("{}expected parameters (a map), found {}", prefix(map, map, what), map.describe());
  }
  check_keys(map, table, what, ignore);
  Params params;
  for (const ParamSpec& spec : table) {
    const Value* given = map.find(spec.name);
    if (given == nullptr) {
      if (spec.required) {
        throw_usage("{}'{}' is missing: expected {} ({})", prefix(map, map, what), spec.name,
                    expected_text(spec), spec.doc);
      }
      params.values_.emplace_back(spec, default_value(spec));
      continue;
    }
    const bool null_allowed = given->is_null() && spec.default_text == "null";
    if (!null_allowed && (given->is_null() || !fits(spec, *given))) {
      std::string hint;
      if (spec.type == ParamSpec::Type::kChoice && given->is_string()) {
        hint = did_you_mean(given->text, spec.choices);
      }
      throw_usage("{}'{}' must be {}, found {}{}", prefix(*given, map, what), spec.name,
                  expected_text(spec), given->describe(), hint);
    }
    params.values_.emplace_back(spec, *given);
    params.given_.push_back(spec.name);
  }
  return params;
}

const Value& Params::at(std::string_view name) const {
  for (const auto& [spec, value] : values_) {
    if (spec.name == name) return value;
  }
  KV_CHECK(false, "no parameter '{}' in the table", name);
  return values_.front().second;
}

bool Params::given(std::string_view name) const {
  return std::find(given_.begin(), given_.end(), name) != given_.end();
}

bool Params::is_null(std::string_view name) const {
  return at(name).is_null();
}

int Params::integer(std::string_view name) const {
  const double number = at(name).number;
  KV_CHECK(at(name).is_integer() && std::abs(number) <= std::numeric_limits<int>::max(),
           "parameter {} is {}", name, at(name).describe());
  return static_cast<int>(number);
}

double Params::number(std::string_view name) const {
  KV_CHECK(at(name).is_number(), "parameter {} is {}", name, at(name).describe());
  return at(name).number;
}

bool Params::boolean(std::string_view name) const {
  KV_CHECK(at(name).kind == Value::Kind::kBool, "parameter {} is {}", name, at(name).describe());
  return at(name).boolean;
}

const std::string& Params::string(std::string_view name) const {
  KV_CHECK(at(name).is_string(), "parameter {} is {}", name, at(name).describe());
  return at(name).text;
}

std::vector<int> Params::integers(std::string_view name) const {
  std::vector<int> out;
  for (const Value& item : at(name).items) out.push_back(static_cast<int>(item.number));
  return out;
}

std::vector<double> Params::numbers(std::string_view name) const {
  std::vector<double> out;
  for (const Value& item : at(name).items) out.push_back(item.number);
  return out;
}

const Value& Params::value(std::string_view name) const {
  return at(name);
}

std::string Params::canonical(const std::vector<std::string>& leave_out) const {
  std::string out;
  for (const auto& [spec, value] : values_) {
    if (value.is_null()) continue;
    if (std::find(leave_out.begin(), leave_out.end(), spec.name) != leave_out.end()) continue;
    out += (out.empty() ? "" : ",") + spec.name + "=" + format_value(value);
  }
  return out;
}

}  // namespace kv
