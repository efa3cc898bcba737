#include "engine/step_rows.h"

#include "engine/error.h"
#include "engine/heavy_rows.h"
#include "engine/step_methods.h"

namespace kv {

std::unique_ptr<StepRows> make_step_rows(const ModelConfig& config, const CodecPtr& codec,
                                         const StepPtr& rules, int n_prompt) {
  KV_CHECK(rules->acts_on_prompt() && !codec->stores_rotated_keys() && !codec->keeps_residual());
  if (std::holds_alternative<RollingRules>(rules->rules))
    return make_rolling_rows(config, codec, rules, n_prompt);
  return make_block_rows(config, codec, rules, n_prompt);
}

std::unique_ptr<StepRows> make_empty_step_rows(const ModelConfig& config, const CodecPtr& codec,
                                               const StepPtr& rules) {
  if (std::holds_alternative<HeavyRules>(rules->rules))
    return std::make_unique<HeavyRows>(config, codec, rules, std::vector<double>(), 0);
  return make_step_rows(config, codec, rules, 1);
}

}  // namespace kv
