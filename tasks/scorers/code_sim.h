// LongBench's code_sim_score: the first line of code in an answer beside the expected one.
#pragma once

#include <string>

namespace kv {

// Of the prediction the first line, after line feeds at its start, without a backtick, '#' or "//"
// ("" where there is none); its edit_similarity to the truth, rounded to hundredths, halves to even
// (fuzz.ratio of fuzzywuzzy 0.18.0 on difflib, / 100).
double code_similarity(const std::string& prediction, const std::string& truth);

}  // namespace kv
