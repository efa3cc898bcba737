#include "engine/gguf_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>

#include "engine/arch/common.h"
#include "engine/chat_template.h"
#include "engine/error.h"

namespace kv {
namespace {

const char kRopeFactors[] = "rope_freqs.weight";

int count(const Gguf& gguf, const std::string& key) {
  const int64_t value = gguf.integer(key);
  if (value < 1 || value > INT32_MAX) {
    throw_data("{}: {}: expected a positive integer, found {}", gguf.place(), key, value);
  }
  return static_cast<int>(value);
}

int count_or(const Gguf& gguf, const std::string& key, int fallback) {
  return gguf.has(key) ? count(gguf, key) : fallback;
}

double positive(const Gguf& gguf, const std::string& key, double value) {
  if (value > 0 && std::isfinite(value)) return value;
  throw_data("{}: {}: expected a positive number, found {}", gguf.place(), key, value);
}

// Llama 3 files carry the divisor of each frequency instead of the rule behind it. The published
// models all use low 1, high 4, length 8192, and the largest divisor is the factor; the whole table
// must follow from these.
RopeConfig llama3_rope_of(const Gguf& gguf, const StoredTensor& tensor, double theta,
                          int head_dim) {
  if (tensor.elements() != head_dim / 2) {
    throw_data("{}: tensor '{}': expected shape [{}], found {}", gguf.place(), tensor.stored_name,
               head_dim / 2, shape_text(tensor.shape));
  }
  const std::vector<float> divisors = read_floats(tensor);
  RopeConfig rope;
  rope.theta = theta;
  rope.factor = *std::max_element(divisors.begin(), divisors.end());
  if (rope.factor == 1.0 && *std::min_element(divisors.begin(), divisors.end()) == 1.0f)
    return rope;
  rope.type = RopeType::kLlama3;
  rope.low_freq_factor = 1.0;
  rope.high_freq_factor = 4.0;
  rope.original_max_position = 8192;
  for (int i = 0; i < head_dim / 2; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, 2.0 * i / head_dim);
    const double turns = rope.original_max_position / wavelength;
    const double smooth = std::clamp(
        (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0);
    const double expected = 1.0 / ((1.0 - smooth) / rope.factor + smooth);
    if (!(std::fabs(divisors[static_cast<size_t>(i)] - expected) <= 1e-3 * expected)) {
      throw_data(
          "{}: tensor '{}': entry {} is {}, but Llama 3's rule (factor {}, low 1, high 4, length "
          "8192) gives {}; other frequency tables are not supported",
          gguf.place(), tensor.stored_name, i, divisors[static_cast<size_t>(i)], rope.factor,
          expected);
    }
  }
  return rope;
}

void read_scaling(const Gguf& gguf, const std::string& prefix, RopeConfig* rope) {
  const std::string base = prefix + "rope.scaling.";
  const std::string type = gguf.string_or(base + "type", "none");
  if (gguf.number_or(prefix + "rope.scale_linear", 1.0) != 1.0 ||
      gguf.number_or(base + "attn_factor", 1.0) != 1.0) {
    throw_data("{}: {}rope.scale_linear and {}attn_factor other than 1 are not supported",
               gguf.place(), prefix, base);
  }
  if (type == "none") return;
  if (type != "linear" && type != "yarn") {
    throw_data("{}: {}type: '{}' is not supported; none, linear and yarn are", gguf.place(), base,
               type);
  }
  rope->type = type == "linear" ? RopeType::kLinear : RopeType::kYarn;
  rope->factor = positive(gguf, base + "factor", gguf.number(base + "factor"));
  if (type == "linear") return;
  rope->original_max_position = count(gguf, base + "original_context_length");
  rope->beta_fast =
      positive(gguf, base + "yarn_beta_fast", gguf.number_or(base + "yarn_beta_fast", 32));
  rope->beta_slow =
      positive(gguf, base + "yarn_beta_slow", gguf.number_or(base + "yarn_beta_slow", 1));
  for (const char* key : {"yarn_log_multiplier", "yarn_ext_factor", "yarn_attn_factor"}) {
    const double neutral = std::string(key) == "yarn_log_multiplier" ? 0.0 : 1.0;
    if (gguf.number_or(base + key, neutral) != neutral) {
      throw_data("{}: {}{}: values other than {} are not supported", gguf.place(), base, key,
                 neutral);
    }
  }
}

RopeConfig read_rope(const Gguf& gguf, const std::string& prefix, const ModelConfig& config) {
  const int rotated = count_or(gguf, prefix + "rope.dimension_count", config.head_dim);
  if (rotated != config.head_dim) {
    throw_data("{}: {}rope.dimension_count: rotating {} of {} channels is not supported",
               gguf.place(), prefix, rotated, config.head_dim);
  }
  RopeConfig rope;
  rope.theta =
      positive(gguf, prefix + "rope.freq_base", gguf.number_or(prefix + "rope.freq_base", 10000.0));
  read_scaling(gguf, prefix, &rope);
  const StoredTensor* factors = gguf.find_tensor(kRopeFactors);
  if (factors == nullptr) return rope;
  if (rope.type != RopeType::kDefault) {
    throw_data(
        "{}: both {}rope.scaling.type and the tensor '{}' are there; one of them is supported",
        gguf.place(), prefix, kRopeFactors);
  }
  return llama3_rope_of(gguf, *factors, rope.theta, config.head_dim);
}

// One number, or one for each layer as long as all are the same.
int heads(const Gguf& gguf, const std::string& key) {
  if (!std::holds_alternative<GgufValue::Array>(gguf.metadata().at(key).value))
    return count(gguf, key);
  const std::vector<int64_t> each = gguf.integers_or_empty(key);
  if (each.empty() || each[0] < 1 || each[0] > INT32_MAX ||
      std::adjacent_find(each.begin(), each.end(), std::not_equal_to<>()) != each.end()) {
    throw_data("{}: {}: heads that differ between layers are not supported", gguf.place(), key);
  }
  return static_cast<int>(each[0]);
}

void read_heads(const Gguf& gguf, const std::string& prefix, ModelConfig* config) {
  const std::string key = prefix + "attention.head_count";
  if (!gguf.has(key)) throw_data("{}: the metadata key '{}' is missing", gguf.place(), key);
  config->n_heads = heads(gguf, key);
  const std::string kv_key = key + "_kv";
  config->n_kv_heads = gguf.has(kv_key) ? heads(gguf, kv_key) : config->n_heads;
  if (!gguf.has(prefix + "attention.key_length") && config->dim % config->n_heads != 0) {
    throw_data(
        "{}: {}embedding_length {} is no multiple of {} {} and {}attention.key_length is missing",
        gguf.place(), prefix, config->dim, key, config->n_heads, prefix);
  }
  config->head_dim = count_or(gguf, prefix + "attention.key_length", config->dim / config->n_heads);
  config->rotary_dim = config->head_dim;
  const int value_length = count_or(gguf, prefix + "attention.value_length", config->head_dim);
  if (value_length != config->head_dim) {
    throw_data("{}: {}attention.value_length {} differs from the key length {}: not supported",
               gguf.place(), prefix, value_length, config->head_dim);
  }
}

// End of text, end of turn.
void read_special_ids(const Gguf& gguf, ModelConfig* config) {
  config->bos_id = static_cast<int>(gguf.integer_or("tokenizer.ggml.bos_token_id", -1));
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    const auto id = static_cast<int>(gguf.integer_or(key, -1));
    const bool known =
        std::find(config->eos_ids.begin(), config->eos_ids.end(), id) != config->eos_ids.end();
    if (id >= 0 && !known) config->eos_ids.push_back(id);
  }
}

void refuse_other_layers(const Gguf& gguf, const std::string& prefix, bool may_slide) {
  if (gguf.integer_or(prefix + "expert_count", 0) != 0) {
    throw_data("{}: {}expert_count: a mixture of experts is not supported", gguf.place(), prefix);
  }
  if (!may_slide && gguf.integer_or(prefix + "attention.sliding_window", 0) != 0) {
    throw_data(
        "{}: {}attention.sliding_window: sliding-window attention is not supported in such "
        "files",
        gguf.place(), prefix);
  }
}

// Gemma 2 and 3. What files leave out is as in every published model: the pattern of sliding layers, the
// base of their RoPE, and the scale of scores, which only the largest model takes from another size. Norm
// weights have had their 1 added already.
void read_gemma(const Gguf& gguf, const std::string& prefix, bool third, ModelConfig* config) {
  config->norm_after = true;
  config->activation = Activation::kGeluTanh;
  config->embedding_scale = std::sqrt(static_cast<double>(config->dim));
  const bool largest = config->n_layers == (third ? 62 : 46);
  config->attention_scale =
      1.0 / std::sqrt(largest ? static_cast<double>(config->dim) / config->n_heads
                              : static_cast<double>(config->head_dim));
  const auto cap = [&](const char* key) {
    return third && !gguf.has(prefix + key)
               ? 0.0
               : positive(gguf, prefix + key, gguf.number(prefix + key));
  };
  config->attention_softcap = cap("attn_logit_softcapping");
  config->logit_softcap = cap("final_logit_softcapping");
  if (third) config->qk_norm = QkNorm::kHead;
  const int window = count(gguf, prefix + "attention.sliding_window");
  const int pattern = third ? 6 : 2;  // the last layer of so many sees all
  if (gguf.has(prefix + "attention.sliding_window_pattern")) {
    throw_data(
        "{}: {}attention.sliding_window_pattern: another pattern than every {} layers is not "
        "supported",
        gguf.place(), prefix, pattern);
  }
  config->layers.resize(static_cast<size_t>(config->n_layers));
  for (int l = 0; l < config->n_layers; ++l) {
    if ((l + 1) % pattern == 0) continue;
    config->layers[l].window = window;
    if (third) config->layers[l].rope = LayerRope::kSliding;
  }
  const std::string base = prefix + "rope.freq_base_swa";
  config->sliding_rope.theta = positive(gguf, base, gguf.number_or(base, 10000.0));
}

// "blk.3.attn_q.weight" -> layer 3 and "attn_q.weight".
struct BlockName {
  int layer = 0;
  std::string part;
};
std::optional<BlockName> parse_block(const std::string& name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  BlockName result;
  const char* end = name.data() + name.size();
  const auto [next, error] = std::from_chars(name.data() + 4, end, result.layer);
  if (error != std::errc() || next == end || *next != '.') return std::nullopt;
  result.part.assign(next + 1, end);
  return result;
}

// Hugging Face's name of a tensor; "" for names that GGUF does not have in these architectures.
std::string hugging_face_name(const std::string& name, const TensorNames& names) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return "";
  const std::string suffix = name.substr(dot);
  if (suffix != ".weight" && suffix != ".bias") return "";
  const std::pair<const char*, const char*> whole[] = {{"token_embd", names.embedding},
                                                       {"output_norm", names.final_norm},
                                                       {"output", names.lm_head}};
  for (const auto& [ours, theirs] : whole) {
    if (name.substr(0, dot) == ours) return theirs + suffix;
  }
  const auto block = parse_block(name);
  if (!block) return "";
  const std::pair<const char*, const char*> parts[] = {
      {"attn_norm", names.attention_norm},
      {"attn_q", names.q},
      {"attn_k", names.k},
      {"attn_v", names.v},
      {"attn_output", names.o},
      {"attn_q_norm", names.q_norm},
      {"attn_k_norm", names.k_norm},
      {"post_attention_norm", names.attention_post_norm},
      {"ffn_norm", names.mlp_norm},
      {"post_ffw_norm", names.mlp_post_norm},
      {"ffn_gate", names.gate},
      {"ffn_up", names.up},
      {"ffn_down", names.down}};
  for (const auto& [ours, theirs] : parts) {
    if (theirs != nullptr && block->part == ours + suffix)
      return tensor_name(theirs, block->layer) + suffix;
  }
  return "";
}

bool is_rotated_projection(const std::string& name) {
  const auto block = parse_block(name);
  return block && (block->part.starts_with("attn_q.") || block->part.starts_with("attn_k."));
}

}  // namespace

const Architecture& gguf_architecture(const Gguf& gguf) {
  return architecture_of_gguf(gguf.string("general.architecture"), gguf.place());
}

ModelConfig gguf_model_config(const Gguf& gguf) {
  const Architecture& architecture = gguf_architecture(gguf);
  const std::string prefix = architecture.gguf_name + ".";
  const bool gemma2 = architecture.gguf_name == "gemma2";
  const bool gemma3 = architecture.gguf_name == "gemma3";
  refuse_other_layers(gguf, prefix, gemma2 || gemma3);
  ModelConfig config;
  config.architecture = architecture.name;
  const StoredTensor* embedding = gguf.find_tensor("token_embd.weight");
  if (embedding == nullptr)
    throw_data("{}: the tensor 'token_embd.weight' is missing", gguf.place());
  if (embedding->shape.size() != 2 || embedding->shape[0] > INT32_MAX) {
    throw_data("{}: tensor 'token_embd.weight': expected a matrix, found shape {}", gguf.place(),
               shape_text(embedding->shape));
  }
  config.vocab = static_cast<int>(embedding->shape[0]);
  config.dim = count(gguf, prefix + "embedding_length");
  config.hidden_dim = count(gguf, prefix + "feed_forward_length");
  config.n_layers = count(gguf, prefix + "block_count");
  config.max_position = count(gguf, prefix + "context_length");
  const std::string eps = prefix + "attention.layer_norm_rms_epsilon";
  config.norm_eps = static_cast<float>(positive(gguf, eps, gguf.number(eps)));
  read_heads(gguf, prefix, &config);
  check_model_config(config, gguf.place());
  config.rope = read_rope(gguf, prefix, config);
  // The file has no flags for these: it says so by having the tensors.
  config.qkv_bias = gguf.find_tensor("blk.0.attn_q.bias") != nullptr;
  config.o_bias = gguf.find_tensor("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = gguf.find_tensor("blk.0.ffn_gate.bias") != nullptr;
  if (architecture.gguf_name == "qwen3") config.qk_norm = QkNorm::kHead;
  if (gemma2 || gemma3) read_gemma(gguf, prefix, gemma3, &config);
  config.tied_embeddings = gguf.find_tensor("output.weight") == nullptr;
  read_special_ids(gguf, &config);
  return config;
}

std::vector<StoredTensor> gguf_tensors(const Gguf& gguf, const ModelConfig& config) {
  const Architecture& architecture = gguf_architecture(gguf);
  std::vector<StoredTensor> result;
  for (const StoredTensor& stored : gguf.tensors()) {
    if (stored.name == kRopeFactors) continue;  // already in config.rope
    StoredTensor tensor = stored;
    tensor.name = hugging_face_name(stored.name, *architecture.tensors);
    if (tensor.name.empty()) {
      throw_data(
          "{}: tensor '{}' {} is unknown in architecture '{}': leaving it out would change the "
          "results",
          gguf.place(), stored.name, shape_text(stored.shape), architecture.gguf_name);
    }
    // Conversion to GGUF permutes the q and k rows of Llama models only.
    if (architecture.gguf_name == "llama" && is_rotated_projection(stored.name)) {
      tensor.interleaved_head_dim = config.head_dim;
    }
    result.push_back(std::move(tensor));
  }
  return result;
}

GgufTokenizer gguf_tokenizer(const Gguf& gguf) {
  const std::string prefix = "tokenizer.ggml.";
  GgufTokenizer result;
  result.model = gguf.string_or(prefix + "model", "");
  result.pre = gguf.string_or(prefix + "pre", "default");
  result.tokens = gguf.strings_or_empty(prefix + "tokens");
  if (result.tokens.empty())
    return result;  // ids of special tokens may stand in a file without a vocabulary
  result.merges = gguf.strings_or_empty(prefix + "merges");
  result.scores = gguf.numbers_or_empty(prefix + "scores");
  for (const int64_t type : gguf.integers_or_empty(prefix + "token_type")) {
    result.token_types.push_back(static_cast<int>(type));
  }
  if (!result.token_types.empty() && result.token_types.size() != result.tokens.size()) {
    throw_data("{}: {}token_type: expected {} entries, one for each token, found {}", gguf.place(),
               prefix, result.tokens.size(), result.token_types.size());
  }
  const auto id = [&](const char* key) {
    const int64_t value = gguf.integer_or(prefix + key, -1);
    if (value < -1 || (value >= static_cast<int64_t>(result.tokens.size()) && value != -1)) {
      throw_data("{}: {}{}: {} is no id of the {} tokens", gguf.place(), prefix, key, value,
                 result.tokens.size());
    }
    return static_cast<int>(value);
  };
  result.bos_id = id("bos_token_id");
  result.eos_id = id("eos_token_id");
  result.pad_id = id("padding_token_id");
  result.unk_id = id("unknown_token_id");
  // Llama's tokenizers begin every text with BOS, and files leave the key out.
  result.add_bos = gguf.boolean_or(prefix + "add_bos_token",
                                   result.model == "llama" || result.pre == "llama-bpe");
  result.add_space_prefix = gguf.boolean_or(prefix + "add_space_prefix", true);
  result.add_eos = gguf.boolean_or(prefix + "add_eos_token", false);
  return result;
}

std::shared_ptr<const ChatTemplate> gguf_chat_template(const Gguf& gguf,
                                                       const GgufTokenizer& tokenizer) {
  const std::string key = "tokenizer.chat_template";
  if (!gguf.has(key)) return nullptr;
  std::map<std::string, std::string> globals;
  const auto add = [&](const char* name, int id) {
    if (id >= 0) globals[name] = tokenizer.tokens[static_cast<size_t>(id)];
  };
  add("bos_token", tokenizer.bos_id);
  add("eos_token", tokenizer.eos_id);
  add("pad_token", tokenizer.pad_id);
  add("unk_token", tokenizer.unk_id);
  return ChatTemplate::parse(gguf.string(key), gguf.place() + ": " + key, globals);
}

}  // namespace kv
