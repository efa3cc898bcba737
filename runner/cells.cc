#include "runner/cells.h"

#include <xxhash.h>

#include <map>

#include "engine/error.h"
#include "runner/results.h"

namespace kv {
namespace {

// Raised whenever the engine's arithmetic changes a bit of its results, so that old records are not
// mixed with new.
constexpr int kNumericsVersion = 2;

}  // namespace

std::string hash_text(const std::string& text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

namespace {

// " name=value" for each field that came after the first ones and says something other than its default:
// what older records were made with keeps its text.
std::string later_fields_text(const ModelConfig& c) {
  const ModelConfig none;
  std::string text;
  const auto add = [&](const char* name, const auto& value, const auto& usual) {
    if (value != usual) text += fmt::format(" {}={}", name, value);
  };
  add("norm", static_cast<int>(c.norm), static_cast<int>(none.norm));
  add("norm_plus_one", c.norm_plus_one, none.norm_plus_one);
  add("norm_before", c.norm_before, none.norm_before);
  add("norm_after", c.norm_after, none.norm_after);
  add("parallel_residual", c.parallel_residual, none.parallel_residual);
  add("residual_scale", c.residual_scale, none.residual_scale);
  add("sliding_theta", c.sliding_rope.theta, none.sliding_rope.theta);
  add("sliding_rope", static_cast<int>(c.sliding_rope.type), 0);
  add("sliding_factor", c.sliding_rope.factor, none.sliding_rope.factor);
  add("learned_positions", c.learned_positions, none.learned_positions);
  add("attention_scale", c.attention_scale, none.attention_scale);
  add("attention_softcap", c.attention_softcap, none.attention_softcap);
  add("qk_norm_of", static_cast<int>(c.qk_norm) / 2, 0);
  add("activation", static_cast<int>(c.activation), static_cast<int>(none.activation));
  add("gated_mlp", c.gated_mlp, none.gated_mlp);
  add("embedding_scale", c.embedding_scale, none.embedding_scale);
  add("logit_scale", c.logit_scale, none.logit_scale);
  add("logit_softcap", c.logit_softcap, none.logit_softcap);
  for (const float divisor : c.rope.short_factors) text += fmt::format(" /{}", divisor);
  for (const LayerConfig& layer : c.layers)
    text += fmt::format(" {}:{}", layer.window, static_cast<int>(layer.rope));
  return text;
}

}  // namespace

std::string model_config_text(const ModelConfig& c) {
  const RopeConfig& r = c.rope;
  return fmt::format(
      "architecture={} vocab={} dim={} hidden_dim={} layers={} heads={} kv_heads={} head_dim={} "
      "rotary_dim={} "
      "rms_eps={} rope_type={} theta={} factor={} low_freq_factor={} high_freq_factor={} "
      "original_max_position={} "
      "beta_fast={} beta_slow={} attention_factor={} mscale={} mscale_all_dim={} truncate={} "
      "qkv_bias={} o_bias={} "
      "mlp_bias={} qk_norm={} tied={} bos={} eos=[{}]{}",
      c.architecture, c.vocab, c.dim, c.hidden_dim, c.n_layers, c.n_heads, c.n_kv_heads, c.head_dim,
      c.rotary_dim, c.norm_eps, static_cast<int>(r.type), r.theta, r.factor, r.low_freq_factor,
      r.high_freq_factor, r.original_max_position, r.beta_fast, r.beta_slow, r.attention_factor,
      r.mscale, r.mscale_all_dim, r.truncate, c.qkv_bias, c.o_bias, c.mlp_bias,
      c.qk_norm != QkNorm::kNone, c.tied_embeddings, c.bos_id, fmt::join(c.eos_ids, ","),
      later_fields_text(c));
}

std::string cell_fingerprint(const ModelIdentity& model, const CompressorSpec& compressor,
                             const Task& task, const RunOptions& run) {
  std::string text;
  const auto add = [&text](const char* key, const std::string& value) {
    // Lengths keep two neighbouring values from being read as one.
    text += fmt::format("{}:{}:{}\n", key, value.size(), value);
  };
  add("results_schema", std::to_string(kResultsSchema));
  add("numerics", std::to_string(kNumericsVersion));
  add("weights", model.weights_hash);
  add("model_config", model_config_text(model.config));
  add("tokenizer", model.tokenizer_hash);
  add("template", model.template_hash);
  add("task", task.canonical());
  add("task_version", std::to_string(task.version()));
  add("task_data", task.data_hash());
  add("compressor", compressor.canonical);
  add("kv_dtype", run.kv_dtype);
  add("weights_dtype", run.weights);
  add("gemm", run.gemm);
  add("max_new_tokens", std::to_string(run.max_new_tokens));
  if (run.same_max_new_tokens) add("same_max_new_tokens", "true");
  add("seed", std::to_string(run.seed));
  return hash_text(text);
}

std::vector<Cell> make_cells(const RunConfig& config, const std::vector<ModelIdentity>& models) {
  std::vector<Cell> cells;
  std::map<std::string, std::string> id_of;
  for (size_t m = 0; m < models.size(); ++m) {
    for (size_t t = 0; t < config.tasks.size(); ++t) {
      const Task& task = *config.tasks[t].task;
      for (size_t c = 0; c < config.compressors.size(); ++c) {
        const CompressorSpec& spec = config.compressors[c];
        Cell cell{m, t, c,
                  fmt::format("{}/{}/{}", models[m].name, task.canonical(), spec.canonical),
                  cell_fingerprint(models[m], spec, task, config.run)};
        const auto [known, is_new] = id_of.emplace(cell.fingerprint, cell.id);
        if (!is_new) {
          throw_usage(
              "{}: cell {} computes the same as {}; the two models are one, remove one of their "
              "names",
              config.file.filename().string(), cell.id, known->second);
        }
        cells.push_back(std::move(cell));
      }
    }
  }
  return cells;
}

}  // namespace kv
