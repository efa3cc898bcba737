// The smallest and the largest of some values.
#pragma once

namespace kv {

// Both are NaN where one of the values is; inf and -inf for none.
struct ValueRange {
  float lo = 0, hi = 0;
};
ValueRange value_range(const float* x, int n);

}  // namespace kv
