// What users write and what they get: canonical forms, other people's names, and every refusal.
#include "compress/registry.h"

#include <gtest/gtest.h>

#include "engine/error.h"
#include "tests/compress/spec_testing.h"

namespace kv {
namespace {

Value object(std::vector<std::pair<std::string, Value>> entries) {
  Value map;
  map.kind = Value::Kind::kMap;
  map.place = "v1.yaml:7: compressors[1]";
  map.entries = std::move(entries);
  return map;
}

Value list(const std::vector<double>& numbers) {
  Value out;
  out.kind = Value::Kind::kList;
  for (const double n : numbers) out.items.push_back(Value::of(n));
  return out;
}

TEST(Registry, CanonicalFormHasEveryParameterInTableOrder) {
  EXPECT_EQ(canonical("none"), "none");
  EXPECT_EQ(canonical("full"), "none");
  EXPECT_EQ(canonical("random(ratio=0.5)"), "random(ratio=0.5,positions=original,seed=0)");
  EXPECT_EQ(canonical("knorm(ratio=0.25)"), "knorm(ratio=0.25,positions=original)");
  EXPECT_EQ(canonical("snapkv(window=32,ratio=0.5)"),
            "snapkv(ratio=0.5,positions=original,window=32,kernel=5,pooling=max)");
  EXPECT_EQ(canonical("streamingllm(ratio=1e-6)"),
            "streamingllm(ratio=1e-06,positions=contiguous,sinks=4)");
  EXPECT_EQ(canonical("int4"), "int4(group=32,keys=pre_rope,hadamard=false)");
  EXPECT_EQ(canonical("f16"), "f16");
  EXPECT_EQ(canonical("knorm(ratio=0.5,ties=position,protect=[])"),
            "knorm(ratio=0.5,positions=original)");
  EXPECT_EQ(canonical("knorm(ties=torch,protect=[[0,3],[9,9]],ratio=0.5,positions=canary)"),
            "knorm(ratio=0.5,positions=canary,protect=[[0,3],[9,9]],ties=torch)");
}

TEST(Registry, CanonicalFormReadsBackAsItself) {
  for (const std::string text :
       {"none", "random(ratio=0.3,seed=9)", "knorm(ratio=0.1,protect=[[1,2]])",
        "SnapKVPress(ratio=0.5)+int2(group=8)",
        "snapkv(ratio=0.5)+knorm(ratio=0.5)+streamingllm(ratio=0.25,ties=torch)+bf16",
        "StreamingLLM(ratio=0.875)"}) {
    EXPECT_EQ(canonical(canonical(text)), canonical(text));
    EXPECT_EQ(one(canonical(text)).short_name, one(text).short_name);
    EXPECT_EQ(one(canonical(text)).ratio, one(text).ratio);
  }
}

TEST(Registry, CompositionMakesOnePlan) {
  const CompressorSpec spec = one("snapkv(ratio=0.5)+knorm(ratio=0.5)+int4");
  EXPECT_EQ(spec.short_name, "snapkv+knorm+int4");
  EXPECT_EQ(spec.ratio, 0.75);
  ASSERT_EQ(spec.plan.policies.size(), 2u);
  EXPECT_EQ(spec.plan.policies[1]->spec(), "knorm(ratio=0.5,positions=original)");
  EXPECT_EQ(spec.plan.codec->spec(), "int4(group=32,keys=pre_rope,hadamard=false)");

  EXPECT_EQ(one("knorm(ratio=0.1)").ratio, 0.1);
  EXPECT_EQ(one("none+int4").canonical, one("int4").canonical);
  EXPECT_EQ(one("int4").ratio, 0);
  EXPECT_EQ(one("int4").short_name, "int4");
  EXPECT_TRUE(one("none").is_none());
  EXPECT_TRUE(one("none").plan.policies.empty());
  EXPECT_EQ(one("none").plan.codec, nullptr);
}

TEST(Registry, ObjectsAndStringsAreTheSame) {
  const Value value = object({{"window", Value::of(32.0)},
                              {"name", Value::of("snapkv")},
                              {"ratio", list({0.25, 0.5})},
                              {"then", Value::of("int4")}});
  const auto specs = read_compressors(value);
  ASSERT_EQ(specs.size(), 2u);
  EXPECT_EQ(specs[0].canonical, canonical("snapkv(ratio=0.25,window=32)+int4"));
  EXPECT_EQ(specs[1].canonical, canonical("snapkv(ratio=0.5,window=32)+int4"));
  EXPECT_EQ(parse_compressors("snapkv(ratio=[0.25,0.5,0.75])", "t").size(), 3u);
}

TEST(Registry, KvpressClassNamesBringTheirDefaults) {
  EXPECT_EQ(canonical("SnapKV(ratio=0.5)"), canonical("snapkv(ratio=0.5,pooling=avg)"));
  EXPECT_EQ(canonical("SnapKVPress(compression_ratio=0.5,window_size=8,kernel_size=3)"),
            canonical("snapkv(ratio=0.5,window=8,kernel=3,pooling=avg)"));
  EXPECT_EQ(canonical("SnapKV(ratio=0.5,pooling=max)"), canonical("snapkv(ratio=0.5)"));
  EXPECT_EQ(canonical("StreamingLLMPress(ratio=0.5,n_sink=2)"),
            canonical("streamingllm(ratio=0.5,sinks=2,positions=original)"));
  EXPECT_EQ(canonical("KnormPress(ratio=0.5)"), canonical("knorm(ratio=0.5)"));
  EXPECT_EQ(canonical("Random(ratio=0.5)"), canonical("random(ratio=0.5)"));
}

TEST(Registry, KvCanarySpelling) {
  const auto read = [](const std::string& method, Value budget) {
    return read_compressors(object({{"method", Value::of(method)}, {"budget", std::move(budget)}}));
  };
  EXPECT_EQ(read("full", Value::of(1.0))[0].canonical, "none");
  EXPECT_EQ(read("streamingllm", Value::of(0.25))[0].canonical,
            canonical("streamingllm(ratio=0.75)"));
  EXPECT_EQ(read("snapkv", Value::of(0.9))[0].canonical, canonical("snapkv(ratio=0.1)"));
  EXPECT_EQ(read("snapkv", Value::of(1.0))[0].ratio, 0);
  const auto bits = read("quantized", list({0.5, 0.25, 0.125}));
  ASSERT_EQ(bits.size(), 3u);
  EXPECT_EQ(bits[0].canonical, canonical("int8"));
  EXPECT_EQ(bits[1].canonical, canonical("int4"));
  EXPECT_EQ(bits[2].canonical, canonical("int2"));
  EXPECT_EQ(canonical("snapkv(budget=0.25,window=8)"), canonical("snapkv(ratio=0.75,window=8)"));
  EXPECT_EQ(message_of([&] { read("quantized", Value::of(0.3)); }),
            "v1.yaml:7: compressors[1]: 'budget' of 'quantized' must be 0.5 (int8), 0.25 (int4) or "
            "0.125 (int2), "
            "found the number 0.3");
  EXPECT_EQ(message_of([&] { read("snapkv", Value::of(0.0)); }),
            "v1.yaml:7: compressors[1]: 'budget' must be a number in (0, 1], the share KEPT, found "
            "the number 0");
  EXPECT_EQ(refusal("full(budget=0.5)"),
            "'full' keeps everything: its 'budget' can only be 1, found the number 0.5");
  EXPECT_EQ(refusal("quantized"),
            "'quantized' needs a 'budget' (share of memory KEPT): 0.5, 0.25 or 0.125");
}

TEST(Registry, RefusesWrongRatios) {
  for (const std::string ratio : {"1", "1.0", "-0.1", "2", "half", "true"}) {
    EXPECT_NE(
        refusal("knorm(ratio=" + ratio + ")").find("'ratio' must be a number in [0, 1), found"),
        std::string::npos)
        << ratio;
  }
  EXPECT_EQ(message_of([] { parse_compressors("knorm(ratio=1.0)", "--compressor"); }),
            "--compressor: column 13 of 'knorm(ratio=1.0)': knorm: 'ratio' must be a number in [0, "
            "1), found the number 1");
  EXPECT_EQ(refusal("knorm"),
            "knorm: 'ratio' is missing: expected a number in [0, 1) (share of the rows REMOVED)");
  EXPECT_EQ(
      message_of([] {
        read_compressors(object({{"name", Value::of("knorm")}, {"ratio", list({0.5, 1})}}));
      }),
      "v1.yaml:7: compressors[1]: knorm: 'ratio' must be a number in [0, 1), found the number 1");
}

TEST(Registry, RefusesUnknownNamesAndKeys) {
  EXPECT_EQ(
      refusal("snapvk(ratio=0.5)"),
      "unknown method 'snapvk'; did you mean 'snapkv'?; `kvengine list compressors` shows all");
  EXPECT_EQ(refusal("zzz"), "unknown method 'zzz'; `kvengine list compressors` shows all");
  EXPECT_EQ(refusal("snapkv(ratio=0.5,windw=3)"),
            "snapkv: unknown key 'windw'; did you mean 'window'? (known: ratio, positions, decode, "
            "prefill, budget_bytes, window, "
            "kernel, pooling, "
            "protect, ties)");
  EXPECT_EQ(refusal("none(ratio=0.5)"), "none: unknown key 'ratio'; it takes no parameters");
  EXPECT_EQ(refusal("f16(group=3)"), "f16: unknown key 'group'; it takes no parameters");
  EXPECT_NE(refusal("snapkv(ratio=0.5,window_size=3)").find("did you mean 'window'?"),
            std::string::npos);
  EXPECT_NE(refusal("int4(budget=0.25)").find("unknown key 'budget'"), std::string::npos);
}

TEST(Registry, RefusesWhatIsNotInThisBuild) {
  for (const std::string codec : {"kivi4", "absmax8", "flexgen4"}) {
    EXPECT_NE(refusal("think(ratio=0.5,unit=pair)+" + codec).find("fewer channels"),
              std::string::npos);
  }
  EXPECT_EQ(
      refusal("KeyRerotationPress(ratio=0.5)"),
      "'KeyRerotationPress' is no method here; write positions=contiguous on the policy itself");
  EXPECT_EQ(refusal("DecodingPress(ratio=0.5)"),
            "'DecodingPress' is no method here; write 'decode' on the policy itself");
}

TEST(Registry, ReadsDecode) {
  EXPECT_EQ(canonical("knorm(decode=(every=6,keep=48))"),
            "knorm(ratio=0,positions=original,decode=(every=6,keep=48))");
  EXPECT_EQ(canonical("knorm(decode=(),ratio=0.25)+int4"),
            "knorm(ratio=0.25,positions=original,decode=(every=512,keep=2048))+"
            "int4(group=32,keys=pre_rope,hadamard=false)");
  // The policy itself needs no name.
  EXPECT_EQ(canonical("snapkv(window=8,decode=(ratio=0.5,inner=snapkv(window=8)))"),
            "snapkv(ratio=0,positions=original,decode=(every=512,ratio=0.5),window=8,kernel=5,"
            "pooling=max)");
  const std::string other =
      "snapkv(ratio=0.5,positions=original,decode=(every=512,keep=2048,inner=adakv(inner=knorm,"
      "alpha=0.2)),window=8,kernel=5,pooling=max)";
  EXPECT_EQ(canonical(other), other);
  const CompressorSpec spec = one("knorm(ratio=0.5,decode=(every=6,ratio=0.75))");
  EXPECT_EQ(spec.ratio, 0.5);
  EXPECT_EQ(spec.plan.decode->every, 6);
  EXPECT_EQ(spec.plan.decode->rows_after(10), 2);
  EXPECT_EQ(spec.plan.decode->rows_after(1), 1);
  EXPECT_EQ(one("knorm(ratio=0.5)").plan.decode, nullptr);
}

TEST(Registry, ReadsCutsOfThePromptAndBudgets) {
  const std::string both =
      "keydiff(ratio=0,positions=original,decode=(every=64),prefill=(every=1024),budget_bytes="
      "1000000)";
  EXPECT_EQ(canonical(both), both);
  EXPECT_EQ(canonical("knorm(budget_bytes=70000)"),
            "knorm(ratio=0,positions=original,decode=(every=32),budget_bytes=70000)");
  EXPECT_EQ(canonical("knorm(prefill=(keep=100))+int4"),
            "knorm(ratio=0,positions=original,prefill=(every=512,keep=100))+"
            "int4(group=32,keys=pre_rope,hadamard=false)");
  EXPECT_EQ(one(both).plan.budget_bytes, 1000000);
  EXPECT_EQ(one(both).plan.prefill->every, 1024);
  EXPECT_NE(refusal("knorm(ratio=0.5,prefill=())").find("beside 'prefill' leave it out"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(ratio=0.5,budget_bytes=9)").find("beside 'budget_bytes' leave it out"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(decode=(keep=5),budget_bytes=9)").find("both say how many rows stay"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(budget_bytes=9,protect=[[0,3]])").find("'protect' may keep more rows"),
            std::string::npos);
  EXPECT_NE(refusal("kvzip(budget_bytes=9,decode=(inner=knorm))").find("cannot be told how many"),
            std::string::npos);
  EXPECT_NE(refusal("kvzip(prefill=())").find("cannot cut back while tokens come"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(prefill=(inner=tova))").find("unknown key 'inner'"), std::string::npos);
  EXPECT_NE(refusal("knorm(prefill=())+tova(ratio=0.5)").find("expected one policy"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(prefill=())+kivi2").find("its groups of codes span tokens"),
            std::string::npos);
}

TEST(Registry, RefusesDecodeThatCannotBe) {
  EXPECT_EQ(refusal("knorm(decode=(every=6,keep=48,ratio=0.5))"),
            "knorm: decode: 'keep' and 'ratio' both say how many rows stay: leave one out");
  EXPECT_EQ(refusal("knorm(decode=6)"),
            "knorm: 'decode' must be a map of every, keep or ratio, inner, found the number 6");
  EXPECT_NE(refusal("knorm(decode=(evry=6))").find("did you mean 'every'?"), std::string::npos);
  EXPECT_NE(refusal("knorm(decode=(every=0))").find("'every' must be"), std::string::npos);
  EXPECT_NE(refusal("knorm(decode=(inner=snapkv(ratio=0.5)))").find("belongs to the outer one"),
            std::string::npos);
  EXPECT_NE(refusal("kvzip(decode=())").find("kvzip cannot cut back while tokens come: "),
            std::string::npos);
  EXPECT_NE(refusal("adakv(inner=finch(window=3),decode=())").find("the question at the prompt"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(decode=())+kivi4").find("its groups of codes span tokens"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(decode=())+absmax8").find("share their scales"), std::string::npos);
  EXPECT_NE(refusal("knorm(decode=(),positions=canary)").find("kv-canary's cache"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(decode=())+tova(decode=())")
                .find("the second policy with 'decode' or 'prefill'"),
            std::string::npos);
  EXPECT_NE(refusal("knorm(decode=())+think(ratio=0.5)").find("masks channels"), std::string::npos);
  EXPECT_NE(refusal("int4(decode=())").find("unknown key 'decode'"), std::string::npos);
  EXPECT_NE(refusal("knorm").find("ratio"), std::string::npos);
}

TEST(Registry, RotatedCodesDoNotMove) {
  for (const std::string codec : {"int4(keys=post_rope)", "kivi2", "flexgen4", "absmax8"}) {
    EXPECT_NE(refusal("snapkv(ratio=0.5,positions=contiguous)+" + codec).find("coded after RoPE"),
              std::string::npos);
    EXPECT_NE(refusal("streamingllm(ratio=0.5)+" + codec).find("positions=contiguous"),
              std::string::npos);
    EXPECT_NE(canonical("snapkv(ratio=0.5)+" + codec), "");
  }
  EXPECT_EQ(canonical("int4(keys=post_rope,hadamard=true)"),
            "int4(group=32,keys=post_rope,hadamard=true)");
}

TEST(Registry, KiviGroupsLieInsideTiles) {
  EXPECT_EQ(canonical("kivi2"), "kivi2(group=32,residual=128,scales=f16)");
  EXPECT_NE(refusal("kivi2(group=12)").find("expected 4, 8, 16 or 32"), std::string::npos);
  EXPECT_NE(refusal("kivi4(group=32,residual=48)").find("multiple of group=32"), std::string::npos);
}

TEST(Registry, RefusesWrongValues) {
  EXPECT_EQ(refusal("snapkv(ratio=0.5,kernel=4)"),
            "snapkv: 'kernel' must be odd, found 4; take 3 or 5");
  EXPECT_EQ(refusal("snapkv(ratio=0.5,window=0)"),
            "snapkv: 'window' must be a whole number >= 1, found the number 0");
  EXPECT_EQ(refusal("snapkv(ratio=0.5,window=2.5)"),
            "snapkv: 'window' must be a whole number >= 1, found the number 2.5");
  EXPECT_EQ(refusal("snapkv(ratio=0.5,window=3e9)"),
            "snapkv: 'window' must be a whole number >= 1, found the number 3000000000");
  EXPECT_EQ(
      refusal("snapkv(ratio=0.5,pooling=mx)"),
      "snapkv: 'pooling' must be one of max, avg, found the string 'mx'; did you mean 'max'?");
  EXPECT_EQ(refusal("knorm(ratio=0.5,positions=orig)"),
            "knorm: 'positions' must be one of original, contiguous, canary, found the string "
            "'orig'; did you mean "
            "'original'?");
  for (const std::string protect :
       {"5", "[5]", "[[5,3]]", "[[1,2,3]]", "[[-1,2]]", "[[a,b]]", "a"}) {
    EXPECT_NE(refusal("knorm(ratio=0.5,protect=" + protect + ")")
                  .find("'protect' must be a list of [from, to]"),
              std::string::npos)
        << protect;
  }
  EXPECT_EQ(refusal("knorm(ratio=0.5,budget=0.5)"),
            "'budget' says 'ratio' a second time: leave one out");
}

TEST(Registry, CodecsComeLastAndAlone) {
  EXPECT_EQ(refusal("int4+snapkv(ratio=0.5)"),
            "'snapkv' stands behind the codec 'int4(group=32,keys=pre_rope,hadamard=false)': a "
            "spec ends with its only "
            "codec");
  EXPECT_EQ(refusal("f16+f32"),
            "'f32' stands behind the codec 'f16': a spec ends with its only codec");
}

}  // namespace
}  // namespace kv
