#include "runner/compressor_labels.h"

#include <algorithm>
#include <vector>

#include "compress/spec.h"
#include "engine/error.h"

namespace kv {
namespace {

struct Compressor {
  std::string spec;
  std::vector<Value> terms;  // empty: not of today's grammar
};

Compressor parse(const std::string& spec) {
  try {
    return {spec, parse_spec(spec, "spec")};
  } catch (const Error&) {
    return {spec, {}};  // a record of another build goes by its full text
  }
}

std::string name_of(const Value& term) {
  return term.entries.front().second.text;
}

bool same_names(const Compressor& a, const Compressor& b) {
  return std::equal(
      a.terms.begin(), a.terms.end(), b.terms.begin(), b.terms.end(),
      [](const Value& one, const Value& other) { return name_of(one) == name_of(other); });
}

// "" where the term does not have it.
std::string parameter(const Value& term, const std::string& key) {
  const Value* value = term.find(key);
  return value == nullptr || value->is_null() ? "" : format_value(*value);
}

// One ratio is in the tables' own column; of several only their product is.
int terms_with_ratio(const Compressor& compressor) {
  return static_cast<int>(
      std::count_if(compressor.terms.begin(), compressor.terms.end(),
                    [](const Value& term) { return term.find("ratio") != nullptr; }));
}

std::string label(const Compressor& compressor, const std::string& short_name,
                  const std::vector<Compressor>& group) {
  const bool comparable = std::all_of(group.begin(), group.end(), [&](const Compressor& other) {
    return !other.terms.empty() && same_names(compressor, other);
  });
  if (!comparable) return group.size() == 1 ? short_name : compressor.spec;
  std::vector<Value> terms;
  bool any = false;
  for (size_t t = 0; t < compressor.terms.size(); ++t) {
    const Value& term = compressor.terms[t];
    terms.push_back(term);
    std::erase_if(terms.back().entries, [&](const auto& entry) {
      const std::string& key = entry.first;
      if (key == "name") return false;
      if (key == "ratio" && terms_with_ratio(compressor) == 1) return true;
      return std::all_of(group.begin(), group.end(), [&](const Compressor& other) {
        return parameter(other.terms[t], key) == parameter(term, key);
      });
    });
    any = any || terms.back().entries.size() > 1;
  }
  return any ? format_spec(terms) : short_name;
}

}  // namespace

std::map<std::string, std::string> compressor_labels(
    const std::map<std::string, std::string>& short_names) {
  std::map<std::string, std::vector<Compressor>> groups;
  for (const auto& [spec, name] : short_names) groups[name].push_back(parse(spec));
  std::map<std::string, std::string> labels;
  for (const auto& [name, group] : groups) {
    for (const Compressor& compressor : group) {
      labels[compressor.spec] = label(compressor, name, group);
    }
  }
  return labels;
}

}  // namespace kv
