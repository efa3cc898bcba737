#include "engine/model_config.h"

#include <nlohmann/json.hpp>

#include "tests/engine/file_testing.h"

namespace kv {
namespace {

using nlohmann::json;

json llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"vocab_size", 512},
          {"hidden_size", 64},
          {"intermediate_size", 112},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 16},
          {"max_position_embeddings", 1024},
          {"rms_norm_eps", 1e-6},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", false},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"rope_theta", 10000.0}};
}

json with(json config, const json& changes) {
  config.update(changes);
  return config;
}

json named(const char* architecture, const json& changes = json::object()) {
  return with(with(llama(), {{"architectures", {architecture}}}), changes);
}

ModelConfig read(const json& config, const json& generation = nullptr) {
  const TempFolder folder;
  folder.write("config.json", config.dump());
  if (!generation.is_null()) folder.write("generation_config.json", generation.dump());
  return read_model_config(folder.path());
}

void expect_refused(const json& config, std::vector<std::string> parts) {
  parts.push_back("config.json");
  expect_error([&] { read(config); }, parts);
}

TEST(ModelConfig, ReadsEverySize) {
  const ModelConfig c = read(llama());
  EXPECT_EQ(c.architecture, "LlamaForCausalLM");
  EXPECT_EQ(c.vocab, 512);
  EXPECT_EQ(c.dim, 64);
  EXPECT_EQ(c.hidden_dim, 112);
  EXPECT_EQ(c.n_layers, 3);
  EXPECT_EQ(c.n_heads, 4);
  EXPECT_EQ(c.n_kv_heads, 2);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.rotary_dim, 16);
  EXPECT_EQ(c.max_position, 1024);
  EXPECT_EQ(c.norm_eps, 1e-6f);
  EXPECT_FALSE(c.tied_embeddings || c.qkv_bias || c.o_bias || c.mlp_bias ||
               c.qk_norm != QkNorm::kNone);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_EQ(c.eos_ids, std::vector<int>{2});
  EXPECT_EQ(c.rope.theta, 10000.0);
}

TEST(ModelConfig, EveryRequiredKeyIsNamedWhereItIsMissing) {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "max_position_embeddings", "rms_norm_eps", "architectures"}) {
    json config = llama();
    config.erase(key);
    expect_refused(config, {key});
    expect_refused(with(llama(), {{key, nullptr}}), {key});
    expect_refused(with(llama(), {{key, "many"}}), {key, "\"many\""});
  }
  for (const char* key :
       {"vocab_size", "hidden_size", "num_hidden_layers", "head_dim", "num_key_value_heads"}) {
    expect_refused(with(llama(), {{key, 0}}), {key, "positive integer", "0"});
    expect_refused(with(llama(), {{key, 1.5}}), {key, "positive integer", "1.5"});
    expect_refused(with(llama(), {{key, -4}}), {key, "positive integer", "-4"});
    expect_refused(with(llama(), {{key, 10000000000}}), {key, "positive integer"});
  }
}

TEST(ModelConfig, OlderConfigsLeaveOutWhatDidNotExistYet) {
  json config = llama();
  for (const char* key :
       {"num_key_value_heads", "head_dim", "rope_theta", "tie_word_embeddings", "hidden_act"}) {
    config.erase(key);
  }
  const ModelConfig c = read(config);
  EXPECT_EQ(c.n_kv_heads, 4);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.rope.theta, 10000.0);
  EXPECT_FALSE(c.tied_embeddings);
  config["num_attention_heads"] = 3;
  expect_refused(config, {"hidden_size", "num_attention_heads", "head_dim"});
}

TEST(ModelConfig, RefusesSizesThatDoNotFit) {
  expect_refused(with(llama(), {{"num_key_value_heads", 3}}), {"query heads", "4", "3"});
  expect_refused(with(llama(), {{"head_dim", 15}}), {"head_dim 15"});
  expect_refused(with(llama(), {{"num_hidden_layers", 1000000000}}), {"layers"});
  expect_refused(with(llama(), {{"intermediate_size", 2000000000}}), {"columns"});
}

TEST(ModelConfig, Biases) {
  const ModelConfig c = read(with(llama(), {{"attention_bias", true}, {"mlp_bias", true}}));
  EXPECT_TRUE(c.qkv_bias && c.o_bias && c.mlp_bias);
  const ModelConfig q = read(named("Qwen2ForCausalLM"));
  EXPECT_TRUE(q.qkv_bias);
  EXPECT_FALSE(q.o_bias || q.mlp_bias || q.qk_norm != QkNorm::kNone);
  const ModelConfig q3 = read(named("Qwen3ForCausalLM"));
  EXPECT_EQ(q3.qk_norm, QkNorm::kHead);
  EXPECT_FALSE(q3.qkv_bias || q3.o_bias);
  EXPECT_TRUE(read(named("Qwen3ForCausalLM", {{"attention_bias", true}})).o_bias);
  EXPECT_FALSE(read(named("MistralForCausalLM", {{"sliding_window", nullptr}})).qkv_bias);
  expect_refused(with(llama(), {{"attention_bias", "yes"}}), {"attention_bias", "true or false"});
  json no_head_dim = named("Qwen3ForCausalLM");
  no_head_dim.erase("head_dim");
  expect_refused(no_head_dim, {"head_dim", "missing"});
}

TEST(ModelConfig, RopeInBothSpellings) {
  const json llama3 = {{"factor", 8.0},
                       {"low_freq_factor", 1.5},
                       {"high_freq_factor", 5.0},
                       {"original_max_position_embeddings", 64}};
  const auto check = [](const ModelConfig& c) {
    EXPECT_EQ(c.rope.type, RopeType::kLlama3);
    EXPECT_EQ(c.rope.theta, 500000.0);
    EXPECT_EQ(c.rope.factor, 8.0);
    EXPECT_EQ(c.rope.low_freq_factor, 1.5);
    EXPECT_EQ(c.rope.high_freq_factor, 5.0);
    EXPECT_EQ(c.rope.original_max_position, 64);
  };
  const json theta = {{"rope_theta", 500000.0}};
  json v5 = llama();
  v5.erase("rope_theta");
  check(
      read(with(v5, {{"rope_parameters", with(llama3, with(theta, {{"rope_type", "llama3"}}))}})));
  check(read(
      with(llama(), with(theta, {{"rope_scaling", with(llama3, {{"rope_type", "llama3"}})}}))));
  check(read(with(llama(), with(theta, {{"rope_scaling", with(llama3, {{"type", "llama3"}})}}))));
  EXPECT_EQ(read(with(llama(), {{"rope_scaling", nullptr}})).rope.type, RopeType::kDefault);
  EXPECT_EQ(read(with(v5, {{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}}}))
                .rope.theta,
            5e5);
}

TEST(ModelConfig, RopeOfEveryType) {
  const auto rope = [](const json& scaling) {
    return read(with(llama(), {{"rope_scaling", scaling}})).rope;
  };
  const RopeConfig linear = rope({{"type", "linear"}, {"factor", 4}});
  EXPECT_EQ(linear.type, RopeType::kLinear);
  EXPECT_EQ(linear.factor, 4.0);
  const RopeConfig plain = rope({{"rope_type", "yarn"}, {"factor", 4.0}});
  EXPECT_EQ(plain.type, RopeType::kYarn);
  EXPECT_EQ(plain.original_max_position, 1024);  // max_position_embeddings, as transformers does
  EXPECT_EQ(plain.beta_fast, 32.0);
  EXPECT_EQ(plain.beta_slow, 1.0);
  EXPECT_EQ(plain.attention_factor, 0.0);
  EXPECT_TRUE(plain.truncate);
  const RopeConfig full = rope({{"rope_type", "yarn"},
                                {"factor", 4.0},
                                {"beta_fast", 24.0},
                                {"beta_slow", 2.0},
                                {"attention_factor", 1.1},
                                {"mscale", 0.7},
                                {"mscale_all_dim", 0.9},
                                {"truncate", false},
                                {"original_max_position_embeddings", 256}});
  EXPECT_EQ(full.beta_fast, 24.0);
  EXPECT_EQ(full.beta_slow, 2.0);
  EXPECT_EQ(full.attention_factor, 1.1);
  EXPECT_EQ(full.mscale, 0.7);
  EXPECT_EQ(full.mscale_all_dim, 0.9);
  EXPECT_FALSE(full.truncate);
  EXPECT_EQ(full.original_max_position, 256);
  EXPECT_EQ(rope({{"rope_type", "yarn"}, {"original_max_position_embeddings", 256}}).factor, 4.0);
}

TEST(ModelConfig, RefusesRopeThatItWouldNotCompute) {
  const auto refused = [](const json& scaling, std::vector<std::string> parts) {
    parts.push_back("rope_scaling");
    expect_refused(with(llama(), {{"rope_scaling", scaling}}), parts);
  };
  refused({{"rope_type", "su"}, {"factor", 2.0}}, {"short_factor"});  // longrope's first name
  for (const char* type : {"mrope", "proportional"}) {
    refused({{"rope_type", type}, {"factor", 2.0}}, {type, "not supported"});
  }
  refused({{"rope_type", "linear"}}, {"'factor' is missing"});
  refused({{"rope_type", "yarn"}}, {"factor"});
  refused({{"rope_type", "linear"}, {"factor", 0}}, {"factor", "positive"});
  refused({{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}},
          {"'high_freq_factor' is missing"});
  refused({{"rope_type", "llama3"},
           {"factor", 8.0},
           {"low_freq_factor", 4.0},
           {"high_freq_factor", 4.0}},
          {"high_freq_factor"});
  refused({{"rope_type", 3}}, {"rope_type", "a string"});
  refused("linear", {"expected an object"});
  const json partial = {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}};
  expect_refused(with(llama(), {{"rope_scaling", partial}}), {"partial_rotary_factor"});
  refused({{"full_attention", {{"rope_type", "default"}}}}, {"full_attention", "between layers"});
  expect_refused(with(llama(), {{"partial_rotary_factor", 0.5}}),
                 {"partial_rotary_factor", "not supported"});
  expect_refused(with(llama(), {{"rope_theta", -1}}), {"rope_theta", "positive"});
}

TEST(ModelConfig, RefusesWhatTheForwardPassDoesNotDo) {
  expect_refused(with(llama(), {{"hidden_act", "relu2"}}),
                 {"hidden_act", "'relu2'", "not supported"});
  EXPECT_EQ(read(with(llama(), {{"hidden_act", "gelu"}})).activation, Activation::kGeluErf);
  expect_refused(with(llama(), {{"quantization_config", {{"bits", 4}}}}),
                 {"quantization_config", "not supported"});
  expect_refused(named("BertModel"), {"'BertModel'", "LlamaForCausalLM", "Qwen3ForCausalLM"});
  expect_refused(with(llama(), {{"architectures", json::array()}}), {"architectures"});
}

std::vector<int> windows(const ModelConfig& config) {
  std::vector<int> result;
  for (int l = 0; l < config.n_layers; ++l) result.push_back(config.layer(l).window);
  return result;
}

TEST(ModelConfig, SlidingLayersOfQwen) {
  EXPECT_EQ(windows(read(named(
                "Qwen2ForCausalLM",
                {{"use_sliding_window", true}, {"sliding_window", 32}, {"max_window_layers", 1}}))),
            (std::vector<int>{0, 32, 32}));
  EXPECT_EQ(windows(read(named(
                "Qwen3ForCausalLM",
                {{"use_sliding_window", true},
                 {"sliding_window", 32},
                 {"layer_types", {"full_attention", "sliding_attention", "full_attention"}}}))),
            (std::vector<int>{0, 32, 0}));
  EXPECT_EQ(read(named("Qwen2ForCausalLM", {{"use_sliding_window", false}, {"sliding_window", 32}}))
                .n_sliding_layers(),
            0);
  expect_refused(
      named("Qwen3ForCausalLM", {{"layer_types", {"full_attention", "sliding_attention"}}}),
      {"layer_types", "3 layers"});
  expect_refused(
      named("Qwen3ForCausalLM",
            {{"layer_types", {"full_attention", "sliding_attention", "chunked_attention"}}}),
      {"layer_types", "chunked_attention"});
  expect_refused(
      named("Qwen3ForCausalLM",
            {{"layer_types", {"full_attention", "sliding_attention", "full_attention"}}}),
      {"use_sliding_window", "true"});
}

TEST(ModelConfig, SlidingWindowOfMistral) {
  EXPECT_EQ(windows(read(named("MistralForCausalLM", {{"sliding_window", 1023}}))),
            (std::vector<int>{1023, 1023, 1023}));
  EXPECT_EQ(windows(read(named("MistralForCausalLM", {{"max_position_embeddings", 8192}}))),
            (std::vector<int>{4096, 4096, 4096}));  // what transformers takes without the key
  const json no_window = {{"max_position_embeddings", 8192}, {"sliding_window", nullptr}};
  EXPECT_EQ(read(named("MistralForCausalLM", no_window)).n_sliding_layers(), 0);
  // A window that hides nothing from texts of the trained length; longer ones are refused.
  const ModelConfig wide = read(named("MistralForCausalLM", {{"sliding_window", 1024}}));
  EXPECT_EQ(wide.n_sliding_layers(), 0);
  EXPECT_NO_THROW(check_length(wide, 1024, ""));
  expect_error([&] { check_length(wide, 1025, "here: "); }, {"here: 1025", "1024", "window"},
               ErrorKind::kUsage);
}

TEST(ModelConfig, RopeThatDependsOnTheLength) {
  const json dynamic = {{"rope_type", "dynamic"}, {"factor", 4.0}};
  const ModelConfig c = read(with(llama(), {{"rope_scaling", dynamic}}));
  EXPECT_EQ(c.rope.type, RopeType::kDynamic);
  EXPECT_EQ(c.position_limit, 1024);
  expect_error([&] { check_length(c, 1025, ""); }, {"1025", "1024", "dynamic"}, ErrorKind::kUsage);
  const json longrope = {{"rope_type", "longrope"},
                         {"short_factor", {1.0, 1.1, 1.2, 1.3}},
                         {"long_factor", {1.0, 2.0, 3.0, 4.0}}};
  const json phi = {{"partial_rotary_factor", 0.5},
                    {"original_max_position_embeddings", 256},
                    {"rope_scaling", longrope}};
  const ModelConfig p = read(named("Phi3ForCausalLM", phi));
  EXPECT_EQ(p.rotary_dim, 8);
  EXPECT_EQ(p.rope.factor, 4.0);
  EXPECT_EQ(p.position_limit, 256);
  expect_refused(named("Phi3ForCausalLM", with(phi, {{"partial_rotary_factor", 1.0}})),
                 {"short_factor", "8 positive numbers"});
  expect_refused(
      named("Phi3ForCausalLM", with(phi, {{"original_max_position_embeddings", nullptr}})),
      {"original_max_position_embeddings"});
}

json gemma(const char* architecture, const json& changes = json::object()) {
  return named(architecture, with({{"hidden_activation", "gelu_pytorch_tanh"},
                                   {"sliding_window", 32},
                                   {"query_pre_attn_scalar", 64},
                                   {"attn_logit_softcapping", 50.0},
                                   {"final_logit_softcapping", 30.0}},
                                  changes));
}

TEST(ModelConfig, Gemma) {
  const ModelConfig g = read(gemma("Gemma2ForCausalLM"));
  EXPECT_EQ(windows(g), (std::vector<int>{32, 0, 32}));
  EXPECT_EQ(g.embedding_scale, 8.0);
  EXPECT_EQ(g.query_scale(), 0.125f);
  EXPECT_EQ(g.attention_softcap, 50.0);
  EXPECT_EQ(g.logit_softcap, 30.0);
  EXPECT_TRUE(g.norm_plus_one && g.norm_before && g.norm_after);
  json without = gemma("Gemma2ForCausalLM");
  without.erase("final_logit_softcapping");
  expect_refused(without, {"final_logit_softcapping"});
  without = gemma("Gemma3ForCausalLM");
  without.erase("query_pre_attn_scalar");
  expect_refused(without, {"query_pre_attn_scalar", "missing"});

  const json old_keys = {{"rope_theta", 1e6},
                         {"rope_local_base_freq", 1e4},
                         {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}},
                         {"sliding_window_pattern", 3}};
  const json new_keys = {
      {"rope_theta", nullptr},
      {"layer_types", {"sliding_attention", "sliding_attention", "full_attention"}},
      {"rope_parameters",
       {{"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}},
        {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1e6}}}}}};
  for (const json& keys : {old_keys, new_keys}) {
    const ModelConfig c = read(gemma("Gemma3ForCausalLM", keys));
    EXPECT_EQ(windows(c), (std::vector<int>{32, 32, 0}));
    EXPECT_EQ(c.rope.theta, 1e6);
    EXPECT_EQ(c.rope.type, RopeType::kLinear);
    EXPECT_EQ(c.rope.factor, 8.0);
    EXPECT_EQ(c.sliding_rope.theta, 1e4);
    EXPECT_EQ(c.sliding_rope.type, RopeType::kDefault);
    EXPECT_EQ(c.layer(0).rope, LayerRope::kSliding);
    EXPECT_EQ(c.layer(2).rope, LayerRope::kMain);
    EXPECT_EQ(c.qk_norm, QkNorm::kHead);
  }
}

TEST(ModelConfig, LayersWithoutRope) {
  const ModelConfig every = read(named("SmolLM3ForCausalLM", {{"no_rope_layer_interval", 2}}));
  EXPECT_EQ(every.layer(0).rope, LayerRope::kMain);
  EXPECT_EQ(every.layer(1).rope, LayerRope::kNone);
  const ModelConfig listed = read(named("SmolLM3ForCausalLM", {{"no_rope_layers", {0, 1, 1}}}));
  EXPECT_EQ(listed.layer(0).rope, LayerRope::kNone);
  EXPECT_EQ(listed.layer(1).rope, LayerRope::kMain);
  expect_refused(named("SmolLM3ForCausalLM", {{"no_rope_layers", {0, 1}}}),
                 {"no_rope_layers", "3 layers"});
}

TEST(ModelConfig, Gpt2) {
  const json config = {{"architectures", {"GPT2LMHeadModel"}},
                       {"vocab_size", 64},
                       {"n_embd", 32},
                       {"n_head", 4},
                       {"n_layer", 2},
                       {"n_positions", 48},
                       {"n_inner", nullptr},
                       {"layer_norm_epsilon", 1e-5},
                       {"activation_function", "gelu_new"}};
  const ModelConfig c = read(config);
  EXPECT_EQ(c.hidden_dim, 128);
  EXPECT_EQ(c.rotary_dim, 0);
  EXPECT_EQ(c.learned_positions, 48);
  EXPECT_TRUE(c.tied_embeddings);
  expect_error([&] { check_length(c, 49, ""); }, {"49", "48", "learned"}, ErrorKind::kUsage);
  expect_refused(with(config, {{"scale_attn_by_inverse_layer_idx", true}}),
                 {"scale_attn_by_inverse_layer_idx", "not supported"});
}

TEST(ModelConfig, GptNeox) {
  const json keys = {{"layer_norm_eps", 1e-5},
                     {"hidden_act", "gelu"},
                     {"rotary_pct", 0.25},
                     {"rotary_emb_base", 20000},
                     {"use_parallel_residual", false}};
  const ModelConfig c = read(named("GPTNeoXForCausalLM", keys));
  EXPECT_EQ(c.rotary_dim, 4);
  EXPECT_EQ(c.n_kv_heads, 4);
  EXPECT_EQ(c.rope.theta, 20000.0);
  EXPECT_FALSE(c.parallel_residual || c.gated_mlp);
  EXPECT_TRUE(c.qkv_bias && c.o_bias && c.mlp_bias);
  json usual = named("GPTNeoXForCausalLM", keys);
  usual.erase("use_parallel_residual");
  EXPECT_TRUE(read(usual).parallel_residual);
  expect_refused(named("GPTNeoXForCausalLM", with(keys, {{"rotary_pct", 0.1}})), {"rotary_pct"});
  const json other = {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}};
  expect_refused(named("GPTNeoXForCausalLM", with(keys, {{"rope_parameters", other}})),
                 {"partial_rotary_factor", "0.25", "rotary_pct"});
}

TEST(ModelConfig, Granite) {
  const json keys = {{"embedding_multiplier", 12.0},
                     {"attention_multiplier", 0.015625},
                     {"residual_multiplier", 0.22},
                     {"logits_scaling", 8.0}};
  const ModelConfig c = read(named("GraniteForCausalLM", keys));
  EXPECT_EQ(c.embedding_scale, 12.0);
  EXPECT_EQ(c.query_scale(), 0.015625f);
  EXPECT_EQ(c.residual_scale, 0.22);
  EXPECT_EQ(c.logit_scale, 0.125);
  json without = named("GraniteForCausalLM", keys);
  without.erase("logits_scaling");
  expect_refused(without, {"logits_scaling", "missing"});
}

TEST(ModelConfig, EndOfText) {
  EXPECT_EQ(read(llama(), {{"eos_token_id", 7}}).eos_ids, std::vector<int>{7});
  EXPECT_EQ(read(llama(), {{"eos_token_id", {7, 9}}}).eos_ids, (std::vector<int>{7, 9}));
  EXPECT_EQ(read(llama(), json::object()).eos_ids, std::vector<int>{2});
  EXPECT_EQ(read(with(llama(), {{"eos_token_id", {3, 4}}})).eos_ids, (std::vector<int>{3, 4}));
  EXPECT_TRUE(
      read(with(llama(), {{"eos_token_id", nullptr}, {"bos_token_id", nullptr}})).eos_ids.empty());
  expect_error(
      [] {
        read(llama(), {{"eos_token_id", "x"}});
      },
      {"generation_config.json", "eos_token_id", "\"x\""});
  expect_error(
      [] {
        read(llama(), {{"eos_token_id", {1.5}}});
      },
      {"generation_config.json", "eos_token_id"});
}

// Refused before memory is taken for them, and before they leave what an int holds.
TEST(ModelConfig, HugeNumbersAreRefused) {
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "SmolLM3ForCausalLM"}) {
    expect_refused(named(architecture, {{"num_hidden_layers", 2000000000}, {"sliding_window", 16}}),
                   {"2000000000 layers are beyond"});
  }
  expect_refused(
      {{"architectures", {"GPT2LMHeadModel"}}, {"vocab_size", 64}, {"n_embd", 2000000000}},
      {"n_embd", "2000000000"});
  expect_refused(named("LlamaForCausalLM", {{"partial_rotary_factor", 1e300}}),
                 {"partial_rotary_factor", "1e+300"});
}

TEST(ModelConfig, BrokenFilesAreNamed) {
  const TempFolder folder;
  expect_error([&] { read_model_config(folder.path()); },
               {folder.path().string(), "no config.json"});
  folder.write("config.json", "{\"vocab_size\": 5,,}");
  expect_error([&] { read_model_config(folder.path()); },
               {"config.json", "not valid JSON at byte"});
  folder.write("config.json", "{\"vocab_size\": 5, \"vocab_size\": 6}");
  expect_error([&] { read_model_config(folder.path()); },
               {"config.json", "'vocab_size' occurs twice"});
  folder.write("config.json", "[]");
  expect_error([&] { read_model_config(folder.path()); },
               {"config.json", "expected an object", "a list"});
  folder.write("config.json", std::string(100000, '['));
  expect_error([&] { read_model_config(folder.path()); },
               {"config.json", "nested deeper than 200 levels at byte 200"});
}

}  // namespace
}  // namespace kv
