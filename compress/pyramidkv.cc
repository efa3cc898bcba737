// pyramidkv: snapkv's votes, with a budget that falls with depth (arXiv 2406.02069, "PyramidKV:
// Dynamic KV Cache Compression based on Pyramidal Information Funneling").
//
// In double, w the window, L the rows of a head; round = half to even:
//   B = (w + L (1 - ratio)) - w       min = B / beta        max = 2 B - min
//   max >= L - w:  max = L - w, min = 2 B - max
//   L >= max >= min >= w:  kept in layer l = round(max - l (max - min) / (n_layers - 1))
//   else                   kept = max(1, round(L (1 - ratio))) in every layer
// What is kept includes the window. Scores and protection: snapkv.cc.
//
// Differs from the paper's code: a prompt shorter than the budgets is compressed too. Differs from
// kvpress: as snapkv does.
#include <algorithm>
#include <cmath>

#include "compress/method.h"
#include "compress/snapkv.h"
#include "compress/window_attention.h"

namespace kv {
namespace {

class PyramidKvPolicy : public SnapKvPolicy {
 public:
  PyramidKvPolicy(EvictionRules rules, const SnapKvParams& params, double beta)
      : SnapKvPolicy(std::move(rules), params, "pyramidkv"), beta_(beta) {}

 protected:
  int budget(const LayerView& view, int kv_head) const override {
    const double length = view.heads[kv_head].n_rows;
    const double window = usable_window(params_.window, view.n_tokens);
    const double mean = (window + length * (1 - rules().ratio)) - window;
    double min = mean / beta_, max = mean * 2 - min;
    if (max >= length - window) {
      max = length - window;
      min = mean * 2 - max;
    }
    double kept = length * (1 - rules().ratio);
    if (length >= max && max >= min && min >= window) {
      const double step = view.n_layers > 1 ? (max - min) / (view.n_layers - 1) : 0;
      kept = max - view.layer * step;
    }
    return std::clamp(static_cast<int>(std::nearbyint(kept)),
                      std::min(1, view.heads[kv_head].n_rows), view.heads[kv_head].n_rows);
  }

 private:
  double beta_;
};

}  // namespace

Method pyramidkv_method() {
  Method method;
  method.info.name = "pyramidkv";
  method.info.kind = "policy";
  method.info.kvpress_name = "PyramidKV";
  method.info.doc = "snapkv with more rows in the first layers than in the last ones";
  method.info.paper = "arXiv 2406.02069";
  method.info.params = snapkv_params();
  method.info.params.push_back(number_param("beta", "20", "mean over smallest budget", 1));
  method.kvpress_defaults = {{"pooling", "avg"}};
  method.kvpress_keys = {{"window_size", "window"}, {"kernel_size", "kernel"}};
  method.no_repeat = "every layer has a budget of its own";
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<PyramidKvPolicy>(
        std::move(rules), read_snapkv_params(params, "pyramidkv"), params.number("beta"));
  };
  return method;
}

}  // namespace kv
