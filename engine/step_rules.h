// What a method that acts at every step does, as plain numbers: which rows a query sees and which
// ones are held changes with every token. The engine carries these rules out (engine/step_rows.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace kv {

// The first `sinks` rows and the newest `window` ones; every other row is freed. Positions are those
// inside what is held, for the prompt's own tokens too.
struct RollingRules {
  int sinks = 0, window = 0;
  std::optional<double> ratio = {};  // given: window = max(1, trunc((1 - ratio) L) - sinks)
};

// After the prompt each query head has its own set: the `recent` newest rows and the `heavy` ones
// that received most attention, both as shares of the length at which scoring begins.
struct HeavyRules {
  double heavy = 0, recent = 0;
  bool prefill_scores = true;  // false: scoring begins with the first token after the prompt
};

// Every row is held; a query sees the newest `window` rows, the first `sinks` ones and `topk` blocks
// of `block` rows, chosen every `step` tokens of the prompt and then for every token by `repr` rows of
// each block.
struct BlockRules {
  int sinks = 0, window = 0, block = 0, topk = 0, repr = 0, step = 0;
  std::optional<double> ratio = {};  // given: sinks, topk and window follow from the prompt
};

struct StepRules {
  std::string spec;  // canonical
  std::variant<RollingRules, HeavyRules, BlockRules> rules;

  // True: already the prompt's own attention follows the rules, so that it needs its own prefill.
  bool acts_on_prompt() const { return !std::holds_alternative<HeavyRules>(rules); }
};

using StepPtr = std::shared_ptr<const StepRules>;

}  // namespace kv
