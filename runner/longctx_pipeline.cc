// longctx_bench's pipeline files: which of our methods its methods are.
//
//   baseline               none
//   h2o_longbench, h2o_icl h2o(heavy,recent,prefill_scores=false)
//   stream-llm             streaming_rolling(ratio = 1 - compression_ratio); it keeps 4 sinks, there
//                          2.1 % of what is kept are sinks
//   inf-llm                infllm(ratio = 1 - compression_ratio)
//   KIVI                   kivi2, kivi4
//   FlexGen                flexgen4

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/model.h"
#include "runner/longctx_config.h"
#include "runner/longctx_fields.h"

namespace kv {
namespace {

// Models whose state is no KV cache; their names say so.
void refuse_recurrent(const std::string& model, const std::string& place) {
  std::string lower = model;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* family : {"mamba", "rwkv", "recurrentgemma"}) {
    if (lower.find(family) == std::string::npos) continue;
    throw_usage(
        "{}: {} keeps a recurrent state instead of a KV cache; this engine runs attention models, "
        "and there is nothing in this one to compress",
        place, model);
  }
}

std::string h2o_spec(LongctxFields& fields) {
  fields.expect("use_flash_attn", Value::of(true), "its other path scores in another way");
  return fmt::format("h2o(heavy={},recent={},prefill_scores=false)",
                     format_number(fields.number("heavy_ratio")),
                     format_number(fields.number("recent_ratio")));
}

std::string kivi_spec(LongctxFields& fields) {
  const int bits = fields.whole("k_bits", 1);
  fields.expect("v_bits", Value::of(double(bits)), "keys and values have one width here");
  if (bits != 2 && bits != 4)
    throw_usage("{}: expected 2 or 4 bits, found {}", fields.at("k_bits").place, bits);
  return fmt::format("kivi{}(group={},residual={})", bits, fields.whole("group_size", 1),
                     fields.whole("residual_length", 1));
}

std::string flexgen_spec(LongctxFields& fields) {
  fields.expect("use_flash_attn", Value::of(true), "longctx_bench then quantises nothing");
  fields.expect("k_bits", Value::of(4.0), "flexgen4 has 4 bits");
  fields.expect("v_bits", Value::of(4.0), "flexgen4 has 4 bits");
  fields.expect("residual_length", Value::of(0.0), "flexgen4 keeps no rows in full");
  fields.expect("k_quant_dim", Value::of("token"), "flexgen4 groups a token's channels");
  fields.expect("v_quant_dim", Value::of("token"), "flexgen4 groups a token's channels");
  return fmt::format("flexgen4(group={})", fields.whole("group_size", 1));
}

// 1 - compression_ratio, the share that goes; without the file's key longctx_bench runs the full
// model under the method's name.
double ratio_of(LongctxFields& fields) {
  const Value* kept = fields.find("compression_ratio");
  if (kept == nullptr) {
    throw_usage(
        "{}: 'compression_ratio' is missing; longctx_bench compresses nothing then and calls the "
        "full model's answers compressed",
        fields.place());
  }
  const double value = fields.number("compression_ratio");
  if (!(value > 0 && value <= 1))
    throw_usage("{}: expected a share above 0 and at most 1, found {}", kept->place, value);
  return std::round((1 - value) * 1e12) / 1e12;  // 0.83, not 0.83 and 3e-17
}

// What stream-llm and inf-llm have in common.
void read_rolling(LongctxFields& fields, LongctxPipeline& pipeline) {
  pipeline.rope_base = fields.number("base");
  if (fields.find("rope_linear_scaling_factor") != nullptr)
    pipeline.rope_linear_factor = fields.number("rope_linear_scaling_factor");
  fields.expect("distance_scale", Value::of(1.0), "distances are not stretched here");
  fields.expect("init_ratio", Value::of(0.021), "the sinks' share that the method has here");
  fields.ignore(
      {"fattn", "chunk_size", "local_ratio", "max_new_tokens"});  // the evaluation has the latter
}

std::string infllm_spec(LongctxFields& fields) {
  fields.expect("context_ratio", Value::of(0.324), "the blocks' share that the method has here");
  fields.ignore({"topk", "max_cached_block"});  // overwritten there, and a cache of the GPU's
  return fmt::format("infllm(ratio={},block={},repr={},step={})", format_number(ratio_of(fields)),
                     fields.whole("block_size", 1), fields.whole("repr_topk", 1),
                     fields.whole("exc_block_size", 1));
}

std::string spec_of(LongctxFields& fields, LongctxPipeline& pipeline) {
  const std::string method = fields.text("method");
  if (method == "baseline") return "none";
  if (method == "h2o_longbench" || method == "h2o_icl") return h2o_spec(fields);
  if (method == "KIVI") return kivi_spec(fields);
  if (method == "FlexGen") return flexgen_spec(fields);
  if (method == "stream-llm" || method == "inf-llm") {
    read_rolling(fields, pipeline);
    if (method == "inf-llm") return infllm_spec(fields);
    return fmt::format("streaming_rolling(ratio={})", format_number(ratio_of(fields)));
  }
  if (method == "llmlingua") {
    throw_usage(
        "{}: method llmlingua (LLMLingua2) rewrites the prompt's text with a second model before "
        "this one reads it; it is no compression of a KV cache and not in this build",
        fields.at("method").place);
  }
  throw_usage(
      "{}: unknown method '{}'; expected baseline, h2o_longbench, h2o_icl, stream-llm, inf-llm, "
      "KIVI "
      "or FlexGen",
      fields.at("method").place, method);
}

LongctxPrompts prompts_of(LongctxFields& fields, const std::string& method) {
  LongctxPrompts prompts;
  const Value* chat = fields.find("chat_template");
  if (chat == nullptr || chat->text != "auto") prompts.chat = chat != nullptr;
  const Value* mode = fields.find("truncation_mode");
  if (mode != nullptr)
    fields.expect("truncation_mode", Value::of("middle"), "the only one there is");
  // These two cut only what they do not allow.
  const bool rolling = method == "stream-llm" || method == "inf-llm";
  if (rolling) {
    fields.expect("out_of_max_len_allowed", Value::of(true), "prompts are never cut for it here");
  }
  prompts.cuts_middle = mode != nullptr && !rolling;
  if (prompts.cuts_middle && fields.find("model_max_len") != nullptr)
    prompts.max_length = fields.whole("model_max_len", 2);
  return prompts;
}

}  // namespace

LongctxPipeline read_longctx_pipeline(const Value& file) {
  LongctxFields fields(file, "pipeline_params");
  LongctxPipeline pipeline;
  pipeline.place = fields.place();
  pipeline.model = fields.text("model_name");
  const Value* own = fields.find("kvengine_spec");
  const std::string method = own == nullptr ? fields.text("method") : "";
  if (method != "llmlingua") refuse_recurrent(pipeline.model, fields.at("model_name").place);
  pipeline.spec = own == nullptr ? spec_of(fields, pipeline) : fields.text("kvengine_spec");
  fields.expect("tokenizer_name", Value::of(pipeline.model), "a model has its own tokenizer here");
  pipeline.prompts = prompts_of(fields, method);
  const double factor =
      fields.find("rope_theta_factor") == nullptr ? 1 : fields.number("rope_theta_factor");
  if (factor != 1) {
    pipeline.model += fmt::format("(rope_theta_factor={})", format_number(factor));
  }
  fields.ignore({"batch_size", "use_flash_attn", "out_of_max_len_allowed", "model_max_len"});
  if (own == nullptr) fields.done();
  return pipeline;
}

void check_longctx_rope(const std::vector<LongctxPipeline>& pipelines,
                        const std::filesystem::path& location) {
  const RopeConfig rope = read_model_header(location).config.rope;
  for (const LongctxPipeline& pipeline : pipelines) {
    if (pipeline.rope_base != 0 && pipeline.rope_base != rope.theta) {
      throw_data("{}.base: expected {}, the rope_theta of {}, found {}", pipeline.place,
                 format_number(rope.theta), location.string(), format_number(pipeline.rope_base));
    }
    const double factor = rope.type == RopeType::kLinear ? rope.factor : 1;
    if (pipeline.rope_linear_factor != 0 && pipeline.rope_linear_factor != factor) {
      throw_data("{}.rope_linear_scaling_factor: expected {}, as {} has it, found {}",
                 pipeline.place, format_number(factor), location.string(),
                 format_number(pipeline.rope_linear_factor));
    }
  }
}

}  // namespace kv
