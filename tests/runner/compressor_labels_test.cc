// Compressors of one short name are told apart by what differs in them.
#include "runner/compressor_labels.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runner/report.h"

namespace kv {
namespace {

using Labels = std::map<std::string, std::string>;

TEST(CompressorLabels, OneOfANameKeepsIt) {
  EXPECT_EQ(compressor_labels({{"none", "none"}, {"int4(group=32,hadamard=false)", "int4"}}),
            (Labels{{"none", "none"}, {"int4(group=32,hadamard=false)", "int4"}}));
}

TEST(CompressorLabels, RatiosHaveTheirOwnColumn) {
  const Labels labels = compressor_labels(
      {{"snapkv(ratio=0.5,window=64)", "snapkv"}, {"snapkv(ratio=0.75,window=64)", "snapkv"}});
  for (const auto& [spec, label] : labels) EXPECT_EQ(label, "snapkv") << spec;
}

TEST(CompressorLabels, ParametersThatDifferAreNamed) {
  EXPECT_EQ(compressor_labels({{"int4(group=32,keys=pre_rope)", "int4"},
                               {"int4(group=64,keys=pre_rope)", "int4"}}),
            (Labels{{"int4(group=32,keys=pre_rope)", "int4(group=32)"},
                    {"int4(group=64,keys=pre_rope)", "int4(group=64)"}}));
  EXPECT_EQ(compressor_labels({{"snapkv(ratio=0.5,window=8)+int4(group=32)", "snapkv+int4"},
                               {"snapkv(ratio=0.75,window=8)+int4(group=64)", "snapkv+int4"}}),
            (Labels{{"snapkv(ratio=0.5,window=8)+int4(group=32)", "snapkv+int4(group=32)"},
                    {"snapkv(ratio=0.75,window=8)+int4(group=64)", "snapkv+int4(group=64)"}}));
  EXPECT_EQ(
      compressor_labels(
          {{"knorm(ratio=0.5)", "knorm"}, {"knorm(ratio=0.5,decode=(every=6,keep=48))", "knorm"}}),
      (Labels{{"knorm(ratio=0.5)", "knorm"},
              {"knorm(ratio=0.5,decode=(every=6,keep=48))", "knorm(decode=(every=6,keep=48))"}}));
}

TEST(CompressorLabels, SeveralRatiosAreNamedWhereOnlyTheirProductHasAColumn) {
  EXPECT_EQ(compressor_labels({{"knorm(ratio=0.5)+think(ratio=0.25)", "knorm+think"},
                               {"knorm(ratio=0.25)+think(ratio=0.5)", "knorm+think"}}),
            (Labels{{"knorm(ratio=0.5)+think(ratio=0.25)", "knorm(ratio=0.5)+think(ratio=0.25)"},
                    {"knorm(ratio=0.25)+think(ratio=0.5)", "knorm(ratio=0.25)+think(ratio=0.5)"}}));
}

TEST(CompressorLabels, WhatCannotBeReadGoesByItsFullText) {
  EXPECT_EQ(compressor_labels({{"odd((", "odd"}, {"odd(a=1)", "odd"}}),
            (Labels{{"odd((", "odd(("}, {"odd(a=1)", "odd(a=1)"}}));
}

SampleRecord record(const std::string& short_name, const std::string& spec) {
  SampleRecord r;
  r.model = "tiny";
  r.method = short_name;
  r.task = "passkey";
  r.task_spec = "passkey()";
  r.spec = r.fingerprint = spec;
  r.sample_id = "first";
  r.kv_bytes = r.kv_bytes_full = 100;
  r.scores = {{"exact_match", 1}};
  return r;
}

TEST(CompressorLabels, LeadTheRowsOfEveryReport) {
  const std::vector<SampleRecord> records = {
      record("none", "none"), record("int4", "int4(group=32)"), record("int4", "int4(group=64)")};
  const auto cells = report_cells(records, ManifestInfo());
  const std::string markdown = results_markdown(cells, ManifestInfo());
  const std::string html = report_html(cells, records, ManifestInfo());
  for (const std::string label : {"int4(group=32)", "int4(group=64)"}) {
    EXPECT_NE(markdown.find(fmt::format("| {} | 0 | 1 |", label)), std::string::npos) << markdown;
    EXPECT_NE(html.find(fmt::format("<th scope=\"row\"><code>{}</code></th>", label)),
              std::string::npos);
  }
  // The contract's column stays the short name.
  EXPECT_NE(cells_csv(cells).find("tiny,int4,0,passkey"), std::string::npos);
}

}  // namespace
}  // namespace kv
