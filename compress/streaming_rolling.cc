// StreamingLLM as its paper runs it (arXiv 2309.17453): attention sinks and a rolling window.
//
//   held by a head:  rows 0 .. sinks - 1 and the newest `window` ones; all others are freed
//   token t sees:    rows t - window + 1 .. t, and the sinks that lie before them
//   positions:       those inside what is held, 0 .. sinks + window - 1, at every step and for the
//                    prompt's tokens too; a sink stands sinks + window - 1 - j before the query
//   ratio=r:         window = max(1, trunc((1 - r) L) - sinks), L the prompt's length
//
// `streamingllm` is the other form: the whole prompt is read, then cut once.
// Differs from longctx_bench's code in: rows leave after every token of the prompt, not after every
// piece of 8,192 tokens, which changes no result; the rules are the engine's (engine/rolling_rows.cc).
#include "compress/method.h"

namespace kv {
namespace {

StepPtr make_rolling(const Params& params, const std::string& spec) {
  const RollingRules rules{params.integer("sinks"), params.integer("window"), step_ratio(params)};
  return std::make_shared<const StepRules>(StepRules{spec, rules});
}

}  // namespace

Method streaming_rolling_method() {
  Method method;
  method.info.name = "streaming_rolling";
  method.info.kind = "policy";
  method.info.doc = "the first and the newest rows at every step, positions inside the cache";
  method.info.paper = "arXiv 2309.17453";
  method.info.params = {
      integer_param("sinks", "4", "first rows that always stay", 0),
      integer_param("window", "1020", "newest rows that stay, the token's own included", 1)};
  method.make_step = make_rolling;
  add_step_ratio(method, "share of the prompt's rows REMOVED; sets window", {"window"});
  return method;
}

}  // namespace kv
