// What a piece of work complains of.
#pragma once

#include <string>

#include "engine/error.h"

namespace kv {

// The message of the Error that `work` throws; "" where it throws none.
template <typename Work>
std::string error_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace kv
