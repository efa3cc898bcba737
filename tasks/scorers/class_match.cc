#include "tasks/scorers/class_match.h"

#include <algorithm>

namespace kv {

double class_match(const std::string& prediction, const std::string& truth,
                   const std::vector<std::string>& classes) {
  std::vector<std::string> found;
  for (const std::string& one : classes) {
    if (prediction.find(one) != std::string::npos) found.push_back(one);
  }
  for (size_t i = 0; i < found.size(); ++i) {  // past the one that moves up after a removal
    const std::string one = found[i];
    if (one != truth && truth.find(one) != std::string::npos)
      found.erase(std::find(found.begin(), found.end(), one));
  }
  if (std::find(found.begin(), found.end(), truth) == found.end()) return 0;
  return 1.0 / static_cast<double>(found.size());
}

}  // namespace kv
