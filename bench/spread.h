// The least, the middle and the most of what was measured.
#pragma once

#include <algorithm>
#include <vector>

namespace kv {

struct Spread {
  double least, median, most;
};

// Of at least one value; of an even number the larger of the two in the middle.
inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

}  // namespace kv
