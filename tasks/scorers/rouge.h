// ROUGE-L as the Python package `rouge` 1.0.1 computes it, which LongBench scores summaries with.
#pragma once

#include <string>

namespace kv {

// The F value. Both texts are cut at every '.' into sentences (empty ones dropped) and at white space
// into words, case kept. For every sentence of the reference and every one of the hypothesis one
// longest common subsequence is walked back through its table; the words of all of them make one set.
//
//   L = size of that set, p = L / distinct words of the hypothesis, r = L / those of the reference
//   F = 2 p r / (p + r + 1e-8)
//
// Repeats count once and the order of sentences hardly matters; other ROUGE packages disagree. A text
// without sentences gives 0. The package walks by recursion and gives up where two sentences together
// have more than about a thousand words, which LongBench scores as 0; here they are scored.
double rouge_l(const std::string& hypothesis, const std::string& reference);

}  // namespace kv
