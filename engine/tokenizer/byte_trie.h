// A read-only trie over bytes: texts -> numbers, walked one byte at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace kv {

class ByteTrie {
 public:
  static constexpr int32_t kRoot = 0;

  // Texts without bytes are left out; of equal texts the last one's number stays. Numbers are not
  // negative.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> texts);

  int32_t child(int32_t node, uint8_t byte) const;                  // -1: no text goes on like this
  int32_t value(int32_t node) const { return nodes_[node].value; }  // -1: no text ends here

 private:
  struct Node {
    int32_t first_child = 0;  // the children lie side by side, in the order of their bytes
    int32_t value = -1;
    uint16_t n_children = 0;
    uint8_t byte = 0;  // that leads here
  };
  std::vector<Node> nodes_;
  std::array<int32_t, 256> root_children_;
};

}  // namespace kv
