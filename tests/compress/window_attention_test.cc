// Window attention against a plain softmax in double precision.
#include "compress/window_attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "compress/registry.h"
#include "tests/compress/random_layer.h"

namespace kv {
namespace {

// A policy that asks for keys and a window of the given size.
PolicyPtr asking_for(int window) {
  return parse_compressors(fmt::format("snapkv(ratio=0.5,window={})", window), "test")
      .at(0)
      .plan.policies.at(0);
}

void expect_softmax(RandomLayer& layer, const LayerView& view, int head, int window) {
  const int kv_head = head / (view.n_heads / view.n_kv_heads);
  const auto positions = view.heads[kv_head].positions;
  WindowAttention attention;
  window_attention(view, head, window, attention);
  for (int t = 0; t < window; ++t) {
    const int token = view.n_tokens - window + t;
    std::vector<double> expected(positions.size(), 0);
    double total = 0;
    for (size_t j = 0; j < positions.size() && positions[j] <= token; ++j) {
      double dot = 0;
      for (int d = 0; d < view.head_dim; ++d) {
        dot +=
            static_cast<double>(layer.query(head, token)[d]) * layer.key(kv_head, positions[j])[d];
      }
      expected[j] = std::exp(dot / std::sqrt(view.head_dim));
      total += expected[j];
    }
    for (size_t j = 0; j < positions.size(); ++j) {
      const double want = expected[j] == 0 ? 0 : expected[j] / total;
      EXPECT_NEAR(attention.weights[t * attention.stride + j], want, 1e-5 * want + 1e-9)
          << t << " " << j;
    }
  }
}

TEST(WindowAttention, IsTheCausalSoftmax) {
  for (const int n : {2, 9, 33, 128, 129, 300}) {
    for (const int window : {1, 8, 31}) {
      RandomLayer layer({.n_tokens = n, .n_heads = 4, .n_kv_heads = 2, .head_dim = 24, .seed = 5});
      const LayerView view = layer.view(*asking_for(window));
      const int w = usable_window(window, n);
      EXPECT_EQ(view.n_window, w);
      for (const int head : {0, 3}) expect_softmax(layer, view, head, w);
    }
  }
}

TEST(WindowAttention, SeesOnlyWhatAFormerPolicyLeft) {
  RandomLayer layer({.n_tokens = 40, .n_heads = 2, .n_kv_heads = 2, .head_dim = 16});
  layer.keep(0, {2, 3, 30, 33, 35, 39});
  layer.keep(1, {38, 39});  // the first queries of the window see nothing
  const LayerView view = layer.view(*asking_for(8));
  expect_softmax(layer, view, 0, 8);
  expect_softmax(layer, view, 1, 8);
  EXPECT_EQ(rows_before_window(view, 0, 8), 3);
  EXPECT_EQ(rows_before_window(view, 1, 8), 0);
}

TEST(WindowAttention, UsesTheNewestOfMoreQueries) {
  RandomLayer layer({.n_tokens = 50});
  const LayerView view = layer.view(*asking_for(20));
  expect_softmax(layer, view, 2, 5);
}

TEST(UsableWindow, LeavesARowBeforeIt) {
  EXPECT_EQ(usable_window(64, 65), 64);
  EXPECT_EQ(usable_window(64, 64), 63);
  EXPECT_EQ(usable_window(64, 2), 1);
  EXPECT_EQ(usable_window(64, 1), 0);
}

}  // namespace
}  // namespace kv
