#include "runner/longctx_fields.h"

#include "engine/error.h"

namespace kv {

LongctxFields::LongctxFields(const Value& file, const std::string& key) {
  map_ = file.is_map() ? file.find(key) : nullptr;
  if (map_ == nullptr || !map_->is_map()) {
    throw_usage("{}: expected a map under '{}', as longctx_bench's files have it, found {}",
                file.place, key, map_ == nullptr ? "nothing" : map_->describe());
  }
}

const Value* LongctxFields::find(const std::string& key) {
  known_.insert(key);
  const Value* value = map_->find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const Value& LongctxFields::at(const std::string& key) {
  const Value* value = find(key);
  if (value == nullptr) throw_usage("{}: '{}' is missing", place(), key);
  return *value;
}

std::string LongctxFields::text(const std::string& key) {
  const Value& value = at(key);
  if (!value.is_string())
    throw_usage("{}: expected a string, found {}", value.place, value.describe());
  return value.text;
}

double LongctxFields::number(const std::string& key) {
  const Value& value = at(key);
  if (!value.is_number())
    throw_usage("{}: expected a number, found {}", value.place, value.describe());
  return value.number;
}

int LongctxFields::whole(const std::string& key, int least) {
  const Value& value = at(key);
  if (!value.is_integer() || value.number < least || value.number > 2147483647) {
    throw_usage("{}: expected a whole number from {}, found {}", value.place, least,
                value.describe());
  }
  return static_cast<int>(value.number);
}

bool LongctxFields::truth(const std::string& key) {
  const Value& value = at(key);
  if (value.kind != Value::Kind::kBool)
    throw_usage("{}: expected true or false, found {}", value.place, value.describe());
  return value.boolean;
}

void LongctxFields::expect(const std::string& key, const Value& value, const std::string& reason) {
  const Value& found = at(key);
  const bool same = found.kind == value.kind && found.boolean == value.boolean &&
                    found.number == value.number && found.text == value.text;
  if (!same) {
    throw_usage("{}: expected {}, found {}: {}", found.place, value.describe(), found.describe(),
                reason);
  }
}

void LongctxFields::ignore(const std::vector<std::string>& keys) {
  known_.insert(keys.begin(), keys.end());
}

void LongctxFields::done() const {
  for (const auto& [key, value] : map_->entries) {
    if (known_.count(key) > 0) continue;
    throw_usage("{}: unknown key{}; a result could depend on it", value.place,
                did_you_mean(key, {known_.begin(), known_.end()}));
  }
}

}  // namespace kv
