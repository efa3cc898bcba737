// lagkv: rows that vary against what follows them stay (arXiv 2504.04704, "LagKV").
//
//   L < sinks + 2 lag:  S_j = 1 for the first `sinks` rows, (j - sinks) / (L - sinks) for the others
//   else the rows after the sinks are cut into P = floor((L - sinks) / lag) partitions of `lag`
//   rows; the last partition and the remainder are the tail. For M in (keys after RoPE, values) and
//   partitions b < P - 1:
//     lo, hi = least and largest of each channel over partition b + 1
//     u_t    = standard deviation (n - 1) over channels of (M_t - lo) / (hi - lo)
//     a_M    = softmax over the partition's rows of u
//   a = (a_K + a_V) / 2
//   S = rank of a inside its partition (0 .. lag - 1, rising) / lag, or a itself (cross=true)
//   sinks and tail get 1 and stay: fewer kept than these, the sinks, then the newest
//
// Ranks tie by construction: every rank occurs once in each partition. A channel that is constant
// over a partition divides by zero; what is not a number counts as the largest.
//
// Differs from the paper: the prompt is cut once. Differs from kvpress: ties and short budgets go by
// position (here ties=torch for its order).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/method.h"
#include "compress/value_range.h"
#include "compress/value_tiles.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

struct LagKvParams {
  int sinks = 4;  // rows
  int lag = 128;  // rows of a partition
  bool cross = false;
};

// Keys or values in tiles of (head_dim, kTile).
struct Tiles {
  const float* data;
  int head_dim;

  // fn(tile, the first of its rows that is meant, the end of them, the row that its row 0 is) for the
  // tiles that hold the rows begin .. end - 1.
  template <typename Fn>
  void each(int begin, int end, const Fn& fn) const {
    for (int first = begin / kTile * kTile; first < end; first += kTile) {
      fn(data + int64_t{first} * head_dim, std::max(0, begin - first), std::min(kTile, end - first),
         first);
    }
  }
};

// Larger wins; not a number counts as the largest.
bool less(float a, float b) {
  if (std::isnan(a)) return false;
  return std::isnan(b) || a < b;
}

// Adds half of a_M of the partition that starts at row `first` to out (lag).
void add_deviations(const Tiles& m, int first, int lag, float* out) {
  const int dim = m.head_dim;
  std::vector<float> lo(dim, INFINITY), hi(dim, -INFINITY);
  m.each(first + lag, first + 2 * lag, [&](const float* tile, int begin, int end, int) {
    for (int d = 0; d < dim; ++d) {
      const ValueRange range = value_range(tile + d * kTile + begin, end - begin);
      lo[d] = std::min(lo[d], range.lo);
      hi[d] = std::max(hi[d], range.hi);
    }
  });
  std::vector<double> scales(dim);
  for (int d = 0; d < dim; ++d) scales[d] = 1 / (static_cast<double>(hi[d]) - lo[d]);
  std::vector<float> u(lag);
  m.each(first, first + lag, [&](const float* tile, int begin, int end, int first_of_tile) {
    double means[kTile] = {}, squares[kTile] = {};
    const auto scaled = [&](int d, int r) {
      return (static_cast<double>(tile[d * kTile + r]) - lo[d]) * scales[d];
    };
    for (int d = 0; d < dim; ++d) {
      for (int r = 0; r < kTile; ++r) means[r] += scaled(d, r);
    }
    for (double& mean : means) mean /= dim;
    for (int d = 0; d < dim; ++d) {
      for (int r = 0; r < kTile; ++r) {
        const double apart = scaled(d, r) - means[r];
        squares[r] += apart * apart;
      }
    }
    for (int r = begin; r < end; ++r)
      u[first_of_tile + r - first] = static_cast<float>(std::sqrt(squares[r] / (dim - 1)));
  });
  const float largest = *std::max_element(u.begin(), u.end(), less);
  for (float& v : u) v -= largest;
  kernels().exp_inplace(u.data(), lag);
  double sum = 0;
  for (const float v : u) sum += v;
  for (int t = 0; t < lag; ++t) out[t] += static_cast<float>(u[t] / sum / 2);
}

// In place: values -> rank / n, the least has rank 0; equal ones rank by position.
void to_ranks(float* values, int n) {
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return less(values[a], values[b]); });
  for (int rank = 0; rank < n; ++rank) {
    values[order[rank]] = static_cast<float>(rank) / static_cast<float>(n);
  }
}

class LagKvPolicy : public EvictionPolicy {
 public:
  LagKvPolicy(EvictionRules rules, const LagKvParams& params)
      : EvictionPolicy(std::move(rules)), params_(params) {}

 protected:
  KvNeeds inputs(int) const override { return {.keys = true, .values = true}; }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    out.scores.resize(view.heads.size());
    out.protection.resize(view.heads.size());
    parallel_for(static_cast<int64_t>(view.heads.size()), [&](int64_t h) {
      out.scores[h] = scores_of(view, view.heads[h], out.protection[h]);
    });
    return out;
  }

 private:
  std::vector<float> scores_of(const LayerView& view, const LayerView::HeadRows& head,
                               Protection& protection) const {
    const int n = head.n_rows, sinks = params_.sinks, lag = params_.lag;
    std::vector<float> scores(n, 1.0f);
    protection.first = sinks;
    if (n < static_cast<int64_t>(sinks) + 2 * static_cast<int64_t>(lag)) {
      for (int j = sinks; j < n; ++j) {
        scores[j] = static_cast<float>(j - sinks) / static_cast<float>(n - sinks);
      }
      return scores;
    }
    const int n_partitions = (n - sinks) / lag;
    const int tail = sinks + (n_partitions - 1) * lag;
    const std::vector<float> transposed = value_tiles(head, view.head_dim);
    const Tiles keys{head.keys, view.head_dim}, values{transposed.data(), view.head_dim};
    std::fill(scores.begin() + sinks, scores.begin() + tail, 0.0f);
    for (int first = sinks; first < tail; first += lag) {
      add_deviations(keys, first, lag, scores.data() + first);
      add_deviations(values, first, lag, scores.data() + first);
      if (!params_.cross) to_ranks(scores.data() + first, lag);
    }
    protection.newest = n - tail;
    return scores;
  }

  LagKvParams params_;
};

EvictionPtr make_lagkv(const Params& params, EvictionRules rules) {
  LagKvParams own;
  own.sinks = params.integer("sinks");
  own.lag = params.integer("lag");
  own.cross = params.boolean("cross");
  return std::make_shared<LagKvPolicy>(std::move(rules), own);
}

}  // namespace

Method lagkv_method() {
  Method method;
  method.info.name = "lagkv";
  method.info.kind = "policy";
  method.info.kvpress_name = "LagKV";
  method.info.doc = "keep rows that vary most against the partition after theirs";
  method.info.paper = "arXiv 2504.04704";
  method.info.params = {
      integer_param("sinks", "4", "rows kept at the start", 0),
      integer_param("lag", "128", "rows of a partition", 1),
      bool_param("cross", "false", "compare scores across partitions instead of ranks inside")};
  method.kvpress_keys = {{"n_sink", "sinks"}, {"lag_size", "lag"}, {"cross_scoring", "cross"}};
  method.make_policy = make_lagkv;
  return method;
}

}  // namespace kv
