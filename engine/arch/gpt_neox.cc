// GPT-NeoX and Pythia: LayerNorm with bias, RoPE over the first channels of each head, a plain MLP, and
// attention and MLP side by side or one after the other.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"
#include "engine/error.h"

namespace kv {
namespace {

constexpr double kDefaultTheta = 10000.0;
constexpr double kDefaultShare = 0.25;  // of a head that rotates

// Configs have keys of their own for both. Where the share has none, transformers takes its default
// whatever rope_parameters say; a file on which the two readings differ is refused.
void read_neox_rope(const ConfigReader& reader, ModelConfig* config) {
  std::optional<ConfigReader> rope = reader.object("rope_scaling");
  if (!rope) rope = reader.object("rope_parameters");
  const double share = reader.number_or("rotary_pct", kDefaultShare);
  if (rope && rope->number_or("partial_rotary_factor", share) != share) {
    rope->fail(
        "partial_rotary_factor",
        fmt::format("{}, which transformers takes here whatever stands there; say rotary_pct",
                    share));
  }
  const bool is_share = share > 0 && share <= 1;
  config->rotary_dim = is_share ? static_cast<int>(config->head_dim * share) : 0;
  if (config->rotary_dim < 2 || config->rotary_dim % 2 != 0) {
    reader.fail("rotary_pct", fmt::format("a share of the {} channels of a head that makes pairs",
                                          config->head_dim));
  }
  const double theta =
      reader.has("rotary_emb_base") ? reader.required_positive("rotary_emb_base") : kDefaultTheta;
  config->rope = read_rope_object(reader, rope, theta, config);
}

}  // namespace

ModelConfig read_gpt_neox_config(const ConfigReader& reader) {
  ModelConfig config = read_sizes(reader, "hidden_act", "gelu");
  config.n_kv_heads = config.n_heads;  // transformers has no other key for it here
  config.norm = Norm::kLayer;
  config.norm_eps = static_cast<float>(reader.required_positive("layer_norm_eps"));
  read_neox_rope(reader, &config);
  config.parallel_residual = reader.bool_or("use_parallel_residual", true);
  config.qkv_bias = config.o_bias = reader.bool_or("attention_bias", true);
  config.gated_mlp = false;
  config.mlp_bias = true;
  return config;
}

}  // namespace kv
