// LongBench's retrieval_score and count_score: which numbers an answer names.
#pragma once

#include <optional>
#include <string>

namespace kv {

// Of the runs of digits in the text the share that reads `wanted`, digit for digit ("07" is not "7");
// 0 where there is none.
double share_of_numbers(const std::string& text, const std::string& wanted);

// The digits after the first "Paragraph " that has some; nothing where there is none.
std::optional<std::string> paragraph_number(const std::string& text);

}  // namespace kv
