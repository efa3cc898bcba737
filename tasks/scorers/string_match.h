// Which of the expected strings an answer contains: RULER's scores (arXiv 2404.06654).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kv {

// Share of the expected strings that the answer contains, both in lower case (ASCII), the answer
// without control characters (below 0x20). expected: not empty. 0 .. 1; RULER prints per cent.
double string_match(std::string_view answer, const std::vector<std::string>& expected);

}  // namespace kv
