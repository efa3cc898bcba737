#include "tasks/task.h"

namespace kv {

void add_length_note(Sample& sample, const TextTools& tools) {
  const size_t n_tokens = sample.context_ids.size() + sample.continuation_ids.size();
  if (tools.max_position <= 0 || n_tokens <= static_cast<size_t>(tools.max_position)) return;
  sample.meta["note"] = fmt::format("{} tokens; the model's configuration names {} positions",
                                    n_tokens, tools.max_position);
}

}  // namespace kv
