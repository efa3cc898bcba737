// Which rows stayed: the compact form, its drawing, and that it is read back or refused.
#include "runner/kept_rows.h"

#include <gtest/gtest.h>

#include <numeric>

#include "engine/error.h"
#include "runner/report_cells.h"
#include "runner/report_html_parts.h"
#include "runner/results.h"

namespace kv {
namespace {

std::vector<int32_t> range(int begin, int end) {
  std::vector<int32_t> positions(static_cast<size_t>(end - begin));
  std::iota(positions.begin(), positions.end(), begin);
  return positions;
}

TEST(KeptRows, EveryPositionOfAShortContextHasItsDigit) {
  const KeptRows kept = kept_rows({{{0, 3, 4}}, {{4}}}, 5);
  EXPECT_EQ(kept.share, (std::vector<std::vector<std::string>>{{"f00ff"}, {"0000f"}}));
  EXPECT_EQ(kept.rows, (std::vector<std::vector<int64_t>>{{3}, {1}}));
  EXPECT_TRUE(kept.ragged());
  EXPECT_FALSE(kept_rows({{{0, 1}, {3, 4}}}, 5).ragged());
}

TEST(KeptRows, NoneAndAllAreNeverRounded) {
  // 6400 positions: 100 in each range.
  std::vector<int32_t> positions = {0};                           // 1 of 100
  for (int32_t p : range(100, 199)) positions.push_back(p);       // 99 of 100
  for (int32_t p : range(200, 300)) positions.push_back(p);       // all
  for (int32_t p = 400; p < 500; p += 2) positions.push_back(p);  // a half
  const KeptRows kept = kept_rows({{positions}}, 6400);
  EXPECT_EQ(kept.share[0][0], "1ef08" + std::string(59, '0'));
}

TEST(KeptRows, UnevenRangesCoverEveryPosition) {
  for (int64_t n : {1, 63, 64, 65, 100, 129, 1000}) {
    const KeptRows kept = kept_rows({{range(0, static_cast<int>(n))}}, n);
    EXPECT_EQ(kept.share[0][0], std::string(static_cast<size_t>(std::min<int64_t>(64, n)), 'f'));
  }
}

SampleRecord record() {
  SampleRecord r;
  r.model = "tiny";
  r.method = "adakv";
  r.spec = "adakv(ratio=0.5)";
  r.compression_ratio = 0.5;
  r.task = "passkey";
  r.task_spec = "passkey()";
  r.sample_id = "s<1>";
  r.n_context = 6;
  r.kv_bytes_full = 100;
  r.kv_bytes = 50;
  r.scores = {{"exact_match", 1}};
  r.kept = kept_rows({{{0, 1, 2, 3}, {0, 5}}, {{0, 1}, {1, 2, 3, 5}}}, 6);
  return r;
}

TEST(KeptRows, SurviveTheRecord) {
  const SampleRecord back = from_json_line(to_json_line(record()), "x:1");
  ASSERT_TRUE(back.kept.has_value());
  EXPECT_EQ(back.kept->rows, record().kept->rows);
  EXPECT_EQ(back.kept->share, record().kept->share);
}

TEST(KeptRows, BrokenOnesAreNamed) {
  const std::string line = to_json_line(record());
  const auto broken = [&](const std::string& from, const std::string& to) {
    std::string text = line;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  for (const std::string& text :
       {broken("\"f0000f\"", "\"f00x0f\""), broken("\"f0000f\"", "\"\""),
        broken("[4,2],[2,4]", "[4,2],[2]"), broken("[4,2],[2,4]", "[4,2]"),
        broken("\"rows\":", "\"row\":")}) {
    try {
      from_json_line(text, "samples.jsonl:3");
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("samples.jsonl:3: field 'kept'"), std::string::npos)
          << e.what();
    }
  }
}

TEST(KeptRows, AreDrawnWithTheirCounts) {
  const auto cells = report_cells({record()}, ManifestInfo());
  const std::string html = kept_html({&cells[0]}, {record()});
  const auto has = [&](const std::string& part) { return html.find(part) != std::string::npos; };
  EXPECT_TRUE(has("Sample s&lt;1&gt;."));
  EXPECT_TRUE(has("2 to 4 of 6 rows in a head"));
  // Four heads, one below the other: their runs of kept positions, all of them whole.
  EXPECT_TRUE(has("<path d=\"M0 0h4M0 1h1M5 1h1M0 2h2M1 3h3M5 3h1\" stroke-opacity=\"1.00\"/>"))
      << html;
  EXPECT_TRUE(has("M0 0h1.000M0 1h0.500M0 2h0.500M0 3h1.000"));  // the bars
  EXPECT_TRUE(has("<th scope=\"row\">1</th><td>2</td><td>4</td>"));
  SampleRecord even = record();
  even.kept = kept_rows({{{0, 1}, {0, 5}}}, 6);
  EXPECT_NE(kept_html({&cells[0]}, {even}).find("2 of 6 rows in every head"), std::string::npos);
  even.kept.reset();
  EXPECT_EQ(kept_html({&cells[0]}, {even}), "");
}

}  // namespace
}  // namespace kv
