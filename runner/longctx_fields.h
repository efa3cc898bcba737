// A map of one of longctx_bench's files, every key of which must be known.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/value.h"

namespace kv {

class LongctxFields {
 public:
  // map: under `key` of a file. Throws Error(kUsage) where that is no map.
  LongctxFields(const Value& file, const std::string& key);

  const std::string& place() const { return map_->place; }
  // Null where the key is absent or its value null.
  const Value* find(const std::string& key);
  const Value& at(const std::string& key);  // a missing one is an Error
  std::string text(const std::string& key);
  double number(const std::string& key);
  int whole(const std::string& key, int least);
  bool truth(const std::string& key);
  // The value must be this one; `reason` says what another one would mean.
  void expect(const std::string& key, const Value& value, const std::string& reason);
  void ignore(const std::vector<std::string>& keys);  // they change no result here
  void done() const;  // Error for the first key that nobody asked for

 private:
  const Value* map_;
  std::set<std::string> known_;
};

}  // namespace kv
