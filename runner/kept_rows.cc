#include "runner/kept_rows.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace kv {
namespace {

constexpr const char* kDigits = "0123456789abcdef";
constexpr int kAll = 15;

char digit_of(int64_t kept, int64_t all) {
  if (kept == 0) return kDigits[0];
  if (kept == all) return kDigits[kAll];
  const double share = static_cast<double>(kept) / static_cast<double>(all);
  return kDigits[std::clamp(static_cast<int>(std::lround(kAll * share)), 1, kAll - 1)];
}

// positions: rising, of one head.
std::string shares(const std::vector<int32_t>& positions, int64_t n_context) {
  const int64_t bins = std::min<int64_t>(kKeptBins, n_context);
  std::string digits;
  size_t next = 0;
  for (int64_t bin = 0; bin < bins; ++bin) {
    const int64_t begin = bin * n_context / bins, end = (bin + 1) * n_context / bins;
    const size_t first = next;
    while (next < positions.size() && positions[next] < end) ++next;
    digits += digit_of(static_cast<int64_t>(next - first), end - begin);
  }
  return digits;
}

}  // namespace

bool KeptRows::ragged() const {
  for (const auto& layer : rows) {
    for (const int64_t n : layer) {
      if (n != rows[0][0]) return true;
    }
  }
  return false;
}

KeptRows kept_rows(const std::vector<std::vector<std::vector<int32_t>>>& positions,
                   int64_t n_context) {
  KeptRows result;
  for (const auto& layer : positions) {
    result.rows.emplace_back();
    result.share.emplace_back();
    for (const std::vector<int32_t>& head : layer) {
      result.rows.back().push_back(static_cast<int64_t>(head.size()));
      result.share.back().push_back(shares(head, n_context));
    }
  }
  return result;
}

double kept_share(char digit) {
  const char* at = std::find(kDigits, kDigits + kAll + 1, digit);
  if (at == kDigits + kAll + 1) throw_data("'{}' is no hex digit of kept rows", digit);
  return static_cast<double>(at - kDigits) / kAll;
}

}  // namespace kv
