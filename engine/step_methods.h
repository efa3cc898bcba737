// The methods behind step_rows.h, one file each.
#pragma once

#include <memory>

#include "engine/model_config.h"
#include "engine/step_rows.h"

namespace kv {

// Rules that act on the prompt: no rows yet, of a prompt of n_prompt tokens.
std::unique_ptr<StepRows> make_rolling_rows(const ModelConfig& config, const CodecPtr& codec,
                                            const StepPtr& rules, int n_prompt);
std::unique_ptr<StepRows> make_block_rows(const ModelConfig& config, const CodecPtr& codec,
                                          const StepPtr& rules, int n_prompt);

}  // namespace kv
