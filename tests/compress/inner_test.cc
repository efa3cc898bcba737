// Specs of policies around other ones: canonical forms, other people's names, refusals.
#include <gtest/gtest.h>

#include "compress/registry.h"
#include "engine/error.h"
#include "tests/compress/spec_testing.h"

namespace kv {
namespace {

Value object(std::vector<std::pair<std::string, Value>> entries) {
  Value map;
  map.kind = Value::Kind::kMap;
  map.entries = std::move(entries);
  return map;
}

TEST(Inner, CanonicalFormPrintsThePolicyInsideInFull) {
  EXPECT_EQ(canonical("adakv(ratio=0.5)"),
            "adakv(ratio=0.5,positions=original,inner=snapkv(window=64,kernel=5,pooling=max),"
            "alpha=0.2)");
  EXPECT_EQ(canonical("chunkkv(inner=knorm,ratio=0.5,chunk=8)"),
            "chunkkv(ratio=0.5,positions=original,inner=knorm,chunk=8)");
  EXPECT_EQ(canonical("per_layer(ratios=[0.5,0],inner=tova)"),
            "per_layer(positions=original,inner=tova,ratios=[0.5,0])");
  EXPECT_EQ(canonical("adakv(ratio=0.5,inner=criticalkv(inner=snapkv(window=8)))"),
            "adakv(ratio=0.5,positions=original,inner=criticalkv(inner=snapkv(window=8,kernel=5,"
            "pooling=max),epsilon=0.0001,first_stage=0.5),alpha=0.2)");
  for (const std::string text :
       {"adakv(ratio=0.5)", "chunkkv(inner=knorm,ratio=0.5)", "block(ratio=0.25)",
        "adakv(ratio=0.5,inner=criticalkv(inner=tova))", "think(ratio=0.5)+int4",
        "simlayerkv(threshold=0.9)", "finch(ratio=0.5,window=12)"}) {
    EXPECT_EQ(canonical(canonical(text)), canonical(text));
  }
}

TEST(Inner, KvpressNamesBringTheirDefaultsInsideToo) {
  EXPECT_EQ(canonical("AdaKVPress(press=SnapKVPress(window_size=32),compression_ratio=0.5)"),
            canonical("adakv(ratio=0.5,inner=snapkv(window=32,pooling=avg))"));
  EXPECT_EQ(canonical("adakv(ratio=0.5,inner=SnapKV)"),
            canonical("adakv(ratio=0.5,inner=snapkv(pooling=avg))"));
}

TEST(Inner, ObjectsTakeStringsAndObjects) {
  const auto adakv = [](Value inner) {
    return read_compressors(object({{"name", Value::of("adakv")},
                                    {"ratio", Value::of(0.5)},
                                    {"inner", std::move(inner)}}))
        .at(0)
        .canonical;
  };
  const std::string expected = canonical("adakv(ratio=0.5,inner=snapkv(window=32))");
  EXPECT_EQ(adakv(object({{"name", Value::of("snapkv")}, {"window", Value::of(32.0)}})), expected);
  EXPECT_EQ(adakv(Value::of("snapkv(window=32)")), expected);
}

TEST(Inner, NominalRatios) {
  EXPECT_EQ(one("adakv(ratio=0.5)").ratio, 0.5);
  EXPECT_EQ(one("per_layer(ratios=[0.5,0])").ratio, 0.25);  // their mean
  EXPECT_EQ(one("think(ratio=0.5)").ratio, 0.25);           // half of the cache are keys
  EXPECT_EQ(one("simlayerkv(threshold=0.5)").ratio, 0);     // the prompt decides
  EXPECT_EQ(one("snapkv(ratio=0.5)+think(ratio=0.5)").ratio, 0.625);
}

TEST(Inner, RefusesWhatDoesNotScoreRows) {
  EXPECT_EQ(refusal("adakv(ratio=0.5,inner=adakv)"),
            "adakv: 'inner' must be a policy that scores rows, found 'adakv'");
  EXPECT_EQ(refusal("adakv(ratio=0.5,inner=int4)"),
            "adakv: 'inner' must be a policy that scores rows, found 'int4'");
  EXPECT_EQ(refusal("adakv(ratio=0.5,inner=think(ratio=0.5))"),
            "adakv: 'inner' must be a policy that scores rows, found 'think'");
  EXPECT_EQ(refusal("adakv(ratio=0.5,inner='knorm+tova')"),
            "adakv: 'inner' takes one policy, found 2");
}

TEST(Inner, RefusesKeysOfTheOuterPolicy) {
  for (const std::string key : {"ratio=0.5", "positions=original", "ties=torch", "protect=[]"}) {
    EXPECT_EQ(refusal("adakv(ratio=0.5,inner=snapkv(" + key + "))"),
              "adakv: '" + key.substr(0, key.find('=')) +
                  "' of the policy inside belongs to the outer one: write it beside 'inner'");
  }
  EXPECT_NE(refusal("adakv(ratio=0.5,inner=snapkv(windw=3))").find("did you mean 'window'?"),
            std::string::npos);
}

TEST(Inner, RefusesWrongValues) {
  EXPECT_NE(refusal("adakv(ratio=0.5,inner=finch)").find("must be given its 'window'"),
            std::string::npos);
  EXPECT_TRUE(refusal("finch(ratio=0.5,window=10,chunk=20)")
                  .starts_with("finch: 'chunk' must be larger than window / (1 - ratio) = 20"));
  EXPECT_NE(refusal("per_layer(ratios=[0.5,1])").find("'ratios' must be"), std::string::npos);
  EXPECT_EQ(refusal("per_layer(ratios=[])"),
            "per_layer: 'ratios' is empty; expected one number for each layer");
  EXPECT_EQ(refusal("entropy_chunkkv(ratio=0.5,chunk=4)"),
            "entropy_chunkkv: 'low' must be smaller than 'chunk' (4), found 4");
}

TEST(Inner, ListsMustFitTheModel) {
  const ModelShape shape{.n_layers = 3, .n_heads = 4, .n_kv_heads = 2, .head_dim = 16};
  EXPECT_NE(message_of([&] {
              one("per_layer(ratios=[0.5,0.25])").plan.check_model(shape);
            }).find("'ratios' has 2 numbers, but the model has 3 layers"),
            std::string::npos);
  one("per_layer(ratios=[0.5,0.25,0])").plan.check_model(shape);
  one("adakv(ratio=0.5)+int4").plan.check_model(shape);
}

}  // namespace
}  // namespace kv
