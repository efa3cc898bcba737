// Comparisons of an answer with a free text, as retrieval benchmarks use them.
#pragma once

#include <string>
#include <string_view>

namespace kv {

// Lower case, without ASCII punctuation, without the words a, an and the, white space collapsed to
// single spaces: SQuAD's normalisation (arXiv 1606.05250).
std::string normalize_answer(std::string_view text);

// Length in bytes of the longest run of bytes that both texts contain.
size_t longest_common_substring(std::string_view a, std::string_view b);

}  // namespace kv
