#include "tasks/scorers/code_sim.h"

#include <cmath>

#include "tasks/scorers/edit_sim.h"

namespace kv {
namespace {

std::string first_code_line(const std::string& text) {
  size_t begin = std::min(text.find_first_not_of('\n'), text.size());
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const bool code =
        line.find_first_of("`#") == std::string::npos && line.find("//") == std::string::npos;
    if (code) return line;
    begin = end + 1;
  }
  return "";
}

}  // namespace

double code_similarity(const std::string& prediction, const std::string& truth) {
  const std::string line = first_code_line(prediction);
  if (line == truth) return 1;  // whatever difflib takes for junk
  return std::nearbyint(100 * edit_similarity(line, truth)) / 100;
}

}  // namespace kv
