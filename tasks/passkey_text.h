// The words around a passkey's background, as longctx_bench has them.
#pragma once

#include <string>

namespace kv {

inline constexpr const char* kPasskeyInstruction =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I "
    "will quiz you about the important information there.\n";
inline constexpr const char* kPasskeyQuestion = "\nWhat is the pass key? The pass key is ";

inline std::string passkey_needle(const std::string& key) {
  return "The pass key is " + key + ". Remember it. " + key + " is the pass key.";
}

}  // namespace kv
