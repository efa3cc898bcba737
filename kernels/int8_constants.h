// What the scalar and the vector definitions of to_int8 share.
#pragma once

namespace kv {

// A group whose largest magnitude is below counts as zeros: 127 divided by it stays finite above.
inline constexpr float kInt8Smallest = 1e-30f;

}  // namespace kv
