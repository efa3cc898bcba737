// think: channels of the keys that queries hardly use count as 0 (ThinK, arXiv 2407.21018, "ThinK:
// Thinner Key Cache by Query-Driven Pruning").
//
// For each KV head and channel d, keys and queries after RoPE:
//   a_d = mean over the query heads of the group of the mean of q_d^2 over the last `window` queries
//   b_d = mean of K_d^2 over the rows
//   the trunc(head_dim * ratio) channels of the smallest a_d b_d are dropped; the lower one among
//   equals
//
// Dropped are rotated channels of the rows that are there when the policy acts; later rows keep all.
// A rotated channel mixes two stored ones, so no byte is saved: the mask itself counts (one bit for
// each channel and head).
//
// unit=pair, our own: RoPE turns channel d with its partner only, so of the trunc(head_dim * ratio / 2)
// pairs with the smallest a_d b_d + a_partner b_partner neither channel is stored. Same share of
// channels, real bytes.
//
// Differs from the paper: the recent keys lose their channels too (as in kvpress).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"
#include "compress/method.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

class ThinkPolicy : public KvPolicy {
 public:
  ThinkPolicy(std::string spec, double ratio, int window, bool pairs)
      : spec_(std::move(spec)), ratio_(ratio), window_(window), pairs_(pairs) {}

  std::string spec() const override { return spec_; }

  KvNeeds needs(int n_tokens) const override {
    if (ratio_ == 0) return {};
    return {.window_queries = std::min(window_, n_tokens), .keys = true};
  }

  void check_model(const ModelShape& shape) const override {
    if (!pairs_ || shape.rotary_dim > 0) return;
    throw_usage("{}: unit=pair drops pairs of RoPE, and this model has none; expected unit=channel",
                spec_);
  }

  bool narrows_keys() const override { return pairs_ && ratio_ > 0; }

  LayerKeep select(const LayerView& view) const override {
    LayerKeep keep;
    for (const LayerView::HeadRows& head : view.heads) {
      std::vector<int32_t>& rows = keep.rows.emplace_back(head.n_rows);
      std::iota(rows.begin(), rows.end(), 0);
    }
    // Units: channels, or the pairs of RoPE; a model may leave the last channels unpaired.
    const int half = static_cast<int>(view.inv_freq.size());
    const int n_units = pairs_ ? half : view.head_dim;
    const int n_dropped =
        pairs_ ? std::min(static_cast<int>(view.head_dim * ratio_ / 2), std::max(0, half - 1))
               : static_cast<int>(view.head_dim * ratio_);
    if (n_dropped == 0) return keep;
    std::vector<std::vector<uint8_t>>& dropped =
        pairs_ ? keep.removed_channels : keep.dropped_channels;
    dropped.resize(view.heads.size());
    parallel_for(view.n_kv_heads, [&](int64_t h) {
      std::vector<double> use = channel_use(view, static_cast<int>(h));
      for (int i = 0; pairs_ && i < half; ++i) use[i] += use[i + half];
      std::vector<int> order(n_units);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return use[a] < use[b]; });
      dropped[h].assign(view.head_dim, 0);
      for (int i = 0; i < n_dropped; ++i) {
        dropped[h][order[i]] = 1;
        if (pairs_) dropped[h][order[i] + half] = 1;
      }
    });
    return keep;
  }

 private:
  // a_d b_d.
  static std::vector<double> channel_use(const LayerView& view, int kv_head) {
    const int dim = view.head_dim, group = view.n_heads / view.n_kv_heads;
    const LayerView::HeadRows& head = view.heads[kv_head];
    std::vector<double> queries(dim, 0.0), use(dim, 0.0);
    const float* q =
        view.window_queries + static_cast<int64_t>(kv_head) * group * view.n_window * dim;
    for (int i = 0; i < group * view.n_window; ++i, q += dim) {
      for (int d = 0; d < dim; ++d) queries[d] += static_cast<double>(q[d]) * q[d];
    }
    for (int r = 0; r < head.n_rows; ++r) {
      const float* key = head.keys + static_cast<int64_t>(r / kTile) * dim * kTile + r % kTile;
      for (int d = 0; d < dim; ++d) {
        use[d] += static_cast<double>(key[d * kTile]) * key[d * kTile];
      }
    }
    const double n_queries = static_cast<double>(group) * view.n_window;
    for (int d = 0; d < dim; ++d) use[d] = queries[d] / n_queries * (use[d] / head.n_rows);
    return use;
  }

  std::string spec_;
  double ratio_;
  int window_;
  bool pairs_;
};

PolicyPtr make_think(const Params& params, const std::string& spec) {
  return std::make_shared<ThinkPolicy>(spec, params.number("ratio"), params.integer("window"),
                                       params.string("unit") == "pair");
}

}  // namespace

Method think_method() {
  Method method;
  method.info.name = "think";
  method.info.kind = "policy";
  method.info.kvpress_name = "ThinK";
  method.info.doc = "channels of the keys that the last queries hardly use count as 0";
  method.info.paper = "arXiv 2407.21018";
  ParamSpec ratio = number_param("ratio", "", "share of the key CHANNELS dropped", 0, 1);
  ratio.below_max = true;
  ratio.required = true;
  method.info.params = {
      ratio, integer_param("window", "32", "last prompt tokens that decide", 1),
      choice_param("unit", "channel", "what is dropped: channel or pair", {"channel", "pair"})};
  method.kvpress_keys = {{"key_channel_compression_ratio", "ratio"}, {"window_size", "window"}};
  method.make_transform = make_think;
  // Half of the cache are keys.
  method.nominal_ratio = [](const Params& params) { return params.number("ratio") / 2; };
  return method;
}

}  // namespace kv
