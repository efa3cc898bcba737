// samples.jsonl: round trips, cut lines, resume.
#include "runner/results.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "engine/error.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

class Results : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("kv_results_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    file_ = folder_ / "samples.jsonl";
  }
  void TearDown() override { fs::remove_all(folder_); }

  static SampleRecord record(const std::string& id) {
    SampleRecord r;
    r.model = "tiny";
    r.fingerprint = "0f";
    r.sample_id = id;
    r.scores = {{"ppl", 12.25}, {"nll", 0.1}};
    return r;
  }
  std::string text() const {
    std::ifstream in(file_, std::ios::binary);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
  }

  fs::path folder_, file_;
};

TEST_F(Results, RoundTripKeepsEveryField) {
  SampleRecord r = record("a");
  r.output = "line\n\"quoted\" \xC3\xA9";
  r.output_ids = {1, 0, 2147483647};
  r.kept = KeptRows{{{2, 1}}, {{"f0f", "00f"}}};
  r.seed = 5;
  r.meta = {{"depth", "0.5"}};
  r.scores["bad"] = std::numeric_limits<double>::infinity();
  r.scores["worse"] = std::nan("");
  r.ttft_ms = 1.5;
  r.timing_spread = {{"ttft_ms", 0.25}};
  r.kv_bytes = int64_t{1} << 40;
  const std::string line = to_json_line(r);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_NE(line.find("\"prefill_ms\":null"), std::string::npos);
  EXPECT_EQ(to_json_line(from_json_line(line, "x:1")), line);
  EXPECT_TRUE(std::isinf(from_json_line(line, "x:1").scores.at("bad")));
  EXPECT_TRUE(std::isnan(from_json_line(line, "x:1").scores.at("worse")));
}

TEST_F(Results, RecordsOfSchemaOneAreStillRead) {
  SampleRecord r = record("a");
  r.output_ids = {3, 1, 4};
  std::string line = to_json_line(r);
  EXPECT_EQ(from_json_line(line, "x:1").output_ids, r.output_ids);
  for (const std::string& added :
       {std::string("\"output_ids\":[3,1,4],"), std::string(",\"kept\":null")}) {
    ASSERT_NE(line.find(added), std::string::npos) << line;
    line.erase(line.find(added), added.size());
  }
  EXPECT_TRUE(from_json_line(line, "x:1").output_ids.empty());
  EXPECT_FALSE(from_json_line(line, "x:1").kept.has_value());
}

TEST_F(Results, TextThatEndsInsideACharacterIsStillJson) {
  SampleRecord r = record("a");
  r.output = "caf\xC3";
  EXPECT_EQ(from_json_line(to_json_line(r), "x:1").output, "caf\xEF\xBF\xBD");
}

TEST_F(Results, ACutLastLineIsCutAwayBeforeTheNextRecord) {
  { ResultWriter(file_, false).append(record("a")); }
  const std::string whole = text();
  { ResultWriter(file_, false).append(record("b")); }
  // Wherever a kill cuts the second line, the next run sees only the first record and appends
  // cleanly.
  const std::string both = text();
  for (size_t length : {whole.size() + 1, whole.size() + 20, both.size() - 1}) {
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << both.substr(0, length);
    {
      ResultWriter writer(file_, false);
      EXPECT_TRUE(writer.done("0f", "a"));
      EXPECT_FALSE(writer.done("0f", "b"));
      writer.append(record("b"));
    }
    EXPECT_EQ(text(), both);
    EXPECT_EQ(read_records(file_).size(), 2u);
  }
}

TEST_F(Results, FailedSamplesAreRepeatedAndTheLatestWins) {
  SampleRecord failed = record("a");
  failed.scores.clear();
  failed.error = "no memory";
  { ResultWriter(file_, false).append(failed); }
  {
    ResultWriter writer(file_, false);
    EXPECT_FALSE(writer.done("0f", "a"));
    writer.append(record("a"));
    EXPECT_TRUE(writer.done("0f", "a"));
  }
  const std::vector<SampleRecord> latest = latest_records(read_records(file_));
  ASSERT_EQ(latest.size(), 1u);
  EXPECT_EQ(latest[0].error, "");
}

TEST_F(Results, FreshKeepsOldRecordsAside) {
  { ResultWriter(file_, false).append(record("a")); }
  {
    ResultWriter writer(file_, true);
    EXPECT_FALSE(writer.done("0f", "a"));
  }
  EXPECT_EQ(read_records(folder_ / "samples.1.jsonl").size(), 1u);
  EXPECT_EQ(text(), "");
}

TEST_F(Results, ABrokenLineInTheMiddleIsAnErrorWithItsNumber) {
  { ResultWriter(file_, false).append(record("a")); }
  std::ofstream(file_, std::ios::app) << "{\"model\": 3}\n";
  try {
    read_records(file_);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("samples.jsonl:2"), std::string::npos) << e.what();
    EXPECT_EQ(e.kind(), ErrorKind::kData);
  }
}

}  // namespace
}  // namespace kv
