// A cache that was saved goes on as if it never had been.
#include "engine/saved_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/error.h"
#include "tests/engine/cut_testing.h"
#include "tests/engine/random_model.h"
#include "tests/temp_folder.h"

namespace kv {
namespace {

using testing::random_ids;
using testing::random_model;
using testing::small_config;

std::string file_name() {
  return process_folder().path() / "saved.cache";
}

std::string read_file() {
  std::ifstream in(file_name(), std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Made {
  CompressorSpec spec;
  CompressedCache cell;
  std::vector<float> last_logits;
};

class SavedCaches : public ::testing::Test {
 protected:
  Made make(const std::string& text, int n = 90) {
    CompressorSpec spec = parse_compressors(text, "test").front();
    const auto ids = random_ids(n, model->config.vocab, 1);
    const PrefilledPrompt prompt = testing::prefill_for(session, spec, ids);
    CompressedCache cell = compress(*model, prompt, spec.plan);
    return {std::move(spec), std::move(cell), prompt.last_logits};
  }
  void save(const Made& made) {
    save_cache(file_name(), made.cell.cache, made.last_logits,
               {"the model", made.spec.canonical, "f16", 90});
  }
  KvCache restore(const CompressorSpec& spec) {
    return SavedCache(file_name()).restore(model->config, spec.plan, plain_codec("f16"));
  }
  std::vector<float> fed(KvCache& cache, const std::vector<int32_t>& ids) {
    return testing::fed(session, cache, ids);
  }
  std::string failure(const CompressorSpec& spec) {
    try {
      restore(spec);
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_status(), 3);
      return e.what();
    }
    return "no error";
  }

  std::shared_ptr<const Model> model = random_model(small_config());
  Session session{model};
};

std::vector<std::string> saved_specs() {
  std::vector<std::string> specs = {"none",
                                    "think(ratio=0.25,window=4)",
                                    "adakv(ratio=0.5,inner=knorm)+int4",
                                    "streamingllm(ratio=0.5,decode=(every=7,keep=30))",
                                    "snapkv(ratio=0.3,window=6,decode=(every=50,keep=20))+int8",
                                    "expected_attention(ratio=0.3,decode=(every=9,keep=30))",
                                    "canary_snapkv(ratio=0.5)",
                                    "streamingllm(prefill=(every=30,keep=40))+int8",
                                    "keydiff(prefill=(every=20,keep=30),decode=(every=9,keep=30))",
                                    "tova(budget_bytes=60000,prefill=(every=20))",
                                    "think(ratio=0.5,window=4,unit=pair)",
                                    "think(ratio=0.5,window=4,unit=pair)+int8",
                                    "quanto2(residual=20,axis=-1,group=10)",
                                    "hqq4(residual=20,axis=1,group=16)",
                                    "streaming_rolling(sinks=3,window=40)",
                                    "streaming_rolling(ratio=0.3)+bf16",
                                    "h2o(ratio=0.5)",
                                    "h2o(ratio=0.5,prefill_scores=false)",
                                    "infllm(sinks=4,window=20,block=8,topk=2,step=16)",
                                    "infllm(ratio=0.3,block=8,step=16)+f32"};
  for (const MethodInfo& info : all_methods()) {
    if (info.kind != "codec") continue;
    specs.push_back("tova(ratio=0.4)+" + info.name);
  }
  for (std::string& text : specs) {
    for (const char* codec : {"flexgen4", "kivi2", "kivi4"}) {  // heads of 16 channels
      if (text.ends_with(codec)) text += "(group=16)";
    }
  }
  return specs;
}

TEST_F(SavedCaches, GoOnWithTheSameBits) {
  const auto suffix = random_ids(40, model->config.vocab, 2);
  for (const std::string& text : saved_specs()) {
    SCOPED_TRACE(text);
    Made made = make(text);
    save(made);
    const int64_t before = session.tokens_computed();
    KvCache back = restore(made.spec);
    EXPECT_EQ(session.tokens_computed(), before);
    EXPECT_EQ(back.n_tokens(), 90);
    EXPECT_EQ(back.bytes_in_use(), made.cell.cache.bytes_in_use());
    EXPECT_EQ(SavedCache(file_name()).last_logits(model->config), made.last_logits);
    KvCache fork = back.fork();
    const std::vector<float> expected = fed(made.cell.cache, suffix);
    EXPECT_EQ(fed(back, suffix), expected);
    EXPECT_EQ(fed(fork, suffix), expected);
    EXPECT_EQ(back.bytes_in_use(), made.cell.cache.bytes_in_use());
  }
}

// Saved between two cuts, and after tokens that kivi has coded.
TEST_F(SavedCaches, MayBeSavedWhileDecoding) {
  const auto first = random_ids(33, model->config.vocab, 2), later = random_ids(40, 97, 3);
  for (const std::string text :
       {"snapkv(window=6,decode=(every=10,keep=40))", "cap(decode=(every=20,keep=30))+int4",
        "streamingllm(decode=(every=10,keep=16))", "kivi2(group=16,residual=32)",
        "think(ratio=0.5,window=4,unit=pair)", "quanto4(residual=16)", "hqq3(residual=64)",
        "streaming_rolling(sinks=3,window=40)", "h2o(ratio=0.5)",
        "infllm(sinks=4,window=20,block=8,topk=2,step=16)"}) {
    SCOPED_TRACE(text);
    Made made = make(text);
    fed(made.cell.cache, first);
    save(made);
    KvCache back = restore(made.spec);
    EXPECT_EQ(back.n_tokens(), 123);
    EXPECT_EQ(fed(back, later), fed(made.cell.cache, later));
  }
}

TEST_F(SavedCaches, RefuseWhatIsNoneOfTheirs) {
  const Made made = make("knorm(ratio=0.5,decode=(every=9,keep=30))+int4");
  save(made);
  const std::string good = read_file();
  const auto write = [&](const std::string& text) {
    std::ofstream(file_name(), std::ios::binary) << text;
  };
  for (const size_t length :
       {size_t{0}, size_t{7}, size_t{100}, good.size() / 2, good.size() - 1}) {
    write(good.substr(0, length));
    EXPECT_NE(failure(made.spec).find("saved.cache"), std::string::npos) << length;
  }
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    write(text.replace(at, from.size(), to));
    return failure(made.spec);
  };
  EXPECT_NE(replaced("\"version\":\"4\"", "\"version\":\"1\"").find("format 1, this build reads"),
            std::string::npos);
  EXPECT_NE(replaced("kvengine cache", "kvengine cachE").find("is no saved cache"),
            std::string::npos);
  EXPECT_NE(replaced("\"n_tokens\":\"90\"", "\"n_tokens\":\"-1\"").find("found '-1'"),
            std::string::npos);
  EXPECT_NE(replaced("\"n_tokens\":\"90\"", "\"n_tokens\":\"70\"").find("does not fit"),
            std::string::npos);
  const size_t moments = good.find("\"F64\"", good.find("\"cut.moments\""));
  ASSERT_NE(moments, std::string::npos);
  write(std::string(good).replace(moments, 5, "\"I64\""));
  EXPECT_NE(failure(made.spec).find("'cut.moments': expected dtype F64, found I64"),
            std::string::npos);
  write(good);
  EXPECT_EQ(failure(made.spec), "no error");
  // Another codec has other pages.
  EXPECT_NE(failure(parse_compressors("knorm(ratio=0.5)+int8", "test").front()).find("pages.0.0"),
            std::string::npos);
}

// Every number of a head, changed to what cannot be: an error, never a crash.
TEST_F(SavedCaches, CheckEveryNumberOfAHead) {
  const Made made = make("knorm(ratio=0.5)+kivi2(group=16,residual=32)");
  save(made);
  const std::string good = read_file();
  const auto tensors = Safetensors::open_file(file_name());
  const SafetensorsEntry& head = tensors.get("head.0.1");
  const size_t data = good.size();
  size_t offset = 0;
  {
    // Where the tensor lies in the file: by its bytes, which are unique enough to find.
    const std::string bytes(reinterpret_cast<const char*>(head.data), head.bytes);
    offset = good.find(bytes);
  }
  ASSERT_LT(offset, data);
  for (size_t field = 0; field < head.bytes / 4; ++field) {
    for (const int32_t wrong : {-7, 1 << 30, 1000, INT32_MAX}) {
      std::string text = good;
      std::memcpy(text.data() + offset + field * 4, &wrong, 4);
      std::ofstream(file_name(), std::ios::binary) << text;
      EXPECT_NE(failure(made.spec), "no error") << field << " " << wrong;
    }
  }
}

}  // namespace
}  // namespace kv
