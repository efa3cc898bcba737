// snapkv: the prompt's last queries vote on what stays (arXiv 2404.14469, "SnapKV: LLM Knows What
// You are Looking for Before Generation").
//
//   A   = attention of the last w prompt queries to all rows, (n_heads, w, L): window_attention.h
//   a_j = mean over the w queries of A[., j], for rows j before the window
//   a   = pool(a, kernel) for each query head; max: borders left out, avg: zeros at them count
//   s   = mean of a over the query heads of the group
//   S   = s, and max(s over all heads) + 1 for the window's own rows, which stay
//
// Fewer kept than the window has rows: the newest ones. A window that is not shorter than the
// prompt shrinks to length - 1, with a note. After a former policy the window's rows are those of
// its tokens that are left.
//
// Differs from the paper: rows kept count the window (the paper adds it to its budget).
// Differs from kvpress: kvpress pools by average (here: pooling=avg; its borders are lowered by the
// zeros), refuses prompts of at most w tokens, and picks among the window by torch's tie order when
// it keeps fewer (ties=torch).
#include <algorithm>
#include <limits>

#include "compress/method.h"
#include "compress/snapkv.h"
#include "compress/window_attention.h"
#include "engine/error.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// Column means of weights (w, stride) over its first n columns.
std::vector<float> column_means(const WindowAttention& attention, int w, int n) {
  std::vector<float> mean(n, 0.0f);
  for (int t = 0; t < w; ++t) {
    const float* row = attention.weights.data() + static_cast<int64_t>(t) * attention.stride;
    for (int j = 0; j < n; ++j) mean[j] += row[j];
  }
  for (float& m : mean) m /= static_cast<float>(w);
  return mean;
}

std::vector<float> pooled(const std::vector<float>& a, int kernel, bool max_pool) {
  const int n = static_cast<int>(a.size());
  std::vector<float> out(n);
  for (int j = 0; j < n; ++j) {
    const int begin = std::max(0, j - kernel / 2),
              end = static_cast<int>(std::min<int64_t>(n, int64_t{j} + kernel / 2 + 1));
    if (max_pool) {
      out[j] = *std::max_element(a.begin() + begin, a.begin() + end);
    } else {
      float sum = 0;
      for (int i = begin; i < end; ++i) sum += a[i];
      out[j] = sum / static_cast<float>(kernel);
    }
  }
  return out;
}

}  // namespace

std::string SnapKvPolicy::note(int n_tokens) const {
  const int w = usable_window(params_.window, n_tokens);
  if (rules().ratio == 0 || w == params_.window) return {};
  return fmt::format("{}: window {} shrunk to {}, the prompt has {} tokens", name_, params_.window,
                     w, n_tokens);
}

KvNeeds SnapKvPolicy::inputs(int n_tokens) const {
  return {.window_queries = usable_window(params_.window, n_tokens), .keys = true, .values = false};
}

LayerScores SnapKvPolicy::score(const LayerView& view) const {
  const int w = usable_window(params_.window, view.n_tokens);
  std::vector<std::vector<float>> votes(view.n_heads);  // (n_heads, rows before the window)
  const int group = view.n_heads / view.n_kv_heads;
  parallel_for(view.n_heads, [&](int64_t i) {
    WindowAttention attention;
    window_attention(view, static_cast<int>(i), w, attention);
    const int n = rows_before_window(view, static_cast<int>(i) / group, w);
    votes[i] = pooled(column_means(attention, w, n), params_.kernel, params_.max_pool);
  });

  LayerScores out;
  float largest = -std::numeric_limits<float>::infinity();
  for (int h = 0; h < view.n_kv_heads; ++h) {
    std::vector<float> scores(votes[h * group].size(), 0.0f);
    for (int i = h * group; i < (h + 1) * group; ++i) {
      for (size_t j = 0; j < scores.size(); ++j) scores[j] += votes[i][j];
    }
    for (float& s : scores) s /= static_cast<float>(group);
    for (const float s : scores) largest = std::max(largest, s);
    const int n_window = view.heads[h].n_rows - static_cast<int>(scores.size());
    out.protection.push_back({.always = {}, .first = 0, .newest = n_window});
    out.scores.push_back(std::move(scores));
  }
  // Where a former policy left nothing but the window there is no largest score.
  const float protected_score = largest >= 0 ? largest + 1 : 1;
  for (int h = 0; h < view.n_kv_heads; ++h) {
    out.scores[h].resize(view.heads[h].n_rows, protected_score);
  }
  return out;
}

SnapKvParams read_snapkv_params(const Params& params, const std::string& what) {
  SnapKvParams own;
  own.window = params.integer("window");
  own.kernel = params.integer("kernel");
  own.max_pool = params.string("pooling") == "max";
  if (own.kernel % 2 == 0) {
    const std::string& place = params.value("kernel").place;
    throw_usage("{}{}{}: 'kernel' must be odd, found {}; take {} or {}", place,
                place.empty() ? "" : ": ", what, own.kernel, own.kernel - 1, own.kernel + 1);
  }
  return own;
}

std::vector<ParamSpec> snapkv_params() {
  return {integer_param("window", "64", "last prompt tokens that vote and stay", 1),
          integer_param("kernel", "5", "rows pooled together, odd", 1, 65535),
          choice_param("pooling", "max", "of the votes of each query head", {"max", "avg"})};
}

Method snapkv_method() {
  Method method;
  method.info.name = "snapkv";
  method.info.kind = "policy";
  method.info.kvpress_name = "SnapKV";
  method.info.doc = "the prompt's last queries vote on what stays";
  method.info.paper = "arXiv 2404.14469";
  method.info.params = snapkv_params();
  method.kvpress_defaults = {{"pooling", "avg"}};
  method.kvpress_keys = {{"window_size", "window"}, {"kernel_size", "kernel"}};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<SnapKvPolicy>(std::move(rules), read_snapkv_params(params, "snapkv"));
  };
  return method;
}

}  // namespace kv
