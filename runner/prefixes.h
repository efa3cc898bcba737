// Contexts that begin alike are prefilled once as far as they agree.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/session.h"

namespace kv {

// Tokens that two contexts have in common at their beginning.
size_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b);

// Prefixes saved on the way through contexts in the order of their tokens, in which the one that
// shares most with a context stands beside it.
class SharedPrefixes {
 public:
  // Before a context: forgets what it does not begin with, and the longest of the others that it can
  // go on from; null where there is none.
  const PromptPrefix* enter(const std::vector<int32_t>& context, const KvNeeds& needs);
  // Where the prefill of the context just entered should save a prefix for `next`; 0: nowhere.
  int save_at(const std::vector<int32_t>& next, const KvNeeds& needs) const;
  void add(std::shared_ptr<const PromptPrefix> prefix);
  void clear() { prefixes_.clear(); }

 private:
  std::vector<int32_t> context_;
  std::vector<std::shared_ptr<const PromptPrefix>> prefixes_;  // of context_, rising length
};

}  // namespace kv
