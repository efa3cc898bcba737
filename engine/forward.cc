// The forward pass: one function for prefill, decode and batches of many sequences.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/attention.h"
#include "engine/error.h"
#include "engine/scratch.h"
#include "engine/session.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// RMS norm of n rows of x (n, dim) into out (n, dim).
void norm_rows(const float* x, const std::vector<float>& weight, float eps, int n, float* out) {
  const int dim = static_cast<int>(weight.size());
  parallel_for((n + 15) / 16, [&](int64_t block) {
    for (int r = static_cast<int>(block) * 16; r < std::min<int64_t>(n, (block + 1) * 16); ++r) {
      kernels().rms_norm(x + static_cast<int64_t>(r) * dim, weight.data(), dim, eps,
                         out + static_cast<int64_t>(r) * dim);
    }
  });
}

// x (n, dim) += y (n, dim).
void add_rows(float* x, const float* y, int n, int dim) {
  parallel_for((n + 15) / 16, [&](int64_t block) {
    const int64_t first = block * 16 * dim, last = std::min<int64_t>(n, (block + 1) * 16) * dim;
    kernels().add(x + first, y + first, last - first);
  });
}

// Norm over head_dim on every query and key head (Qwen3), in place in qkv (n, width).
void norm_heads(const ModelConfig& config, const LayerWeights& weights, float* qkv, int n,
                int64_t width) {
  parallel_for(n, [&](int64_t r) {
    for (int h = 0; h < config.n_heads + config.n_kv_heads; ++h) {
      float* head = qkv + r * width + static_cast<int64_t>(h) * config.head_dim;
      const std::vector<float>& weight = h < config.n_heads ? weights.q_norm : weights.k_norm;
      kernels().rms_norm(head, weight.data(), config.head_dim, config.rms_eps, head);
    }
  });
}

// Rows of one segment inside the pass.
struct Placed {
  const Segment* segment;
  int first_row;    // of the pass
  int first_token;  // of the sequence
  int n() const { return static_cast<int>(segment->tokens.size()); }
};

// Rotates the keys (n rows, `width` floats apart) of one head at their positions, in place.
void rotate_keys(const RopeTable& rope, int layer, int kv_head, const Placed& p, float* keys,
                 int64_t width) {
  for (int i = 0; i < p.n(); ++i) {
    const int at = p.segment->cache->next_position(layer, kv_head, p.first_token + i);
    kernels().rotate_row(keys + i * width, rope.cos_row(at), rope.sin_row(at), rope.rotary_dim());
  }
}

float largest_of(const float* rows, int64_t width, int n, int64_t n_columns) {
  float largest = 0;
  for (int i = 0; i < n; ++i) {
    for (int64_t d = 0; d < n_columns; ++d)
      largest = std::max(largest, std::abs(rows[i * width + d]));
  }
  return largest;
}

// Keys and values of one layer enter the caches, as each cache's codec stores them. Keys in qkv are
// rotated in place for caches that store rotated ones.
void store_rows(const ModelConfig& config, const RopeTable& rope, int layer,
                const std::vector<Placed>& placed, float* qkv, int64_t width) {
  const int64_t n_kv = config.n_kv_heads, kv_width = n_kv * config.head_dim;
  const int64_t n_items = static_cast<int64_t>(placed.size()) * n_kv;
  const auto keys_of = [&](const Placed& p) {
    return qkv + p.first_row * width + static_cast<int64_t>(config.n_heads) * config.head_dim;
  };
  for (const Placed& p : placed) p.segment->cache->reserve(layer, p.n());
  parallel_for(n_items, [&](int64_t i) {
    const Placed& p = placed[i / n_kv];
    const int h = static_cast<int>(i % n_kv);
    if (p.segment->cache->codec().stores_rotated_keys())
      rotate_keys(rope, layer, h, p, keys_of(p) + h * config.head_dim, width);
  });
  std::vector<BlockRange> blocks(placed.size());
  for (size_t i = 0; i < placed.size(); ++i) {
    if (!placed[i].segment->cache->codec().codes_blocks()) continue;
    const float* keys = keys_of(placed[i]);
    blocks[i] = {largest_of(keys, width, placed[i].n(), kv_width),
                 largest_of(keys + kv_width, width, placed[i].n(), kv_width)};
  }
  parallel_for(n_items, [&](int64_t i) {
    const Placed& p = placed[i / n_kv];
    const int h = static_cast<int>(i % n_kv);
    const float* keys = keys_of(p) + h * config.head_dim;
    p.segment->cache->append(layer, h, keys, keys + kv_width, width, p.n(), blocks[i / n_kv]);
  });
}

// Queries of the window's tokens, rotated at their positions: (n_heads, n_window, head_dim) of this
// layer.
void record_window(const ModelConfig& config, const RopeTable& rope, int layer, const Placed& p,
                   const float* qkv, int64_t width, const PromptRecorder& recorder) {
  for (int i = 0; i < p.n(); ++i) {
    const int token = p.first_token + i, at = token - recorder.first_token;
    if (at < 0 || at >= recorder.window->n_window) continue;
    for (int h = 0; h < config.n_heads; ++h) {
      float* out =
          recorder.window->queries.data() +
          ((static_cast<int64_t>(layer) * config.n_heads + h) * recorder.window->n_window + at) *
              config.head_dim;
      std::copy_n(qkv + (p.first_row + i) * width + static_cast<int64_t>(h) * config.head_dim,
                  config.head_dim, out);
      kernels().rotate_row(out, rope.cos_row(token), rope.sin_row(token), rope.rotary_dim());
    }
  }
}

// What policies want to know of one layer's queries; x (n, dim) is the attention's input.
void record_prompt(const Model& model, const RopeTable& rope, int layer, const Placed& p,
                   const float* qkv, int64_t width, const float* x,
                   const PromptRecorder& recorder) {
  if (recorder.window != nullptr) record_window(model.config, rope, layer, p, qkv, width, recorder);
  if (recorder.moments != nullptr) {
    for (QueryMoments& moments : *recorder.moments)
      moments.add(layer, p.first_token, p.n(), qkv, width);
  }
  if (recorder.repeat != nullptr) {
    score_repeat(model, rope, layer, *p.segment->cache, qkv, width, x, p.n(), *recorder.repeat);
  }
}

}  // namespace

int Session::run_layers(std::span<const Segment> segments, const PromptRecorder* recorder) {
  const ModelConfig& config = model_->config;
  const int64_t q_width = static_cast<int64_t>(config.n_heads) * config.head_dim;
  const int64_t width = q_width + 2 * static_cast<int64_t>(config.n_kv_heads) * config.head_dim;

  std::vector<Placed> placed;
  int n = 0;
  for (const Segment& s : segments) {
    placed.push_back({&s, n, s.cache->n_tokens()});
    n += static_cast<int>(s.tokens.size());
  }
  Scratch& m = *scratch_;
  m.size_for(config, n);
  rope_for(segments);

  for (const Placed& p : placed) {
    for (int i = 0; i < p.n(); ++i) {
      model_->embedding.row(p.segment->tokens[i],
                            m.x.as<float>() + static_cast<int64_t>(p.first_row + i) * config.dim);
    }
  }
  float *x = m.x.as<float>(), *h = m.h.as<float>(), *qkv = m.qkv.as<float>(),
        *wide = m.wide.as<float>();
  std::vector<AttentionInput> inputs, stepping;
  for (const Placed& p : placed) {
    const bool steps = p.segment->cache->step() != nullptr;
    (steps ? stepping : inputs)
        .push_back({p.segment->cache, qkv + p.first_row * width, width, p.n(), p.first_token,
                    wide + p.first_row * q_width, q_width});
  }
  const bool count_received = recorder != nullptr && recorder->attention_received != nullptr;
  if (count_received) {
    inputs[0].softmax_max = recorder->softmax_max->data();
    inputs[0].softmax_sum = recorder->softmax_sum->data();
  }
  for (int l = 0; l < config.n_layers; ++l) {
    const LayerWeights& w = model_->layers[l];
    norm_rows(x, w.attention_norm, config.rms_eps, n, h);
    w.qkv.multiply(h, config.dim, n, qkv, width);
    if (config.qk_norm) norm_heads(config, w, qkv, n, width);
    store_rows(config, *rope_, l, placed, qkv, width);
    if (recorder != nullptr) record_prompt(*model_, *rope_, l, placed[0], qkv, width, h, *recorder);
    for (const Placed& p : placed) {
      CutState& cuts = p.segment->cache->cuts();
      if (cuts.active())
        cuts.record(l, p.first_token, p.n(), qkv + p.first_row * width, width, *rope_);
    }
    attend(config, *rope_, l, inputs);
    for (const AttentionInput& in : stepping) in.cache->step()->attend(config, *rope_, l, in);
    if (count_received) {
      double* sums = recorder->attention_received->data() +
                     static_cast<int64_t>(l) * config.n_heads * recorder->n_tokens;
      add_attention_received(config, *rope_, l, inputs[0], sums, recorder->n_tokens);
    }
    w.o.multiply(wide, q_width, n, h, config.dim);
    add_rows(x, h, n, config.dim);

    norm_rows(x, w.mlp_norm, config.rms_eps, n, h);
    w.gate_up.multiply(h, config.dim, n, wide, 2 * static_cast<int64_t>(config.hidden_dim));
    parallel_for(n, [&](int64_t r) {
      float* gate = wide + r * 2 * config.hidden_dim;
      kernels().silu_mul(gate, gate + config.hidden_dim, config.hidden_dim, gate);
    });
    w.down.multiply(wide, 2 * static_cast<int64_t>(config.hidden_dim), n, h, config.dim);
    add_rows(x, h, n, config.dim);
  }
  for (const Placed& p : placed) p.segment->cache->advance(p.n());
  tokens_computed_ += n;
  count_flops(segments);
  count_cuts(segments);
  return n;
}

void Session::logits_of(std::span<const int> rows, float* logits) {
  const ModelConfig& config = model_->config;
  const int64_t n = static_cast<int64_t>(rows.size());
  if (n == 0) return;
  float *x = scratch_->x.as<float>(), *h = scratch_->h.as<float>();
  parallel_for(n, [&](int64_t i) {
    kernels().rms_norm(x + static_cast<int64_t>(rows[i]) * config.dim, model_->final_norm.data(),
                       config.dim, config.rms_eps, h + i * config.dim);
  });
  model_->lm_head.multiply(h, config.dim, static_cast<int>(n), logits, config.vocab);
  flops_computed_ += 2.0 * static_cast<double>(n) * config.dim * config.vocab;
}

}  // namespace kv
