// For tests of specs: what a text becomes, and what a refusal says.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "compress/registry.h"
#include "engine/error.h"

namespace kv {

inline CompressorSpec one(const std::string& text) {
  const auto specs = parse_compressors(text, "test");
  EXPECT_EQ(specs.size(), 1u) << text;
  return specs.at(0);
}

inline std::string canonical(const std::string& text) {
  return one(text).canonical;
}

// What fn throws, which must be a usage error; "no error" where it throws nothing.
template <typename Fn>
std::string message_of(const Fn& fn) {
  try {
    fn();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_status(), 2);
    return e.what();
  }
  return "no error";
}

// The message without the place.
inline std::string refusal(const std::string& text) {
  const std::string message = message_of([&] { parse_compressors(text, "t"); });
  const size_t end = message.find("': ");
  return message.starts_with("t: column ") && end != std::string::npos ? message.substr(end + 3)
                                                                       : message;
}

}  // namespace kv
