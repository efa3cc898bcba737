// Softmax over any number of scores.
#pragma once

namespace kv {

// In place: x (n) -> exp(x - max x) / sum, by blocks of kAttnBlock that are brought together at the
// end; the same bits on every instruction set. x[n .. next multiple of kLanes) must be writable and
// becomes 0. Nothing happens where n is 0.
void softmax(float* x, int n);

}  // namespace kv
