#include "tasks/scorers/string_match.h"

#include "engine/error.h"

namespace kv {
namespace {

std::string lower_case(std::string_view text) {
  std::string lower;
  for (const char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

}  // namespace

double string_match(std::string_view answer, const std::vector<std::string>& expected) {
  KV_CHECK(!expected.empty());
  std::string plain;
  for (const char c : lower_case(answer)) {
    if (static_cast<unsigned char>(c) >= 0x20) plain += c;
  }
  size_t found = 0;
  for (const std::string& one : expected) {
    if (plain.find(lower_case(one)) != std::string::npos) ++found;
  }
  return static_cast<double>(found) / static_cast<double>(expected.size());
}

}  // namespace kv
