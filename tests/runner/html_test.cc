// report.html: complete in itself, no scripts, everything from outside escaped.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <vector>

#include "runner/report.h"
#include "runner/report_html_parts.h"

namespace kv {
namespace {

SampleRecord record(const std::string& spec, const std::string& id, const std::string& output,
                    double score) {
  SampleRecord r;
  r.model = "tiny<b>";
  r.method = spec.substr(0, spec.find('('));
  r.compression_ratio = spec == "none" ? 0 : 0.5;
  r.task = "passkey";
  r.task_spec = "passkey(lengths=[512])";
  r.spec = spec;
  r.fingerprint = spec;
  r.sample_id = id;
  r.kv_bytes_full = 1000;
  r.kv_bytes = spec == "none" ? 1000 : 520;
  r.n_context = 256;
  r.output_ids.assign(output.begin(), output.end());
  r.n_tokens = static_cast<int64_t>(output.size());
  r.stop_reason = "eos";
  r.output = output;
  r.scores = {{"exact_match", score}};
  return r;
}

std::vector<SampleRecord> records() {
  std::vector<SampleRecord> all = {
      record("none", "s1", "key <script>alert(1)</script> 42", 1),
      record("snapkv(ratio=0.5)", "s1", "key <script>no", 0),
      record("none", "s2", "equal", 0),
      record("snapkv(ratio=0.5)", "s2", "equal", 0),
  };
  all[1].note = "window 64 shrunk to 15";
  SampleRecord failed = record("snapkv(ratio=0.5)", "s10", "", 0);
  failed.error = "went <wrong>";
  all.push_back(failed);
  return all;
}

std::string page(const std::vector<SampleRecord>& all) {
  ManifestInfo manifest;
  manifest.limits = {{"passkey", 2}};
  return report_html(report_cells(all, manifest), all, manifest);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Html, NeedsNothingFromOutside) {
  const std::string html = page(records());
  EXPECT_FALSE(has(html, "<script"));
  EXPECT_FALSE(has(html, "<link"));
  EXPECT_FALSE(has(html, "@import"));
  EXPECT_FALSE(has(html, "url("));
  EXPECT_FALSE(has(html, "src="));
  EXPECT_TRUE(has(html, "<svg"));
  EXPECT_TRUE(has(html, "prefers-color-scheme:dark"));
  EXPECT_TRUE(has(html, "width=device-width"));
  // Drawings follow the page's colours: none of their own.
  const std::string body = html.substr(html.find("<body>"));
  EXPECT_TRUE(has(body, "var(--c0)"));
  EXPECT_FALSE(has(body, "#ffffff"));
}

TEST(Html, EveryElementIsClosed) {
  const std::string html = page(records());
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z0-9]+)([^>]*)>");
  for (auto it = std::sregex_iterator(html.begin(), html.end(), tag); it != std::sregex_iterator();
       ++it) {
    const std::string name = (*it)[2], rest = (*it)[3];
    if (name == "meta" || name == "br" || (!rest.empty() && rest.back() == '/')) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << name;
    ASSERT_EQ(open.back(), name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

TEST(Html, ShowsWhereAnAnswerLeavesTheFullCaches) {
  const std::string html = page(records());
  EXPECT_TRUE(has(html, "tiny&lt;b&gt;"));
  EXPECT_TRUE(has(html, "key &lt;script&gt;alert(1)&lt;/script&gt; 42"));
  EXPECT_TRUE(has(html, "<span class=\"same\">key &lt;script&gt;</span><mark>n</mark>o</pre>"));
  EXPECT_TRUE(has(html, "differs after 12 tokens"));
  EXPECT_TRUE(has(html, "<span class=\"same\">equal</span>"));
  EXPECT_TRUE(has(html, "went &lt;wrong&gt;"));
  EXPECT_TRUE(has(html, "window 64 shrunk to 15"));
  EXPECT_TRUE(has(html, "<strong>Limited run</strong>"));
  EXPECT_LT(html.find("<summary>s2<"), html.find("<summary>s10<"));
}

TEST(Html, NamesTheEndOfTheScale) {
  auto all = records();
  EXPECT_FALSE(has(page(all), "discriminative: false"));
  all[2].scores["exact_match"] = 1;
  EXPECT_TRUE(has(page(all), "<code>discriminative: false</code> in exact_match"));
}

TEST(Html, TimesAreShownWhereMeasured) {
  auto all = records();
  EXPECT_TRUE(has(page(all), "Times were not measured"));
  for (SampleRecord& r : all) r.ttft_ms = 12.5;
  EXPECT_TRUE(has(page(all), "<th scope=\"col\">ttft, ms</th>"));
  EXPECT_TRUE(has(page(all), "<td>12.50</td>"));
}

TEST(Html, NothingYet) {
  EXPECT_TRUE(has(report_html({}, {}, ManifestInfo()), "There are no records yet"));
}

TEST(Html, MarkdownOfOurOwn) {
  EXPECT_EQ(html_text("**a** *b* `c*d*` <e>"),
            "<strong>a</strong> <em>b</em> <code>c*d*</code> &lt;e&gt;");
}

}  // namespace
}  // namespace kv
