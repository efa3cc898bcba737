#include <cstdio>
#include <nlohmann/json.hpp>

#include "runner/env.h"
#include "runner/verbs.h"

namespace kv {

int verb_env() {
  std::printf("%s\n", environment_json().dump(2).c_str());
  return 0;
}

}  // namespace kv
