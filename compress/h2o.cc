// H2O, heavy hitters (arXiv 2306.14048): rows that received much attention stay, and the newest.
//
//   sizes:   hb = trunc(heavy n), rb = trunc(recent n), n the length when scoring begins
//   score:   per query head, the softmax weights that a row received so far, summed; the prompt's own
//            included (prefill_scores)
//   step:    where n > hb + rb, a query head keeps the newest rb rows, the hb best of the others and
//            the next token's
//   ratio=r: heavy = recent = (1 - r) / 2
//
// Every query head has a set of its own. A row is freed when no query head of its group keeps it, so
// that memory falls by less than heavy + recent say; mask bits and scores count as bytes.
// Differs from longctx_bench's code in: rows leave, there they are masked, so that a row given up can
// return there where fewer than hb others have a score; with recent=0 the heavy ones alone stay, there
// a slice from -0 keeps everything; heavy + recent below one row keeps the newest.
// `prefill_scores=false` is its flash variant: the whole prompt stays until the first token after it.
#include "compress/method.h"

namespace kv {
namespace {

StepPtr make_h2o(const Params& params, const std::string& spec) {
  HeavyRules rules{params.number("heavy"), params.number("recent"),
                   params.boolean("prefill_scores")};
  if (const auto ratio = step_ratio(params)) rules.heavy = rules.recent = (1.0 - *ratio) / 2;
  return std::make_shared<const StepRules>(StepRules{spec, rules});
}

double removed(const Params& params) {
  return step_ratio(params).value_or(
      std::max(0.0, 1.0 - params.number("heavy") - params.number("recent")));
}

}  // namespace

Method h2o_method() {
  Method method;
  method.info.name = "h2o";
  method.info.kind = "policy";
  method.info.doc = "at every step, the rows that received most attention and the newest";
  method.info.paper = "arXiv 2306.14048";
  method.info.params = {
      number_param("heavy", "0.0625", "share of the length kept for attention received", 0, 1),
      number_param("recent", "0.0625", "share of the length kept as newest", 0, 1),
      bool_param("prefill_scores", "true",
                 "the prompt's own attention counts; false: from the first token after it")};
  method.make_step = make_h2o;
  add_step_ratio(method, "share of the rows REMOVED; sets heavy and recent to half the rest each",
                 {"heavy", "recent"});
  method.nominal_ratio = removed;
  return method;
}

}  // namespace kv
