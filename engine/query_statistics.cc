#include "engine/query_statistics.h"

#include <algorithm>
#include <type_traits>

#include "kernels/parallel.h"

namespace kv {

QueryMoments::QueryMoments(const ModelConfig& config, int first_token)
    : n_layers_(config.n_layers),
      n_heads_(config.n_heads),
      head_dim_(config.head_dim),
      first_token_(first_token),
      n_panels_(padded(config.head_dim) / kPanel),
      head_size_(place(n_panels_, n_panels_ * kPanel)),
      n_tokens_(n_layers_, 0),
      origins_(static_cast<size_t>(n_layers_) * n_heads_ * head_dim_, 0.0f),
      open_(static_cast<size_t>(n_layers_) * n_heads_ * head_size_, 0.0f),
      closed_(open_.size(), 0.0) {}

int64_t QueryMoments::place(int head_dim, int p, int row) {
  const int64_t rows_before = int64_t{p} * (head_dim + 1) - int64_t{p} * (p - 1) / 2 * kPanel;
  return (rows_before + row - int64_t{p} * kPanel) * kPanel;
}

size_t QueryMoments::bytes_for(const ModelConfig& config) {
  const int n_panels = padded(config.head_dim) / kPanel;
  const auto head_size = static_cast<size_t>(place(config.head_dim, n_panels, n_panels * kPanel));
  return static_cast<size_t>(config.n_layers) * config.n_heads *
         (config.head_dim * sizeof(float) + head_size * (sizeof(float) + sizeof(double)));
}

void QueryMoments::add(int layer, int first_token, int n, const float* queries, int64_t stride) {
  const int begin = std::clamp(first_token_ - first_token, 0, n);
  if (begin == n) return;
  parallel_for(n_heads_, [&](int64_t h) {
    add_head(int64_t{layer} * n_heads_ + h, n_tokens_[layer], n - begin,
             queries + begin * stride + h * head_dim_, stride);
  });
  n_tokens_[layer] += n - begin;
}

void QueryMoments::add_head(int64_t head, int64_t n_before, int n, const float* queries,
                            int64_t stride) {
  const int width = n_panels_ * kPanel;
  float* origin = origins_.data() + head * head_dim_;
  float* open = open_.data() + head * head_size_;
  double* closed = closed_.data() + head * head_size_;
  if (n_before == 0) std::copy_n(queries, head_dim_, origin);
  // (kMomentBlock, width), and the same transposed with a row of ones at the end.
  thread_local std::vector<float> rows, columns;
  rows.assign(static_cast<size_t>(kMomentBlock) * width, 0.0f);
  columns.assign(static_cast<size_t>(head_dim_ + 1) * kMomentBlock, 1.0f);
  const float* of[kMomentBlock];
  for (int i = 0; i < kMomentBlock; ++i) of[i] = rows.data() + static_cast<int64_t>(i) * width;
  for (int done = 0, count = 0; done < n; done += count) {
    const int in_block = static_cast<int>((n_before + done) % kMomentBlock);
    count = std::min(kMomentBlock - in_block, n - done);
    for (int i = 0; i < count; ++i) {
      const float* q = queries + (done + i) * stride;
      float* row = rows.data() + static_cast<int64_t>(i) * width;
      for (int d = 0; d < head_dim_; ++d) row[d] = q[d] - origin[d];
    }
    kernels().transpose_rows(of, head_dim_, columns.data());
    for (int p = 0; p < n_panels_; ++p) {
      const int from = p * kPanel;
      kernels().gemm_f32(columns.data() + static_cast<int64_t>(from) * kMomentBlock, kMomentBlock,
                         head_dim_ + 1 - from, count, rows.data() + from, width,
                         open + place(p, from), kPanel, in_block > 0);
    }
    if (in_block + count < kMomentBlock) continue;
    for (int64_t i = 0; i < head_size_; ++i) closed[i] += open[i];
    std::fill_n(open, head_size_, 0.0f);
  }
}

QueryStatistics QueryMoments::statistics() const {
  const int64_t n_heads = int64_t{n_layers_} * n_heads_;
  QueryStatistics result{first_token_, std::vector<double>(n_heads * head_dim_),
                         std::vector<double>(n_heads * head_dim_ * head_dim_)};
  parallel_for(n_heads, [&](int64_t head) {
    const int64_t n = n_tokens_[head / n_heads_];
    if (n > 0) head_statistics(head, n, result);
  });
  return result;
}

void QueryMoments::head_statistics(int64_t head, int64_t n_tokens, QueryStatistics& out) const {
  const float* open = open_.data() + head * head_size_;
  const double* closed = closed_.data() + head * head_size_;
  const double share = 1.0 / static_cast<double>(n_tokens);
  std::vector<double> mean(static_cast<size_t>(n_panels_) * kPanel);  // relative to the origin
  for (int p = 0; p < n_panels_; ++p) {
    const int64_t at = place(p, head_dim_);
    for (int c = 0; c < kPanel; ++c)
      mean[p * kPanel + c] = (closed[at + c] + static_cast<double>(open[at + c])) * share;
  }
  for (int d = 0; d < head_dim_; ++d)
    out.mean[head * head_dim_ + d] = mean[d] + static_cast<double>(origins_[head * head_dim_ + d]);
  double* covariance = out.covariance.data() + head * head_dim_ * head_dim_;
  for (int p = 0; p < n_panels_; ++p) {
    for (int a = p * kPanel; a < head_dim_; ++a) {
      const int64_t at = place(p, a) - int64_t{p} * kPanel;
      const int end = std::min((p + 1) * kPanel, a + 1);
      for (int b = p * kPanel; b < end; ++b) {
        const double product = (closed[at + b] + static_cast<double>(open[at + b])) * share;
        covariance[a * head_dim_ + b] = covariance[b * head_dim_ + a] = product - mean[a] * mean[b];
      }
    }
  }
}

void QueryMoments::append_to(std::vector<double>& out) const {
  for (const int64_t n : n_tokens_) out.push_back(static_cast<double>(n));
  out.insert(out.end(), origins_.begin(), origins_.end());
  out.insert(out.end(), open_.begin(), open_.end());
  out.insert(out.end(), closed_.begin(), closed_.end());
}

bool QueryMoments::take_from(std::span<const double>& from) {
  const size_t size = n_tokens_.size() + origins_.size() + open_.size() + closed_.size();
  if (from.size() < size) return false;
  for (size_t i = 0; i < n_tokens_.size(); ++i) {
    if (!(from[i] >= 0 && from[i] <= 2147483647.0)) return false;
    n_tokens_[i] = static_cast<int64_t>(from[i]);
  }
  const double* next = from.data() + n_tokens_.size();
  const auto take = [&](auto& numbers) {
    for (auto& x : numbers) x = static_cast<std::decay_t<decltype(x)>>(*next++);
  };
  take(origins_);
  take(open_);
  take(closed_);
  from = from.subspan(size);
  return true;
}

}  // namespace kv
