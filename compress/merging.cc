// merging: values of evicted rows go into the kept row whose key is most like theirs (kvpress's
// MergingPress).
//
// Rows stay by the policy inside. For every evicted row e of a KV head, K after RoPE:
//   t    = the kept row with the largest cos(K_e, K_t), norms of at least 1e-6
//   w_e  = max(cos, 0) ||V_e|| / (||V_e|| + ||V_t|| + 1e-6) where cos >= threshold and, with
//          fraction < 1, cos >= the (1 - fraction) quantile of the head's cosines (linear between
//          ranks; those below the threshold count as -inf); else 0
//   V_t := (V_t + sum of w_e V_e) / (1 + sum of w_e) over the rows that chose t
// Keys stay as they are. Of equally similar rows the lower one is chosen.
#include <algorithm>
#include <cmath>

#include "compress/around.h"
#include "compress/method.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr double kEpsilon = 1e-6;
constexpr int kBlock = 64;  // evicted rows whose cosines are held at once

struct MergingParams {
  double threshold = 0;
  double fraction = 1;
};

// An evicted row and the kept one that takes its value.
struct Merge {
  int32_t row;
  int target;  // index among the kept rows
  double cosine;
};

// Unit keys (rows.size(), head_dim).
std::vector<float> unit_keys(const LayerView& view, const LayerView::HeadRows& head,
                             const std::vector<int32_t>& rows) {
  const int dim = view.head_dim;
  std::vector<float> out(rows.size() * dim);
  for (size_t i = 0; i < rows.size(); ++i) {
    const float* key =
        head.keys + static_cast<int64_t>(rows[i] / kTile) * dim * kTile + rows[i] % kTile;
    double squares = 0;
    for (int d = 0; d < dim; ++d) squares += static_cast<double>(key[d * kTile]) * key[d * kTile];
    const double norm = std::max(std::sqrt(squares), kEpsilon);
    for (int d = 0; d < dim; ++d) out[i * dim + d] = static_cast<float>(key[d * kTile] / norm);
  }
  return out;
}

// The same rows as columns of tiles (head_dim, kTile).
std::vector<float> in_tiles(const std::vector<float>& rows, int dim) {
  const size_t n = rows.size() / dim;
  std::vector<float> out((n + kTile - 1) / kTile * kTile * dim, 0.0f);
  for (size_t r = 0; r < n; ++r) {
    float* column = out.data() + r / kTile * dim * kTile + r % kTile;
    for (int d = 0; d < dim; ++d) column[d * kTile] = rows[r * dim + d];
  }
  return out;
}

// The q-quantile of values (rising), linear between ranks.
double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  const double share = at - static_cast<double>(low);
  // -inf + 0 * (x - -inf) would be no number.
  return share == 0 ? values[low] : values[low] + share * (values[high] - values[low]);
}

class MergingPolicy : public AroundPolicy {
 public:
  MergingPolicy(EvictionRules rules, const MergingParams& params)
      : AroundPolicy(std::move(rules)), params_(params) {}

  KvNeeds inputs(int n_tokens) const override {
    KvNeeds needs = AroundPolicy::inputs(n_tokens);
    needs.keys = needs.values = true;
    return needs;
  }

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    LayerKeep keep = AroundPolicy::choose(view, std::move(scored));
    keep.values.resize(view.heads.size());
    parallel_for(static_cast<int64_t>(view.heads.size()), [&](int64_t h) {
      keep.values[h] = merged_values(view, view.heads[h], keep.rows[h]);
    });
    return keep;
  }

 private:
  std::vector<Merge> merges(const LayerView& view, const LayerView::HeadRows& head,
                            const std::vector<int32_t>& kept) const {
    std::vector<int32_t> evicted;
    for (int32_t r = 0; r < head.n_rows; ++r) {
      if (!std::binary_search(kept.begin(), kept.end(), r)) evicted.push_back(r);
    }
    const int dim = view.head_dim, n_tiles = (static_cast<int>(kept.size()) + kTile - 1) / kTile;
    const std::vector<float> sources = unit_keys(view, head, evicted);
    const std::vector<float> targets = in_tiles(unit_keys(view, head, kept), dim);
    std::vector<float> cosines(static_cast<size_t>(kBlock) * n_tiles * kTile);
    std::vector<Merge> out;
    for (size_t first = 0; first < evicted.size(); first += kBlock) {
      const int n = static_cast<int>(std::min<size_t>(kBlock, evicted.size() - first));
      for (int t = 0; t < n_tiles; ++t) {
        kernels().gemm_f32(sources.data() + first * dim, dim, n, dim,
                           targets.data() + static_cast<size_t>(t) * dim * kTile, kTile,
                           cosines.data() + t * kTile, n_tiles * kTile, false);
      }
      for (int e = 0; e < n; ++e) {
        const float* row = cosines.data() + static_cast<size_t>(e) * n_tiles * kTile;
        const auto best = kernels().argmax(row, static_cast<int64_t>(kept.size()));
        out.push_back({evicted[first + e], static_cast<int>(best), row[best]});
      }
    }
    return out;
  }

  // The least cosine that merges.
  double least_cosine(const std::vector<Merge>& merges) const {
    std::vector<double> cosines;
    bool any = false;
    for (const Merge& m : merges) {
      const bool passes = m.cosine >= params_.threshold;
      cosines.push_back(passes ? m.cosine : -INFINITY);
      any = any || passes;
    }
    if (params_.fraction >= 1 || !any) return params_.threshold;
    return std::max(params_.threshold, quantile(std::move(cosines), 1 - params_.fraction));
  }

  // (kept rows, head_dim).
  std::vector<float> merged_values(const LayerView& view, const LayerView::HeadRows& head,
                                   const std::vector<int32_t>& kept) const {
    const int dim = view.head_dim;
    const auto value = [&](int32_t row) {
      return head.values + static_cast<int64_t>(row) * padded(dim);
    };
    const auto norm = [&](int32_t row) {
      double squares = 0;
      for (int d = 0; d < dim; ++d) squares += static_cast<double>(value(row)[d]) * value(row)[d];
      return std::sqrt(squares);
    };
    std::vector<double> sums(kept.size() * dim), weights(kept.size(), 0.0);
    for (size_t t = 0; t < kept.size(); ++t) {
      std::copy_n(value(kept[t]), dim, sums.begin() + static_cast<int64_t>(t) * dim);
    }
    const std::vector<Merge> all = merges(view, head, kept);
    const double least = least_cosine(all);
    for (const Merge& m : all) {
      if (!(m.cosine >= least) || m.cosine <= 0) continue;
      const double evicted_norm = norm(m.row);
      const double weight =
          m.cosine * evicted_norm / (evicted_norm + norm(kept[m.target]) + kEpsilon);
      weights[m.target] += weight;
      for (int d = 0; d < dim; ++d) {
        sums[static_cast<size_t>(m.target) * dim + d] += weight * value(m.row)[d];
      }
    }
    std::vector<float> out(sums.size());
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<float>(sums[i] / (1 + weights[i / dim]));
    }
    return out;
  }

  MergingParams params_;
};

}  // namespace

Method merging_method() {
  Method method;
  method.info.name = "merging";
  method.info.kind = "policy";
  method.info.kvpress_name = "Merging";
  method.info.doc = "values of evicted rows go into the kept row with the most similar key";
  method.info.params = {
      inner_param("snapkv"),
      number_param("threshold", "0", "least cosine of two keys for a merge", -1, 1),
      number_param("fraction", "1", "share of the evicted rows, the most similar ones, that merge",
                   0, 1)};
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {
      {"press", "inner"}, {"similarity_threshold", "threshold"}, {"merge_fraction", "fraction"}};
  method.no_repeat = "it changes values, which would be coded again and again";
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<MergingPolicy>(
        std::move(rules), MergingParams{params.number("threshold"), params.number("fraction")});
  };
  return method;
}

}  // namespace kv
