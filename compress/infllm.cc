// InfLLM (arXiv 2402.04617): all rows stay, a query looks at sinks, a few blocks and a window.
//
// The rows between sinks and window form blocks of `block` rows. For a step of the prompt (`step`
// tokens) and then for every token, the `topk` blocks whose representatives match the mean query are
// looked up; what is not local stands at one far distance. The rules in full: engine/block_rows.cc.
//
//   ratio=r: total = trunc((1 - r) L), sinks = trunc(0.021 total), topk = trunc(0.324 total) div block,
//            window = max(step, total - sinks - topk block), as longctx_bench sets them
//
// It bounds what is attended to, not what is stored: every row counts as stored, and so do the
// representatives and the attention that the newest rows received (float32).
// Differs from longctx_bench's code in: a sum over tokens and a mean is taken in float64; pieces of
// 8,192 tokens and a last prompt token fed alone do not exist.
#include "compress/method.h"
#include "engine/error.h"

namespace kv {
namespace {

StepPtr make_infllm(const Params& params, const std::string& spec) {
  const BlockRules rules{params.integer("sinks"), params.integer("window"), params.integer("block"),
                         params.integer("topk"),  params.integer("repr"),   params.integer("step"),
                         step_ratio(params)};
  if (rules.repr > rules.block) {
    const std::string& place = params.value("repr").place;
    throw_usage("{}{}infllm: 'repr' must be at most 'block' ({}), found {}", place,
                place.empty() ? "" : ": ", rules.block, rules.repr);
  }
  return std::make_shared<const StepRules>(StepRules{spec, rules});
}

}  // namespace

Method infllm_method() {
  Method method;
  method.info.name = "infllm";
  method.info.kind = "policy";
  method.info.doc = "all rows stay; a query sees sinks, the blocks that match it and a window";
  method.info.paper = "arXiv 2402.04617";
  method.info.params = {
      integer_param("sinks", "128", "first rows that every query sees", 0),
      integer_param("window", "4096", "newest rows that a query sees, its own included", 1),
      integer_param("block", "128", "rows of a block", 1),
      integer_param("topk", "16", "blocks that are looked up", 0),
      integer_param("repr", "4", "rows whose mean key represents a block", 1),
      integer_param("step", "512", "prompt tokens that choose their blocks together", 1)};
  method.make_step = make_infllm;
  add_step_ratio(method, "share of the prompt that is NOT looked at; sets sinks, window and topk",
                 {"sinks", "window", "topk"});
  return method;
}

}  // namespace kv
