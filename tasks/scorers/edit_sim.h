// The similarity of two texts as Python's difflib measures it.
#pragma once

#include <string>

namespace kv {

// difflib.SequenceMatcher(None, a, b).ratio() over code points, with its autojunk rule: where b has
// 200 or more, those that are more frequent than 1 % (+ 1) start no match.
double edit_similarity(const std::string& a, const std::string& b);

}  // namespace kv
