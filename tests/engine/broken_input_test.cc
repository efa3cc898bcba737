// Broken model files, templates and specs: read or refused, never a crash.
#include <fstream>
#include <nlohmann/json.hpp>

#include "compress/registry.h"
#include "engine/chat_template.h"
#include "engine/gguf.h"
#include "engine/gguf_model.h"
#include "engine/model_config.h"
#include "engine/model_files.h"
#include "engine/safetensors.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/file_testing.h"
#include "tests/engine/gguf_builder.h"
#include "tests/mutate.h"
#include "tests/paths.h"

namespace kv {
namespace {

const std::filesystem::path kData = source_dir() / "tests" / "data";

const std::vector<std::string>& json_words() {
  static const std::vector<std::string> words = {
      "{",        "[[[",    "\"",    ",",        ":",
      "null",     "true",   "-1",    "1e400",    "4294967296",
      "0.5",      "\\u0",   "\\ud8", "\"\"",     "\"type\"",
      "[\"\",0]", "1e-320", "\n",    "\xF0\x9F", "99999999999999999999"};
  return words;
}

// A file of two tensors and a note, small enough that most changes hit the header.
std::string small_safetensors() {
  std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b.weight":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},)"
      R"("c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return bytes_of<uint64_t>(header.size()) + header + std::string(40, '\x3F');
}

TEST(BrokenInput, Safetensors) {
  const TempFolder folder;
  std::vector<std::string> words = json_words();
  words.insert(words.end(), {"\"data_offsets\"", "\"I64\"", "[24,32]", "18446744073709551615",
                             "9223372036854775807", "[4,0]", "\"F8_E4M3\""});
  expect_error_or_success({small_safetensors()}, words, 1200, [&](const std::string& text) {
    const Safetensors file = Safetensors::open_file(folder.write("m.safetensors", text));
    for (const auto& [name, entry] : file.entries()) {
      if (entry.dtype == "F32" || entry.dtype == "BF16") file.floats(name);
      if (entry.dtype == "I64") file.int64s(name);
    }
  });
}

// Every part that a GGUF model has: sizes, RoPE, tokenizer, template, tensors.
std::string small_gguf() {
  GgufBuilder b;
  b.string("general.architecture", "llama");
  for (const auto& [key, value] :
       {std::pair("block_count", 1), std::pair("context_length", 64),
        std::pair("embedding_length", 4), std::pair("feed_forward_length", 8),
        std::pair("attention.head_count", 2), std::pair("attention.head_count_kv", 1),
        std::pair("rope.dimension_count", 2)}) {
    b.u32(std::string("llama.") + key, static_cast<uint32_t>(value));
  }
  b.f32("llama.rope.freq_base", 10000);
  b.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  b.string("tokenizer.ggml.model", "gpt2");
  b.string("tokenizer.ggml.pre", "smollm");
  b.strings("tokenizer.ggml.tokens", {"a", "b", "ab", "<|im_end|>", "Ġ"});
  b.strings("tokenizer.ggml.merges", {"a b"});
  b.i32s("tokenizer.ggml.token_type", {1, 1, 1, 3, 1});
  b.u32("tokenizer.ggml.bos_token_id", 3);
  b.u32("tokenizer.ggml.eos_token_id", 3);
  b.boolean("tokenizer.ggml.add_bos_token", true);
  b.string("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}");
  b.floats("token_embd.weight", {5, 4}, std::vector<float>(20, 0.5f));
  b.floats("output_norm.weight", {4}, std::vector<float>(4, 1.0f));
  b.tensor("blk.0.attn_q.weight", 8, {4, 32}, std::string(4 * 34, '\x01'));
  return b.build();
}

TEST(BrokenInput, Gguf) {
  const TempFolder folder;
  const std::vector<std::string> words = {
      std::string(8, '\xFF'), bytes_of<uint64_t>(1) + "a", "GGUF",
      bytes_of<uint32_t>(9),  bytes_of<uint32_t>(8),       bytes_of<uint64_t>(0),
      "general.alignment"};
  expect_error_or_success({small_gguf()}, words, 1200, [&](const std::string& text) {
    const Gguf gguf(folder.write("m.gguf", text));
    for (const StoredTensor& tensor : gguf.tensors()) read_floats(tensor);
    const GgufTokenizer metadata = gguf_tokenizer(gguf);
    if (!metadata.tokens.empty()) {
      const auto tokenizer = Tokenizer::from_gguf(metadata, "m.gguf");
      tokenizer->decode(tokenizer->encode("ab a <|im_end|> é", true), false);
    }
    const auto chat = gguf_chat_template(gguf, metadata);
    if (chat != nullptr) chat->render({{"user", "hi"}}, true);
    gguf_tensors(gguf, gguf_model_config(gguf));
  });
}

TEST(BrokenInput, ModelFolder) {
  const TempFolder folder;
  const std::filesystem::path tiny = kData / "tiny-llama3";
  std::filesystem::copy_file(tiny / "model.safetensors", folder.path() / "model.safetensors");
  std::vector<std::string> words = json_words();
  words.insert(words.end(), {"\"rope_scaling\":", "\"head_dim\":", "2147483648", "-2147483648",
                             "\"yarn\"", "\"factor\":0", "NaN", "[\"Qwen3ForCausalLM\"]"});
  const std::vector<std::string> configs = {read_file(tiny / "config.json"),
                                            read_file(kData / "tiny-qwen3" / "config.json")};
  expect_error_or_success(configs, words, 1200, [&](const std::string& text) {
    folder.write("config.json", text);
    open_model_files(folder.path());
  });
}

TEST(BrokenInput, TokenizerJson) {
  const TempFolder folder;
  std::vector<std::string> words = json_words();
  words.insert(words.end(),
               {"\"vocab\":", "\"merges\":", "\"Sequence\"", "\"Split\"", "(?<a>", "*", "\"NFKC\"",
                "\"Regex\"", "\"Strip\"", "{\"String\":\"\"}", "\"Replace\"", "\"content\":\"\""});
  nlohmann::json small =
      nlohmann::json::parse(std::ifstream(kData / "tokenizer" / "normalizers.tokenizer.json"));
  nlohmann::json bos =
      nlohmann::json::parse(std::ifstream(kData / "tokenizer" / "llama3.tokenizer.json"));
  for (nlohmann::json* json :
       {&small, &bos}) {  // short vocabularies: the other parts get more hits
    nlohmann::json& model = (*json)["model"];
    model["merges"] = nlohmann::json::array({"a b"});
    model["vocab"] = {{"a", 0}, {"b", 1}, {"ab", 2}, {"Ġ", 3}, {"!", 4}};
    int next = 5;
    for (nlohmann::json& token : (*json)["added_tokens"]) token["id"] = next++;
  }
  bos["post_processor"]["processors"][1]["special_tokens"]["<|endoftext|>"]["ids"] = {5};
  const auto read = [&](const std::string& text) {
    const auto tokenizer = Tokenizer::from_json_file(folder.write("tokenizer.json", text));
    const std::vector<int32_t> ids =
        tokenizer->encode(" ab  Ångström \u0345<mask> 12é\n<|im_end|>\U0001F642", true);
    tokenizer->decode(ids, true);
  };
  read(small.dump());
  read(bos.dump());
  expect_error_or_success({small.dump(), bos.dump()}, words, 1200, read);
}

TEST(BrokenInput, ChatTemplates) {
  const auto golden = nlohmann::json::parse(std::ifstream(kData / "chat_template" / "cases.json"));
  std::vector<std::string> templates;
  for (const auto& row : golden["cases"]) templates.push_back(row["template"]);
  const std::vector<std::string> words = {"{{",
                                          "}}",
                                          "{%",
                                          "%}",
                                          "{#",
                                          "-%}",
                                          "(",
                                          "[",
                                          "not ",
                                          "-",
                                          "|",
                                          "'",
                                          "if ",
                                          "endif",
                                          "for m in messages",
                                          "[::-1]",
                                          "[0]",
                                          ".x",
                                          "~",
                                          "%",
                                          "//",
                                          "**",
                                          "0",
                                          "-9223372036854775808",
                                          "99999999999999999999",
                                          "|length",
                                          "|tojson",
                                          "is defined",
                                          "set x = messages",
                                          "namespace(",
                                          "\xC3",
                                          "%s"};
  expect_error_or_success(templates, words, 6000, [](const std::string& text) {
    ChatTemplate::parse(text, "broken.jinja", {{"bos_token", "<s>"}})
        ->render({{"system", "be brief"}, {"user", "hé"}}, true);
  });
}

TEST(BrokenInput, CompressorSpecs) {
  std::vector<std::string> specs = {
      "none", "snapkv(ratio=[0.5,0.75],window=32,kernel_size=5)+int4(group=64)",
      "streamingllm(ratio=0.5,sinks=4)+int8", "knorm(ratio=0.5)+random(ratio=0.5)",
      "snapkv(ratio=0.5,protect='sinks')+int2(residual=32)"};
  for (const MethodInfo& method : all_methods()) specs.push_back(method.name + "(ratio=0.5)");
  const std::vector<std::string> words = {
      "(",   "[",      "((",   "a(",     "=",           ",",          "+",
      "'",   "ratio=", "0.5",  "1",      "-1",          "1e300",      "1e-320",
      "nan", "true",   "null", "snapkv", "SnapKVPress", "2147483648", " "};
  expect_error_or_success(specs, words, 3000,
                          [](const std::string& text) { parse_compressors(text, "--compressor"); });
}

}  // namespace
}  // namespace kv
