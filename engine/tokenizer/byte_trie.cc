#include "engine/tokenizer/byte_trie.h"

#include <algorithm>

namespace kv {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> texts) {
  std::erase_if(texts, [](const auto& text) { return text.first.empty(); });
  std::stable_sort(texts.begin(), texts.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  // Breadth first, so that children lie together. A node stands for the texts first … last - 1,
  // which share `depth` bytes.
  struct Range {
    size_t first, last, depth;
  };
  std::vector<Range> ranges = {{0, texts.size(), 0}};
  nodes_.resize(1);
  for (size_t node = 0; node < nodes_.size(); ++node) {
    const Range range = ranges[node];
    size_t at = range.first;
    for (; at < range.last && texts[at].first.size() == range.depth; ++at)
      nodes_[node].value = texts[at].second;
    nodes_[node].first_child = static_cast<int32_t>(nodes_.size());
    while (at < range.last) {
      const auto byte = static_cast<uint8_t>(texts[at].first[range.depth]);
      const size_t begin = at;
      while (at < range.last && static_cast<uint8_t>(texts[at].first[range.depth]) == byte) ++at;
      ++nodes_[node].n_children;
      nodes_.emplace_back().byte = byte;
      ranges.push_back({begin, at, range.depth + 1});
    }
  }
  root_children_.fill(-1);
  for (int i = 0; i < nodes_[kRoot].n_children; ++i) {
    const int32_t node = nodes_[kRoot].first_child + i;
    root_children_[nodes_[node].byte] = node;
  }
}

int32_t ByteTrie::child(int32_t node, uint8_t byte) const {
  if (node == kRoot) return root_children_[byte];
  const auto begin = nodes_.begin() + nodes_[node].first_child;
  const auto end = begin + nodes_[node].n_children;
  const auto found = std::lower_bound(
      begin, end, byte, [](const Node& n, uint8_t wanted) { return n.byte < wanted; });
  if (found == end || found->byte != byte) return -1;
  return static_cast<int32_t>(found - nodes_.begin());
}

}  // namespace kv
