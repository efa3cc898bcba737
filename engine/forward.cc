// The forward pass: one function for prefill, decode and batches of many sequences.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/attention.h"
#include "engine/cpu_clock.h"
#include "engine/error.h"
#include "engine/scratch.h"
#include "engine/session.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// The model's norm of n rows of x (n, dim) into out (n, dim), which may be x; gives out.
const float* norm_rows(const ModelConfig& config, const std::vector<float>& weight,
                       const std::vector<float>& bias, const float* x, int n, float* out) {
  const int dim = static_cast<int>(weight.size());
  parallel_for((n + 15) / 16, [&](int64_t block) {
    for (int r = static_cast<int>(block) * 16; r < std::min<int64_t>(n, (block + 1) * 16); ++r) {
      const float* from = x + static_cast<int64_t>(r) * dim;
      float* to = out + static_cast<int64_t>(r) * dim;
      if (config.norm == Norm::kLayer) {
        kernels().layer_norm(from, weight.data(), bias.data(), dim, config.norm_eps, to);
      } else {
        kernels().rms_norm(from, weight.data(), dim, config.norm_eps, to);
      }
    }
  });
  return out;
}

// x (n, dim) += y (n, dim) * config.residual_scale; y is scratch.
void add_rows(const ModelConfig& config, float* x, float* y, int n) {
  const auto scale = static_cast<float>(config.residual_scale);
  parallel_for((n + 15) / 16, [&](int64_t block) {
    const int64_t first = block * 16 * config.dim;
    const int64_t count = std::min<int64_t>(n, (block + 1) * 16) * config.dim - first;
    if (scale != 1.0f) kernels().scale(y + first, scale, count, y + first);
    kernels().add(x + first, y + first, count);
  });
}

// Norm of q and k before RoPE, in place in qkv (n, width): over head_dim on every head (Qwen3), or over
// all heads at once (OLMo 2).
void norm_queries_and_keys(const ModelConfig& config, const LayerWeights& weights, float* qkv,
                           int n, int64_t width) {
  parallel_for(n, [&](int64_t r) {
    float* next = qkv + r * width;
    for (const auto& [weight, n_heads] : {std::pair(&weights.q_norm, config.n_heads),
                                          std::pair(&weights.k_norm, config.n_kv_heads)}) {
      const int length = static_cast<int>(weight->size());
      for (const float* end = next + n_heads * config.head_dim; next < end; next += length)
        kernels().rms_norm(next, weight->data(), length, config.norm_eps, next);
    }
  });
}

// The MLP of n rows of in (n, dim): wide (n, 2 hidden_dim) is scratch, out (n, dim).
void run_mlp(const ModelConfig& config, const LayerWeights& weights, const float* in, int n,
             float* wide, float* out) {
  const int64_t hidden = config.hidden_dim, width = config.gated_mlp ? 2 * hidden : hidden;
  weights.gate_up.multiply(in, config.dim, n, wide, width);
  parallel_for(n, [&](int64_t r) {
    float *row = wide + r * width, *up = row + hidden;
    const Kernels& k = kernels();
    if (config.activation == Activation::kSilu) return k.silu_mul(row, up, hidden, row);
    (config.activation == Activation::kGeluTanh ? k.gelu_tanh : k.gelu_erf)(row, hidden);
    if (config.gated_mlp) k.mul(row, up, hidden);
  });
  weights.down.multiply(wide, width, n, out, config.dim);
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
  if (p.segment->cache->window(layer) > 0) return;  // no policy will ask
  if (recorder.window != nullptr) record_window(model.config, rope, layer, p, qkv, width, recorder);
  if (recorder.moments != nullptr) {
    for (QueryMoments& moments : *recorder.moments)
      moments.add(layer, p.first_token, p.n(), qkv, width);
  }
  if (recorder.repeat != nullptr) {
    score_repeat(model, rope, layer, *p.segment->cache, qkv, width, x, p.n(), *recorder.repeat);
  }
}

// Token and position embeddings of a segment into its rows of x (n, dim).
void embed(const Model& model, const Placed& p, float* x) {
  const ModelConfig& config = model.config;
  const auto scale = static_cast<float>(config.embedding_scale);
  std::vector<float> position(config.learned_positions > 0 ? config.dim : 0);
  for (int i = 0; i < p.n(); ++i) {
    float* row = x + static_cast<int64_t>(p.first_row + i) * config.dim;
    model.embedding.row(p.segment->tokens[i], row);
    if (scale != 1.0f) kernels().scale(row, scale, config.dim, row);
    if (config.learned_positions == 0) continue;
    model.positions.row(p.segment->cache->next_position(0, 0, p.first_token + i), position.data());
    kernels().add(row, position.data(), config.dim);
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

  for (const Placed& p : placed) embed(*model_, p, m.x.as<float>());
  float *x = m.x.as<float>(), *h = m.h.as<float>(), *qkv = m.qkv.as<float>(),
        *wide = m.wide.as<float>();
  std::vector<AttentionInput> inputs, stepping;
  for (const Placed& p : placed) {
    const bool steps = p.segment->cache->step() != nullptr;
    (steps ? stepping : inputs)
        .push_back({p.segment->cache, qkv + p.first_row * width, width, p.n(), p.first_token,
                    wide + p.first_row * q_width, q_width, config.query_scale(),
                    static_cast<float>(config.attention_softcap)});
  }
  const bool count_received = recorder != nullptr && recorder->attention_received != nullptr;
  if (count_received) {
    inputs[0].softmax_max = recorder->softmax_max->data();
    inputs[0].softmax_sum = recorder->softmax_sum->data();
  }
  for (int l = 0; l < config.n_layers; ++l) {
    const LayerWeights& w = model_->layers[l];
    const RopeTable& rope = rope_->at(l);
    const float* in = x;
    if (config.norm_before)
      in = norm_rows(config, w.attention_norm, w.attention_norm_bias, x, n, h);
    w.qkv.multiply(in, config.dim, n, qkv, width);
    if (config.qk_norm != QkNorm::kNone) norm_queries_and_keys(config, w, qkv, n, width);
    store_rows(config, rope, l, placed, qkv, width);
    if (recorder != nullptr) {
      const CpuTimer timer(seconds_recording_);
      record_prompt(*model_, rope, l, placed[0], qkv, width, in, *recorder);
    }
    for (const Placed& p : placed) {
      CutState& cuts = p.segment->cache->cuts();
      if (cuts.active())
        cuts.record(l, p.first_token, p.n(), qkv + p.first_row * width, width, rope);
    }
    attend(config, rope, l, inputs);
    // Side by side: one sequence alone has as many tasks as KV heads.
    parallel_for(static_cast<int64_t>(stepping.size()), [&](int64_t i) {
      stepping[i].cache->step()->attend(config, rope, l, stepping[i]);
    });
    if (count_received && config.layer(l).window == 0) {
      double* sums = recorder->attention_received->data() +
                     static_cast<int64_t>(l) * config.n_heads * recorder->n_tokens;
      const CpuTimer timer(seconds_recording_);
      add_attention_received(config, rope, l, inputs[0], sums, recorder->n_tokens);
    }
    w.o.multiply(wide, q_width, n, h, config.dim);
    if (config.norm_after) norm_rows(config, w.attention_post_norm, {}, h, n, h);

    // With a parallel residual the MLP reads x before attention's output is in it.
    const float* mlp_in = x;
    if (config.parallel_residual) {
      mlp_in = norm_rows(config, w.mlp_norm, w.mlp_norm_bias, x, n, m.parallel.as<float>());
    }
    add_rows(config, x, h, n);
    if (config.norm_before && !config.parallel_residual)
      mlp_in = norm_rows(config, w.mlp_norm, w.mlp_norm_bias, x, n, h);
    run_mlp(config, w, mlp_in, n, wide, h);
    if (config.norm_after) norm_rows(config, w.mlp_post_norm, {}, h, n, h);
    add_rows(config, x, h, n);
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
    norm_rows(config, model_->final_norm, model_->final_norm_bias,
              x + static_cast<int64_t>(rows[i]) * config.dim, 1, h + i * config.dim);
  });
  model_->lm_head.multiply(h, config.dim, static_cast<int>(n), logits, config.vocab);
  const auto scale = static_cast<float>(config.logit_scale);
  const auto cap = static_cast<float>(config.logit_softcap);
  if (scale != 1.0f || cap > 0) {
    parallel_for(n, [&](int64_t i) {
      float* row = logits + i * config.vocab;
      if (scale != 1.0f) kernels().scale(row, scale, config.vocab, row);
      if (cap > 0) cap_softly(row, config.vocab, cap);
    });
  }
  flops_computed_ += 2.0 * static_cast<double>(n) * config.dim * config.vocab;
}

}  // namespace kv
