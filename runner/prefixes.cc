#include "runner/prefixes.h"

#include <algorithm>

namespace kv {
namespace {

// Fewer tokens are computed again sooner than they are saved.
constexpr size_t kShortest = 32;

}  // namespace

size_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first -
      a.begin());
}

const PromptPrefix* SharedPrefixes::enter(const std::vector<int32_t>& context,
                                          const KvNeeds& needs) {
  const size_t shared = common_prefix(context_, context);
  context_ = context;
  const auto length = [](const auto& prefix) {
    return static_cast<size_t>(prefix->cache.n_tokens());
  };
  while (!prefixes_.empty() && length(prefixes_.back()) > shared) prefixes_.pop_back();
  for (auto prefix = prefixes_.rbegin(); prefix != prefixes_.rend(); ++prefix) {
    if ((*prefix)->needs == needs &&
        can_go_on(needs, (*prefix)->cache.n_tokens(), static_cast<int>(context.size())))
      return prefix->get();
  }
  return nullptr;
}

int SharedPrefixes::save_at(const std::vector<int32_t>& next, const KvNeeds& needs) const {
  const auto window = static_cast<size_t>(needs.window_queries);
  if (next.size() <= window) return 0;
  const size_t at =
      std::min({common_prefix(context_, next), next.size() - window, next.size() - 1});
  const size_t known =
      prefixes_.empty() ? 0 : static_cast<size_t>(prefixes_.back()->cache.n_tokens());
  return at >= known + kShortest ? static_cast<int>(at) : 0;
}

void SharedPrefixes::add(std::shared_ptr<const PromptPrefix> prefix) {
  if (prefix != nullptr) prefixes_.push_back(std::move(prefix));
}

}  // namespace kv
