// Mean and covariance of queries against plain sums in double, however the tokens come.
#include "engine/query_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace kv {
namespace {

struct Case {
  int head_dim, n_tokens, first_token;
  float mean;  // of every channel, beside a spread of 1
};

ModelConfig config_of(int head_dim) {
  ModelConfig config;
  config.n_layers = 2;
  config.n_heads = 3;
  config.n_kv_heads = 1;
  config.head_dim = head_dim;
  return config;
}

// Queries of one layer, rows of n_heads * head_dim and a few floats more. Neighbouring channels go
// together.
std::vector<float> queries_of(const Case& c, int layer, int64_t stride) {
  std::mt19937 generator(static_cast<unsigned>(c.head_dim + layer));
  std::normal_distribution<float> normal;
  std::vector<float> queries(static_cast<size_t>(c.n_tokens * stride));
  float last = 0;
  for (float& q : queries) q = c.mean + (last = 0.5f * last + normal(generator));
  return queries;
}

void add_in_passes(const Case& c, const std::vector<float>& queries, int64_t stride, int layer,
                   int pass, QueryMoments& moments) {
  for (int t = 0; t < c.n_tokens; t += pass)
    moments.add(layer, t, std::min(pass, c.n_tokens - t), queries.data() + t * stride, stride);
}

class QueryStatisticsOf : public ::testing::TestWithParam<Case> {};

TEST_P(QueryStatisticsOf, AreThoseOfPlainSums) {
  const Case& c = GetParam();
  const ModelConfig config = config_of(c.head_dim);
  const int64_t stride = 3 * c.head_dim + 5;
  const QueryStatisticsNeeds needs{c.first_token, true};
  QueryMoments moments(config, needs);
  EXPECT_EQ(moments.bytes(), QueryMoments::bytes_for(config, needs));
  for (int layer = 0; layer < 2; ++layer)
    add_in_passes(c, queries_of(c, layer, stride), stride, layer, c.n_tokens, moments);
  const QueryStatistics statistics = moments.statistics();
  const double n = c.n_tokens - c.first_token;
  for (int layer = 0; layer < 2; ++layer) {
    const std::vector<float> queries = queries_of(c, layer, stride);
    for (int h = 0; h < 3; ++h) {
      const int64_t head = layer * 3 + h;
      const auto at = [&](int t, int d) {
        return static_cast<double>(queries[t * stride + h * c.head_dim + d]);
      };
      std::vector<double> mean(c.head_dim, 0.0);
      for (int d = 0; d < c.head_dim; ++d) {
        for (int t = c.first_token; t < c.n_tokens; ++t) mean[d] += at(t, d) / n;
        EXPECT_NEAR(statistics.mean[head * c.head_dim + d], mean[d], 2e-6 * (1 + c.mean));
      }
      for (int a = 0; a < c.head_dim; ++a) {
        for (int b = 0; b < c.head_dim; ++b) {
          double covariance = 0;
          for (int t = c.first_token; t < c.n_tokens; ++t)
            covariance += (at(t, a) - mean[a]) * (at(t, b) - mean[b]) / n;
          // A mean far from zero costs no digits: the spread is about 1.
          EXPECT_NEAR(statistics.covariance[(head * c.head_dim + a) * c.head_dim + b], covariance,
                      5e-6)
              << a << " " << b;
        }
      }
    }
  }
}

TEST_P(QueryStatisticsOf, HaveTheSameBitsForAnyPasses) {
  const Case& c = GetParam();
  const int64_t stride = 3 * c.head_dim + 5;
  const std::vector<float> queries = queries_of(c, 0, stride);
  QueryMoments whole(config_of(c.head_dim), {c.first_token, true});
  add_in_passes(c, queries, stride, 0, c.n_tokens, whole);
  for (const int pass : {1, 7, kMomentBlock, 50}) {
    QueryMoments pieces(config_of(c.head_dim), {c.first_token, true});
    add_in_passes(c, queries, stride, 0, pass, pieces);
    EXPECT_EQ(pieces.statistics().mean, whole.statistics().mean) << pass;
    EXPECT_EQ(pieces.statistics().covariance, whole.statistics().covariance) << pass;
  }
}

TEST_P(QueryStatisticsOf, GoOnFromNumbers) {
  const Case& c = GetParam();
  const int64_t stride = 3 * c.head_dim + 5;
  const std::vector<float> queries = queries_of(c, 0, stride);
  QueryMoments moments(config_of(c.head_dim), {c.first_token, true});
  const int half = c.n_tokens / 2;
  moments.add(0, 0, half, queries.data(), stride);
  std::vector<double> numbers;
  moments.append_to(numbers);
  numbers.push_back(3);  // of who comes next
  QueryMoments back(config_of(c.head_dim), {c.first_token, true});
  std::span<const double> left(numbers);
  ASSERT_TRUE(back.take_from(left));
  EXPECT_EQ(left.size(), 1u);
  for (QueryMoments* m : {&moments, &back})
    m->add(0, half, c.n_tokens - half, queries.data() + half * stride, stride);
  EXPECT_EQ(back.statistics().mean, moments.statistics().mean);
  EXPECT_EQ(back.statistics().covariance, moments.statistics().covariance);
  left = std::span<const double>(numbers).first(numbers.size() - 2);
  EXPECT_FALSE(back.take_from(left));
}

// The mean alone: the same bits, fewer bytes, whether asked for so or the products forgotten.
TEST_P(QueryStatisticsOf, NeedNoProductsForTheMean) {
  const Case& c = GetParam();
  const ModelConfig config = config_of(c.head_dim);
  const QueryStatisticsNeeds needs{c.first_token, false};
  const int64_t stride = 3 * c.head_dim + 5;
  const std::vector<float> queries = queries_of(c, 0, stride);
  QueryMoments both(config, {c.first_token, true}), mean(config, needs);
  for (QueryMoments* m : {&both, &mean}) add_in_passes(c, queries, stride, 0, 7, *m);
  EXPECT_EQ(mean.statistics().mean, both.statistics().mean);
  EXPECT_TRUE(mean.statistics().covariance.empty());
  EXPECT_EQ(mean.bytes(), QueryMoments::bytes_for(config, needs));
  both.drop_covariance();
  EXPECT_EQ(both.needs(), needs);
  EXPECT_EQ(both.bytes(), mean.bytes());
  std::vector<double> numbers[2];
  both.append_to(numbers[0]);
  mean.append_to(numbers[1]);
  EXPECT_EQ(numbers[0], numbers[1]);
}

INSTANTIATE_TEST_SUITE_P(Shapes, QueryStatisticsOf,
                         ::testing::Values(Case{16, 150, 4, 0}, Case{64, 97, 0, 3},
                                           Case{80, 70, 33, 0}, Case{32, 64, 0, 1000}));

// None was counted: zeros.
TEST(QueryStatistics, OfNoTokensAreZero) {
  QueryMoments moments(config_of(16), {8, true});
  const std::vector<float> queries(5 * 48, 1.0f);
  moments.add(0, 0, 5, queries.data(), 48);
  for (const double x : moments.statistics().mean) EXPECT_EQ(x, 0);
  for (const double x : moments.statistics().covariance) EXPECT_EQ(x, 0);
}

}  // namespace
}  // namespace kv
