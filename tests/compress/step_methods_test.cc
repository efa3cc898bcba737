// Specs of the methods that act at every step; what they do is tested in
// tests/engine/step_rows_test.cc.
#include <gtest/gtest.h>

#include "compress/registry.h"
#include "engine/error.h"

namespace kv {
namespace {

CompressorSpec one(const std::string& text) {
  return parse_compressors(text, "test").at(0);
}

std::string refusal(const std::string& text) {
  try {
    one(text);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(StepMethodSpecs, DefaultsAreThePapers) {
  EXPECT_EQ(one("h2o").canonical, "h2o(heavy=0.0625,recent=0.0625,prefill_scores=true)");
  EXPECT_EQ(one("streaming_rolling").canonical, "streaming_rolling(sinks=4,window=1020)");
  EXPECT_EQ(one("infllm").canonical,
            "infllm(sinks=128,window=4096,block=128,topk=16,repr=4,step=512)");
  EXPECT_EQ(one("h2o").short_name, "h2o");
}

TEST(StepMethodSpecs, RatioStandsForTheSizes) {
  EXPECT_EQ(one("h2o(ratio=0.5)").canonical, "h2o(ratio=0.5,prefill_scores=true)");
  EXPECT_EQ(one("streaming_rolling(ratio=0.5,sinks=8)").canonical,
            "streaming_rolling(ratio=0.5,sinks=8)");
  EXPECT_EQ(one("infllm(ratio=0.75)").canonical, "infllm(ratio=0.75,block=128,repr=4,step=512)");
  const auto rules = std::get<HeavyRules>(one("h2o(ratio=0.5)").plan.step->rules);
  EXPECT_DOUBLE_EQ(rules.heavy, 0.25);
  EXPECT_DOUBLE_EQ(rules.recent, 0.25);
  EXPECT_EQ(parse_compressors("h2o(ratio=[0.25,0.5,0.75])", "test").size(), 3u);
}

TEST(StepMethodSpecs, NominalRatios) {
  EXPECT_DOUBLE_EQ(one("h2o").ratio, 0.875);
  EXPECT_DOUBLE_EQ(one("h2o(heavy=0.9,recent=0.9)").ratio, 0);
  EXPECT_DOUBLE_EQ(one("streaming_rolling(ratio=0.3)").ratio, 0.3);
  EXPECT_DOUBLE_EQ(one("streaming_rolling").ratio, 0);
  EXPECT_DOUBLE_EQ(one("infllm(ratio=0.3)+f16").ratio, 0.3);
}

TEST(StepMethodSpecs, RefusalsSayWhy) {
  EXPECT_NE(refusal("h2o(ratio=0.5,heavy=0.1)").find("give 'ratio' or 'heavy'"), std::string::npos);
  EXPECT_NE(refusal("streaming_rolling(ratio=0.5,window=9)").find("give 'ratio' or 'window'"),
            std::string::npos);
  EXPECT_NE(refusal("infllm(ratio=0.5,topk=2)").find("give 'ratio' or 'topk'"), std::string::npos);
  EXPECT_NE(refusal("infllm(block=4,repr=5)").find("'repr' must be at most 'block' (4), found 5"),
            std::string::npos);
  EXPECT_NE(refusal("h2o+int4").find("leave and enter one by one"), std::string::npos);
  EXPECT_NE(refusal("snapkv(ratio=0.5)+h2o").find("acts at every step"), std::string::npos);
  EXPECT_NE(refusal("h2o+streaming_rolling").find("both act at every step"), std::string::npos);
  EXPECT_NE(refusal("streaming_rolling(window=0)"), "");
  EXPECT_NE(refusal("streaming_rolling(ratio=1)"), "");
  EXPECT_NE(refusal("h2o(positions=contiguous)"), "");
  EXPECT_NE(refusal("infllm(decode=(every=4,keep=9))"), "");
  EXPECT_NE(refusal("adakv(ratio=0.5,inner=h2o)"), "");
}

}  // namespace
}  // namespace kv
