// LongBench's classification_score.
#pragma once

#include <string>
#include <vector>

namespace kv {

// The classes that the prediction contains (as they are spelled, in the order of `classes`), without
// those that are only a part of the truth; 1 / their number where the truth is among them, else 0. As
// in LongBench's code a class that follows a removed one is not looked at, so that nested classes can
// halve a score.
double class_match(const std::string& prediction, const std::string& truth,
                   const std::vector<std::string>& classes);

}  // namespace kv
