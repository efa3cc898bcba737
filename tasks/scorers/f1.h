// F1 over the words of two answers, as SQuAD and LongBench (qa_f1_score) measure it.
#pragma once

#include <string>

namespace kv {

// Both texts normalised (normalize_answer) and cut at white space; 2 P R / (P + R) of the words that
// they share, each as often as both have it. 0 where they share none, also where both are empty.
double word_f1(const std::string& prediction, const std::string& truth);

}  // namespace kv
