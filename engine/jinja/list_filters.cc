// Filters that work through the items of a list, a string or a dict.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/jinja/builtins.h"
#include "engine/jinja/filter_table.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

Value length(const Value& input, ArgumentReader&) {
  if (input.is_string()) return length_of_text(input.string());
  if (input.is_dict()) return static_cast<int64_t>(input.entries().entries.size());
  if (input.is_sequence()) return static_cast<int64_t>(input.items().size());
  if (input.is_undefined()) return int64_t{0};
  fail(fmt::format("filter 'length': a {} has none", input.type_name()));
}

Value first(const Value& input, ArgumentReader&) {
  const List items = iterate(input);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last(const Value& input, ArgumentReader&) {
  const List items = iterate(input);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value reversed(const Value& input, ArgumentReader&) {
  List items = iterate(input);
  std::reverse(items.begin(), items.end());
  if (!input.is_string()) return Value::list(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.string();
  return text;
}

Value join(const Value& input, ArgumentReader& arguments) {
  const Value* separator = arguments.next("d");
  const Value* attribute = arguments.next("attribute");
  TextBuilder out;
  bool is_first = true;
  for (const Value& item : iterate(input)) {
    if (!is_first && separator != nullptr) out += separator->str();
    out += attribute == nullptr ? item.str() : get_path(item, attribute->str()).str();
    is_first = false;
  }
  return out.take();
}

Value pairs(const Value& input, ArgumentReader&) {
  if (input.is_undefined()) return Value::list({});
  if (!input.is_dict())
    fail(fmt::format("filter 'items': expected a dict, found {}", input.type_name()));
  List out;
  for (const auto& [key, value] : input.entries().entries)
    out.push_back(Value::tuple({key, value}));
  return Value::list(std::move(out));
}

// What sorting compares: text without its case unless asked otherwise.
Value sort_key(const Value& item, bool case_sensitive) {
  return item.is_string() && !case_sensitive ? Value(lower_case(item.string())) : item;
}

List sort_by(List items, const std::vector<Value>& keys, bool descending) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int sign = compare(keys[a], keys[b]);
    return descending ? sign > 0 : sign < 0;
  });
  List out;
  for (const size_t i : order) out.push_back(items[i]);
  return out;
}

Value sorted(const Value& input, ArgumentReader& arguments) {
  const bool descending = arguments.flag("reverse", false);
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const Value* attribute = arguments.next("attribute");
  List items = iterate(input);
  std::vector<Value> keys;
  for (const Value& item : items) {
    keys.push_back(
        sort_key(attribute == nullptr ? item : get_path(item, attribute->str()), case_sensitive));
  }
  return Value::list(sort_by(std::move(items), keys, descending));
}

Value sorted_dict(const Value& input, ArgumentReader& arguments) {
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const std::string by = arguments.text("by", "key");
  const bool descending = arguments.flag("reverse", false);
  if (by != "key" && by != "value") fail("filter 'dictsort': by must be 'key' or 'value'");
  const Arguments empty;
  ArgumentReader none(empty, "filter 'items'");
  List items = iterate(pairs(input, none));
  std::vector<Value> keys;
  for (const Value& item : items)
    keys.push_back(sort_key(item.items()[by == "key" ? 0 : 1], case_sensitive));
  return Value::list(sort_by(std::move(items), keys, descending));
}

Value unique(const Value& input, ArgumentReader& arguments) {
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const Value* attribute = arguments.next("attribute");
  List out, seen;
  for (const Value& item : iterate(input)) {
    Value key =
        sort_key(attribute == nullptr ? item : get_path(item, attribute->str()), case_sensitive);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& v) { return equal(v, key); }))
      continue;
    seen.push_back(std::move(key));
    out.push_back(item);
  }
  return Value::list(std::move(out));
}

template <int sign>
Value extreme(const Value& input, ArgumentReader& arguments) {
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const Value* attribute = arguments.next("attribute");
  const auto key_of = [&](const Value& item) {
    return sort_key(attribute == nullptr ? item : get_path(item, attribute->str()), case_sensitive);
  };
  const List items = iterate(input);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  Value best = items[0];
  for (const Value& item : items) {
    if (compare(key_of(item), key_of(best)) * sign > 0) best = item;
  }
  return best;
}

Value sum(const Value& input, ArgumentReader& arguments) {
  const Value* attribute = arguments.next("attribute");
  const Value* start = arguments.next("start");
  int64_t integers = 0;
  double floats = 0;
  bool is_float = false;
  const auto add = [&](const Value& item) {
    if (!item.is_number())
      fail(fmt::format("filter 'sum': expected numbers, found {}", item.type_name()));
    if (item.is_integer()) {
      if (__builtin_add_overflow(integers, item.integer(), &integers))
        fail("filter 'sum': the result does not fit into 64 bits");
    } else {
      is_float = true;
      floats += item.number();
    }
  };
  if (start != nullptr) add(*start);
  for (const Value& item : iterate(input))
    add(attribute == nullptr ? item : get_path(item, attribute->str()));
  if (is_float) return floats + static_cast<double>(integers);
  return integers;
}

// Lists of `linecount` items, the last one filled up where `fill_with` is given.
Value batched(const Value& input, ArgumentReader& arguments) {
  const int64_t size = arguments.integer("linecount", 0);
  const Value* fill = arguments.next("fill_with");
  if (size < 1) fail(fmt::format("filter 'batch': expected a positive size, found {}", size));
  List out, batch;
  for (const Value& item : iterate(input)) {
    batch.push_back(item);
    if (static_cast<int64_t>(batch.size()) < size) continue;
    out.push_back(Value::list(std::move(batch)));
    batch.clear();
  }
  if (batch.empty()) return Value::list(std::move(out));
  if (fill != nullptr && size <= 100000) batch.resize(static_cast<size_t>(size), *fill);
  out.push_back(Value::list(std::move(batch)));
  return Value::list(std::move(out));
}

// The arguments that are left go to the filter or test that is named.
Arguments rest(ArgumentReader& arguments) {
  Arguments left;
  left.positional = arguments.rest_of_positions();
  for (auto& [name, value] : arguments.rest_of_names().entries)
    left.named.emplace_back(name.string(), value);
  return left;
}

Value mapped(const Value& input, ArgumentReader& arguments) {
  List out;
  const Value* attribute = arguments.next_named("attribute");
  const Value* fallback = arguments.next_named("default");
  if (attribute != nullptr) {
    for (const Value& item : iterate(input)) {
      Value part = get_path(item, attribute->str());
      out.push_back(part.is_undefined() && fallback != nullptr ? *fallback : part);
    }
    return Value::list(std::move(out));
  }
  const std::string name = arguments.required("filter").str();
  const Arguments others = rest(arguments);
  for (const Value& item : iterate(input)) out.push_back(apply_filter(name, item, others));
  return Value::list(std::move(out));
}

template <bool wanted, bool by_attribute>
Value selected(const Value& input, ArgumentReader& arguments) {
  std::string path;
  if (by_attribute) path = arguments.required("attribute").str();
  const Value* test = arguments.next("test");
  const Arguments others = rest(arguments);
  List out;
  for (const Value& item : iterate(input)) {
    const Value part = by_attribute ? get_path(item, path) : item;
    const bool holds = test == nullptr ? part.truthy() : apply_test(test->str(), part, others);
    if (holds == wanted) out.push_back(item);
  }
  return Value::list(std::move(out));
}

}  // namespace

void add_list_filters(FilterTable& table) {
  table["length"] = table["count"] = length;
  table["first"] = first;
  table["last"] = last;
  table["reverse"] = reversed;
  table["join"] = join;
  table["items"] = pairs;
  table["list"] = [](const Value& v, ArgumentReader&) { return Value::list(iterate(v)); };
  table["sort"] = sorted;
  table["dictsort"] = sorted_dict;
  table["unique"] = unique;
  table["min"] = extreme<-1>;
  table["max"] = extreme<1>;
  table["sum"] = sum;
  table["batch"] = batched;
  table["map"] = mapped;
  table["select"] = selected<true, false>;
  table["reject"] = selected<false, false>;
  table["selectattr"] = selected<true, true>;
  table["rejectattr"] = selected<false, true>;
}

}  // namespace kv::jinja
