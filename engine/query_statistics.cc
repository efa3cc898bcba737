#include "engine/query_statistics.h"

#include <algorithm>
#include <type_traits>

#include "kernels/parallel.h"
#include "kernels/prefetch.h"

namespace kv {

namespace {
constexpr int kRowsAhead = 4;  // is asked for early: rows lie further apart than processors look
}

void QueryMoments::Sums::resize(size_t size) {
  open.resize(size, 0.0f);
  closed.resize(size, 0.0);
}

void QueryMoments::Sums::close(int64_t from, int64_t count) {
  for (int64_t i = from; i < from + count; ++i) closed[i] += open[i];
  std::fill_n(open.data() + from, count, 0.0f);
}

QueryMoments::QueryMoments(const ModelConfig& config, const QueryStatisticsNeeds& needs)
    : n_layers_(config.n_layers),
      n_heads_(config.n_heads),
      head_dim_(config.head_dim),
      n_panels_(padded(config.head_dim) / kPanel),
      needs_(needs),
      n_products_(n_products(config.head_dim, needs)),
      n_tokens_(n_layers_, 0) {
  const size_t n_heads = static_cast<size_t>(n_layers_) * n_heads_;
  origins_.resize(n_heads * head_dim_, 0.0f);
  sums_.resize(n_heads * head_dim_);
  products_.resize(n_heads * n_products_);
}

int64_t QueryMoments::place(int head_dim, int p, int row) {
  const int64_t rows_before = int64_t{p} * head_dim - int64_t{p} * (p - 1) / 2 * kPanel;
  return (rows_before + row - int64_t{p} * kPanel) * kPanel;
}

int64_t QueryMoments::n_products(int head_dim, const QueryStatisticsNeeds& needs) {
  const int n_panels = padded(head_dim) / kPanel;
  return needs.covariance ? place(head_dim, n_panels, n_panels * kPanel) : 0;
}

size_t QueryMoments::bytes_for(const ModelConfig& config, const QueryStatisticsNeeds& needs) {
  const int64_t sums = config.head_dim + n_products(config.head_dim, needs);
  return static_cast<size_t>(config.n_layers) * config.n_heads *
         (config.head_dim * sizeof(float) + sums * (sizeof(float) + sizeof(double)));
}

void QueryMoments::drop_covariance() {
  needs_.covariance = false;
  n_products_ = 0;
  products_ = {};
}

void QueryMoments::add(int layer, int first_token, int n, const float* queries, int64_t stride) {
  const int begin = std::clamp(needs_.first_token - first_token, 0, n);
  if (begin == n) return;
  const int64_t n_channels = int64_t{n_heads_} * head_dim_, first_head = int64_t{layer} * n_heads_;
  queries += begin * stride;
  n -= begin;
  int64_t& n_before = n_tokens_[layer];
  if (n_before == 0) std::copy_n(queries, n_channels, origins_.data() + first_head * head_dim_);
  const int64_t n_spans = (n_channels + kSpan - 1) / kSpan;
  parallel_for(n_spans, [&](int64_t s) {
    const int64_t from = s * kSpan;
    add_sums(first_head * head_dim_ + from, std::min(kSpan, n_channels - from), n_before, n,
             queries + from, stride);
  });
  if (needs_.covariance) {
    parallel_for(n_heads_, [&](int64_t h) {
      add_products(first_head + h, n_before, n, queries + h * head_dim_, stride);
    });
  }
  n_before += n;
}

template <typename Fn>
void QueryMoments::for_each_block(int64_t n_before, int n, const Fn& fn) {
  for (int done = 0, count = 0; done < n; done += count) {
    const int in_block = static_cast<int>((n_before + done) % kMomentBlock);
    count = std::min(kMomentBlock - in_block, n - done);
    fn(done, count, in_block);
  }
}

// Of the channels from .. from + count - 1 among those of all layers.
void QueryMoments::add_sums(int64_t from, int64_t count, int64_t n_before, int n,
                            const float* queries, int64_t stride) {
  const float* origin = origins_.data() + from;
  float* sums = sums_.open.data() + from;
  for_each_block(n_before, n, [&](int first, int n_tokens, int in_block) {
    for (int i = first; i < first + n_tokens; ++i) {
      const float* q = queries + i * stride;
      const int later = std::min(i + kRowsAhead, n - 1);
      prefetch(queries + later * stride, count * sizeof(float));
      for (int64_t d = 0; d < count; ++d) sums[d] += q[d] - origin[d];
    }
    if (in_block + n_tokens == kMomentBlock) sums_.close(from, count);
  });
}

void QueryMoments::add_products(int64_t head, int64_t n_before, int n, const float* queries,
                                int64_t stride) {
  const int width = n_panels_ * kPanel;
  const float* origin = origins_.data() + head * head_dim_;
  // (kMomentBlock, width), and the same transposed.
  thread_local std::vector<float> rows, columns;
  rows.assign(static_cast<size_t>(kMomentBlock) * width, 0.0f);
  columns.resize(static_cast<size_t>(head_dim_) * kMomentBlock);
  const float* of[kMomentBlock];
  for (int i = 0; i < kMomentBlock; ++i) of[i] = rows.data() + int64_t{i} * width;
  for_each_block(n_before, n, [&](int first, int n_tokens, int in_block) {
    for (int i = 0; i < n_tokens; ++i) {
      const float* q = queries + (first + i) * stride;
      float* row = rows.data() + int64_t{i} * width;
      for (int d = 0; d < head_dim_; ++d) row[d] = q[d] - origin[d];
    }
    kernels().transpose_rows(of, head_dim_, columns.data());
    for (int p = 0; p < n_panels_; ++p) {
      const int from = p * kPanel;
      kernels().gemm_f32(columns.data() + int64_t{from} * kMomentBlock, kMomentBlock,
                         head_dim_ - from, n_tokens, rows.data() + from, width,
                         products_.open.data() + head * n_products_ + place(p, from), kPanel,
                         in_block > 0);
    }
    if (in_block + n_tokens == kMomentBlock) products_.close(head * n_products_, n_products_);
  });
}

QueryStatistics QueryMoments::statistics() const {
  const int64_t n_heads = int64_t{n_layers_} * n_heads_, matrix = int64_t{head_dim_} * head_dim_;
  QueryStatistics result{needs_.first_token, std::vector<double>(n_heads * head_dim_),
                         std::vector<double>(needs_.covariance ? n_heads * matrix : 0)};
  parallel_for(n_heads, [&](int64_t head) {
    const int64_t n = n_tokens_[head / n_heads_];
    if (n > 0) head_statistics(head, n, result);
  });
  return result;
}

void QueryMoments::head_statistics(int64_t head, int64_t n_tokens, QueryStatistics& out) const {
  const double share = 1.0 / static_cast<double>(n_tokens);
  std::vector<double> mean(head_dim_);  // relative to the origin
  for (int d = 0; d < head_dim_; ++d) {
    const int64_t at = head * head_dim_ + d;
    mean[d] = sums_.at(at) * share;
    out.mean[at] = mean[d] + static_cast<double>(origins_[at]);
  }
  if (!needs_.covariance) return;
  double* covariance = out.covariance.data() + head * head_dim_ * head_dim_;
  for (int p = 0; p < n_panels_; ++p) {
    for (int a = p * kPanel; a < head_dim_; ++a) {
      const int64_t at = head * n_products_ + place(p, a) - int64_t{p} * kPanel;
      const int end = std::min((p + 1) * kPanel, a + 1);
      for (int b = p * kPanel; b < end; ++b) {
        covariance[a * head_dim_ + b] = covariance[b * head_dim_ + a] =
            products_.at(at + b) * share - mean[a] * mean[b];
      }
    }
  }
}

void QueryMoments::append_to(std::vector<double>& out) const {
  for (const int64_t n : n_tokens_) out.push_back(static_cast<double>(n));
  out.insert(out.end(), origins_.begin(), origins_.end());
  for (const Sums* of : {&sums_, &products_}) {
    out.insert(out.end(), of->open.begin(), of->open.end());
    out.insert(out.end(), of->closed.begin(), of->closed.end());
  }
}

bool QueryMoments::take_from(std::span<const double>& from) {
  const size_t size =
      n_tokens_.size() + origins_.size() + 2 * (sums_.open.size() + products_.open.size());
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
  for (Sums* of : {&sums_, &products_}) {
    take(of->open);
    take(of->closed);
  }
  from = from.subspan(size);
  return true;
}

}  // namespace kv
