#include "engine/tokenizer/tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/tokenizer/byte_level.h"
#include "engine/tokenizer/unicode.h"
#include "tests/paths.h"

namespace kv {
namespace {

using Json = nlohmann::json;
const std::string kData = source_dir().string() + "/tests/data/tokenizer/";

Json read(const std::string& name) {
  return Json::parse(std::ifstream(kData + name));
}

std::shared_ptr<const Tokenizer> load(const std::string& name) {
  return Tokenizer::from_json_file(kData + name + ".tokenizer.json");
}

// The tokenizer file after a change, which is given as a JSON merge patch.
class ChangedTokenizer {
 public:
  ChangedTokenizer(const std::string& name, const std::string& patch)
      : file_(std::filesystem::temp_directory_path() /
              ("kv_tokenizer_" + std::to_string(getpid()) + ".json")) {
    Json json = read(name + ".tokenizer.json");
    json.merge_patch(Json::parse(patch));
    std::ofstream(file_) << json;
  }
  ~ChangedTokenizer() { std::filesystem::remove(file_); }
  std::shared_ptr<const Tokenizer> load() const { return Tokenizer::from_json_file(file_); }
  std::string error() const {
    try {
      load();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      return error.what();
    }
    return "";
  }

 private:
  std::filesystem::path file_;
};

class TokenizerGolden : public testing::TestWithParam<std::string> {};

// Ids and decoded text equal those of Hugging Face's tokenizers.
TEST_P(TokenizerGolden, EqualsHuggingFace) {
  const auto tokenizer = load(GetParam());
  const Json texts = read("texts.json"), expected = read(GetParam() + ".expected.json");
  ASSERT_GT(expected.size(), 40u);
  const size_t skip = texts.size() - expected.size();
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string text = texts[skip + i];
    SCOPED_TRACE(testing::Message() << "text " << skip + i << ": " << texts[skip + i].dump());
    const std::vector<int32_t> ids = expected[i]["ids"];
    EXPECT_EQ(tokenizer->encode(text, true), ids);
    EXPECT_EQ(tokenizer->encode(text, false).size(), ids.size() - expected[i].value("plain", 0));
    const std::string decoded = expected[i].value("text", text);
    EXPECT_EQ(tokenizer->decode(ids, false), decoded);
    EXPECT_EQ(tokenizer->decode(ids, true), expected[i].value("skipped", decoded));
    StreamDecoder stream(*tokenizer, false);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.add(id);
    EXPECT_EQ(streamed + stream.finish(), decoded);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tokenizers, TokenizerGolden,
    testing::Values("gpt2", "smollm", "qwen2", "llama3", "llama2", "mistral", "phi3", "gemma",
                    "unigram", "xlmr", "unigram_bytes", "normalizers", "split_removed_plain",
                    "split_removed_invert", "split_isolated_plain", "split_isolated_invert",
                    "split_merged_with_previous_plain", "split_merged_with_previous_invert",
                    "split_merged_with_next_plain", "split_merged_with_next_invert",
                    "split_contiguous_plain", "split_contiguous_invert"),
    [](const auto& test) { return test.param; });

// A GGUF file that holds the same vocabulary and names the same rules gives the same ids.
GgufTokenizer as_gguf(const std::string& name, const std::string& pre) {
  const Json json = read(name + ".tokenizer.json");
  GgufTokenizer gguf;
  gguf.model = "gpt2";
  gguf.pre = pre;
  const size_t size = json["model"]["vocab"].size() + json["added_tokens"].size();
  gguf.tokens.resize(size);
  gguf.token_types.assign(size, 1);
  for (const auto& [text, id] : json["model"]["vocab"].items()) gguf.tokens[id] = text;
  size_t used = json["model"]["vocab"].size();
  for (const Json& token : json["added_tokens"]) {
    gguf.tokens[token["id"]] = token["content"];
    gguf.token_types[token["id"]] = 3;
    used = std::max(used, token["id"].get<size_t>() + 1);
  }
  gguf.tokens.resize(used);
  gguf.token_types.resize(used);
  for (const Json& merge : json["model"]["merges"]) {
    gguf.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return gguf;
}

TEST(Tokenizer, GgufEqualsJson) {
  for (const auto& [name, pre] :
       {std::pair("smollm", "smollm"), std::pair("llama3", "llama-bpe")}) {
    const auto from_gguf = Tokenizer::from_gguf(as_gguf(name, pre), "test.gguf");
    const auto from_json = load(name);
    for (const Json& text : read("texts.json")) {
      EXPECT_EQ(from_gguf->encode(text.get<std::string>(), false),
                from_json->encode(text.get<std::string>(), false))
          << name << " " << text.dump();
    }
  }
}

// The same pieces with scores, as conversion to GGUF writes them: by the order of the ids, control
// and user-defined ones below all others, spaces of the latter unescaped.
GgufTokenizer as_sentencepiece_gguf(const std::string& name, bool space_prefix) {
  const Json json = read(name + ".tokenizer.json");
  GgufTokenizer gguf;
  gguf.model = "llama";
  gguf.add_space_prefix = space_prefix;
  gguf.unk_id = json["model"]["vocab"]["<unk>"];
  gguf.tokens.resize(json["model"]["vocab"].size());
  for (const auto& [text, id] : json["model"]["vocab"].items()) gguf.tokens[id] = text;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    gguf.token_types.push_back(byte_of_token(gguf.tokens[id]) ? 6 : 1);
    gguf.scores.push_back(-static_cast<double>(id));
  }
  for (const Json& token : json["added_tokens"]) {
    const size_t id = token["id"];
    gguf.token_types[id] = token["special"].get<bool>() ? 3 : 4;
    gguf.scores[id] = -1000;
    if (gguf.token_types[id] == 4) gguf.tokens[id] = replace_all(gguf.tokens[id], "\u2581", " ");
  }
  gguf.add_bos = true;
  gguf.bos_id = json["model"]["vocab"][space_prefix ? "<s>" : "<bos>"];
  return gguf;
}

TEST(Tokenizer, SentencePieceFromGgufEqualsJson) {
  for (const auto& [name, space_prefix] : {std::pair("llama2", true), std::pair("gemma", false)}) {
    const auto from_gguf =
        Tokenizer::from_gguf(as_sentencepiece_gguf(name, space_prefix), "test.gguf");
    const auto from_json = load(name);
    // Gemma's tokenizer.json also splits at spaces, of which its normalizer leaves none.
    if (space_prefix) {
      EXPECT_EQ(from_gguf->hash(), from_json->hash());
    }
    for (const Json& text : read("texts.json")) {
      const std::vector<int32_t> ids = from_gguf->encode(text.get<std::string>(), true);
      EXPECT_EQ(ids, from_json->encode(text.get<std::string>(), true)) << name << " " << text;
      EXPECT_EQ(from_gguf->decode(ids, true), from_json->decode(ids, true)) << name << " " << text;
    }
  }
}

TEST(Tokenizer, GgufRefusals) {
  GgufTokenizer gguf = as_gguf("smollm", "smollm");
  gguf.pre = "mystery";
  EXPECT_THROW(Tokenizer::from_gguf(gguf, "test.gguf"), Error);
  gguf.pre = "smollm";
  gguf.model = "llama";  // without scores
  EXPECT_THROW(Tokenizer::from_gguf(gguf, "test.gguf"), Error);
  gguf.model = "bert";
  EXPECT_THROW(Tokenizer::from_gguf(gguf, "test.gguf"), Error);
  gguf.model = "gpt2";
  gguf.add_bos = true;  // without saying which token
  EXPECT_THROW(Tokenizer::from_gguf(gguf, "test.gguf"), Error);
  gguf.bos_id = 3;
  EXPECT_EQ(Tokenizer::from_gguf(gguf, "test.gguf")->encode("", true), std::vector<int32_t>{3});
  gguf.token_types.pop_back();
  EXPECT_THROW(Tokenizer::from_gguf(gguf, "test.gguf"), Error);
}

TEST(Tokenizer, SmolLm2FromGguf) {
  // The pieces of GPT-2's pattern with every digit alone.
  const auto tokenizer = load("smollm");
  const std::vector<int32_t> ids = tokenizer->encode("123", false);
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(tokenizer->token(ids[0]), "1");
}

TEST(Tokenizer, KnowsItsTokens) {
  const auto tokenizer = load("qwen2");
  const int32_t end = *tokenizer->token_id("<|im_end|>");
  EXPECT_EQ(tokenizer->token(end), "<|im_end|>");
  EXPECT_TRUE(tokenizer->is_special(end));
  EXPECT_FALSE(tokenizer->is_special(*tokenizer->token_id("cat")));
  EXPECT_EQ(tokenizer->token_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->token(tokenizer->vocab_size()), "");
  EXPECT_EQ(tokenizer->token(-1), "");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{-5, end, 1 << 30}, false), "<|im_end|>");
}

TEST(Tokenizer, InvalidUtf8IsAnErrorWithItsPlace) {
  const auto tokenizer = load("gpt2");
  for (const std::string bad :
       {"abc\xff", "abc\xc3", "abc\xed\xa0\x80", "abc\xf4\x90\x80\x80", "abc\xc0\x80"}) {
    try {
      tokenizer->encode(bad, false);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("offset 3"), std::string::npos) << error.what();
    }
  }
}

TEST(Tokenizer, StreamHoldsBackUnfinishedCharacters) {
  const auto tokenizer = load("gpt2");
  const auto byte = [&](const char* spelling) { return *tokenizer->token_id(spelling); };
  StreamDecoder stream(*tokenizer, true);
  EXPECT_EQ(stream.add(byte("ð")), "");  // F0 9F 99 82 is one smiling face
  EXPECT_EQ(stream.add(byte("Ł")), "");
  EXPECT_EQ(stream.add(byte("Ļ")), "");
  EXPECT_EQ(stream.add(byte("Ĥ")), "🙂");
  EXPECT_EQ(stream.add(byte("ð")), "");
  EXPECT_EQ(stream.add(byte("a")), "\uFFFDa");  // it will never be finished
  EXPECT_EQ(stream.add(byte("Ł")), "\uFFFD");   // no character begins so
  EXPECT_EQ(stream.add(byte("ð")), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Tokenizer, RefusesWhatItCannotDo) {
  const auto refused = [](const char* patch, const char* named) {
    const std::string error = ChangedTokenizer("gpt2", patch).error();
    EXPECT_NE(error.find(named), std::string::npos) << patch << ": " << error;
  };
  refused(R"({"model": {"type": "WordPiece"}})", "WordPiece");
  refused(R"({"model": {"dropout": 0.1}})", "dropout");
  refused(R"({"model": {"end_of_word_suffix": "</w>"}})", "end_of_word_suffix");
  refused(R"({"model": {"continuing_subword_prefix": "##"}})", "continuing_subword_prefix");
  refused(R"({"model": {"merges": ["a b c"]}})", "merges[0]");
  refused(R"({"model": {"merges": [["a", "nope"]]}})", "'nope' is not in the vocabulary");
  refused(R"({"model": {"vocab": null}})", "vocab");
  refused(R"({"normalizer": {"type": "Precompiled"}})", "Precompiled");
  refused(R"({"pre_tokenizer": {"type": "UnicodeScripts"}})", "UnicodeScripts");
  refused(R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "__"}})", "one character");
  refused(R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "no"}})",
          "prepend_scheme");
  refused(
      R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}})",
      "pre_tokenizer");
  refused(R"({"post_processor": {"type": "RobertaProcessing", "cls": "a"}})", "cls");
  refused(R"({"post_processor": {"type": "Other"}})", "Other");
  refused(R"({"decoder": {"type": "WordPiece"}})", "WordPiece");
  refused(R"({"decoder": {"type": "Strip", "content": " ", "start": 0, "stop": 1}})", "stop");
  refused(R"({"decoder": {"type": "Replace", "pattern": {"Regex": "a"}, "content": ""}})",
          "literal");
  refused(R"({"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": ""}})",
          "empty");
  refused(R"({"added_tokens": [{"id": 5, "content": "<new>"}]})", "<new>");
  refused(R"({"post_processor": {"type": "TemplateProcessing", "special_tokens": {},
              "single": [{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}]}})",
          "single[1]: the Sequence A a second time");
  refused(R"({"post_processor": {"type": "RobertaProcessing", "cls": ["a", -1], "sep": ["b", 2]}})",
          "expected an id from 0");
  EXPECT_THROW(Tokenizer::from_json_file(kData + "missing.json"), Error);
}

// Steps that each make more text out of a text, and steps without number.
TEST(Tokenizer, RefusesStepsThatFillTheMemory) {
  const auto steps = [](const std::string& step, int n) {
    std::string list = step;
    for (int i = 1; i < n; ++i) list += "," + step;
    return list;
  };
  const std::string tenfold =
      R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"})";
  const auto error = [](const std::string& patch) {
    try {
      ChangedTokenizer("gpt2", patch.c_str()).load()->encode("a \u00E9 a", false);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(
      error(R"({"normalizer": {"type": "Sequence", "normalizers": [)" + steps(tenfold, 12) + "]}}")
          .find("normalizer: makes"),
      std::string::npos);
  EXPECT_NE(
      error(R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [)" +
            steps(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})", 40) +
            "]}}")
          .find("pre_tokenizer: makes"),
      std::string::npos);
  for (const std::string kind : {"normalizer", "pre_tokenizer", "decoder"}) {
    const std::string list = kind == "pre_tokenizer" ? "pretokenizers" : kind + "s";
    const std::string step = kind == "normalizer" ? R"({"type": "NFC"})"
                             : kind == "decoder"  ? R"({"type": "Fuse"})"
                                                  : R"({"type": "WhitespaceSplit"})";
    EXPECT_NE(error("{\"" + kind + R"(": {"type": "Sequence", ")" + list + "\": [" +
                    steps(step, 200) + "]}}")
                  .find("more than 100 steps"),
              std::string::npos)
        << kind;
  }
}

TEST(Tokenizer, RefusesAnUnsoundUnigramModel) {
  const auto refused = [](const char* patch, const char* named) {
    const std::string error = ChangedTokenizer("unigram", patch).error();
    EXPECT_NE(error.find(named), std::string::npos) << patch << ": " << error;
  };
  refused(R"({"model": {"vocab": [["a"]]}})", "model.vocab[0]");
  refused(R"({"model": {"vocab": [["a", "b"]]}})", "model.vocab[0]");
  refused(R"({"model": {"vocab": [], "unk_id": null}, "added_tokens": []})", "empty");
  refused(R"({"model": {"unk_id": 100000}})", "model.unk_id");
  const ChangedTokenizer without_unknown("unigram",
                                         R"({"model": {"unk_id": null}, "normalizer": null})");
  EXPECT_THROW(without_unknown.load()->encode("\U0001F600", false), Error);
}

TEST(Tokenizer, MergesAreReadInBothSpellings) {
  Json merges = Json::array();
  const Json original = read("gpt2.tokenizer.json");
  for (const Json& pair : original["model"]["merges"]) {
    merges.push_back(pair[0].get<std::string>() + " " + pair[1].get<std::string>());
  }
  const ChangedTokenizer changed("gpt2", Json{{"model", {{"merges", merges}}}}.dump());
  EXPECT_EQ(changed.load()->encode("the cache keeps keys", false),
            load("gpt2")->encode("the cache keeps keys", false));
  EXPECT_EQ(changed.load()->hash(), load("gpt2")->hash());
}

TEST(Tokenizer, HashCoversWhatCanChangeAnId) {
  const std::string base = load("gpt2")->hash();
  EXPECT_EQ(base.size(), 32u);
  EXPECT_EQ(load("gpt2")->hash(), base);
  for (const char* patch :
       {R"({"pre_tokenizer": {"add_prefix_space": false}})", R"({"normalizer": {"type": "NFC"}})",
        R"({"model": {"ignore_merges": true}})", R"({"added_tokens": []})",
        R"({"model": {"merges": []}})", R"({"pre_tokenizer": {"use_regex": false}})"}) {
    EXPECT_NE(ChangedTokenizer("gpt2", patch).load()->hash(), base) << patch;
  }
}

TEST(Tokenizer, LongWordsTakeNearlyLinearTime) {
  // SentencePiece's tokenizers have no words at all: the whole text is one.
  for (const char* name : {"llama2", "unigram_bytes"}) {
    const auto whole = load(name);
    std::string text;
    for (int i = 0; i < 40000; ++i) text += "the cache keeps aaaaaaaaaaaaaaaaa 😀 ";
    EXPECT_EQ(whole->decode(whole->encode(text, false), true), text) << name;
  }
  const auto tokenizer = load("gpt2");
  const std::string word(2000000, 'a');  // quadratic merging would take hours
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(word, false), false), " " + word);
}

}  // namespace
}  // namespace kv
