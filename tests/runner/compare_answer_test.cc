// Cells fed the full cache's answer: the same figures as scoring that answer as a text.
#include <gtest/gtest.h>

#include "compress/registry.h"
#include "engine/compression.h"
#include "runner/answer.h"
#include "tests/runner/program.h"

namespace kv {
namespace {

std::vector<CompressionPlan> plans_of(const std::vector<std::string>& specs) {
  std::vector<CompressionPlan> plans;
  for (const std::string& spec : specs) plans.push_back(parse_compressors(spec, "test")[0].plan);
  return plans;
}

// A prompt with a compressed cache for each spec.
struct Setting {
  Session session{Model::load(tiny_model(), {})};
  std::vector<CompressionPlan> plans;
  std::vector<const CompressionPlan*> pointers;
  PrefilledPrompt prompt;
  std::vector<CompressedCache> caches;

  explicit Setting(const std::vector<std::string>& specs)
      : plans(plans_of(specs)),
        pointers(pointers_to(plans)),
        prompt(prefill()),
        caches(compress_all(session.model(), prompt, pointers)) {}

  static std::vector<const CompressionPlan*> pointers_to(const std::vector<CompressionPlan>& all) {
    std::vector<const CompressionPlan*> result;
    for (const CompressionPlan& plan : all) result.push_back(&plan);
    return result;
  }

  PrefilledPrompt prefill() {
    std::vector<int32_t> ids;
    for (int i = 0; i < 90; ++i) ids.push_back((7 * i + 3) % session.model().config.vocab);
    PrefillOptions options;
    options.codec = plain_codec("f16");
    options.needs = needs_of(pointers, static_cast<int>(ids.size()));
    return session.prefill(ids, options);
  }

  std::vector<AnswerJob> jobs(const Sample& sample) const {
    std::vector<AnswerJob> all;
    for (const CompressedCache& cell : caches) {
      all.emplace_back();
      all.back().sample = &sample;
      all.back().cache = &cell.cache;
    }
    all[0].is_full = true;
    return all;
  }
};

std::vector<AnswerJob*> pointers(std::vector<AnswerJob>& jobs) {
  std::vector<AnswerJob*> result;
  for (AnswerJob& job : jobs) result.push_back(&job);
  return result;
}

const std::vector<std::string> kSpecs = {"none", "int4", "knorm(ratio=0.5)", "f16",
                                         "snapkv(ratio=0.75,window=8)"};

TEST(CompareJobs, AgreesWithScoringTheAnswerAsAText) {
  Setting setting(kSpecs);
  Sample asked;
  const std::vector<int32_t> answer = {5, 9, 9, 1, 30, 2, 5};
  auto compared = setting.jobs(asked);
  AnswerOptions options;
  options.batch = 3;
  ASSERT_TRUE(compare_jobs(setting.session, setting.prompt.last_logits, setting.prompt, answer,
                           pointers(compared), options));
  Sample text;
  text.kind = Sample::Kind::kScore;
  text.continuation_ids = answer;
  auto scored = setting.jobs(text);
  score_jobs(setting.session, setting.prompt.last_logits, pointers(scored));
  for (size_t i = 0; i < kSpecs.size(); ++i) {
    EXPECT_EQ(compared[i].against_full, scored[i].against_full) << kSpecs[i];
  }
  EXPECT_EQ(compared[0].against_full.at("kld"), 0);
  EXPECT_EQ(compared[0].against_full.at("top1_agreement"), 1);
  EXPECT_GT(compared[1].against_full.at("kld"), 0);
  EXPECT_EQ(compared[3].against_full.at("kld"), 0);  // f16 is how the prompt was stored
}

// Only the answer counts, whatever is asked before it; the batch does not show.
TEST(CompareJobs, AQuestionIsFedButNotCounted) {
  Setting setting(kSpecs);
  Sample asked;
  asked.continuation_ids = {4, 8, 15};
  const std::vector<int32_t> answer = {16, 23};
  AnswerOptions options;
  options.batch = 1;
  auto alone = setting.jobs(asked);
  ASSERT_TRUE(compare_jobs(setting.session, setting.prompt.last_logits, setting.prompt, answer,
                           pointers(alone), options));
  options.batch = 32;
  auto together = setting.jobs(asked);
  ASSERT_TRUE(compare_jobs(setting.session, setting.prompt.last_logits, setting.prompt, answer,
                           pointers(together), options));
  Sample both;  // question and answer as one text: the sums over its parts
  both.kind = Sample::Kind::kScore;
  both.continuation_ids = {4, 8, 15, 16, 23};
  auto whole = setting.jobs(both);
  score_jobs(setting.session, setting.prompt.last_logits, pointers(whole));
  Sample question = both;
  question.continuation_ids = {4, 8, 15};
  auto part = setting.jobs(question);
  score_jobs(setting.session, setting.prompt.last_logits, pointers(part));
  for (size_t i = 0; i < kSpecs.size(); ++i) {
    EXPECT_EQ(alone[i].against_full, together[i].against_full) << kSpecs[i];
    const double expected =
        (5 * whole[i].against_full.at("kld") - 3 * part[i].against_full.at("kld")) / 2;
    EXPECT_NEAR(alone[i].against_full.at("kld"), expected, 1e-12) << kSpecs[i];
  }
}

TEST(CompareJobs, AnEmptyAnswerHasNoFigures) {
  Setting setting(kSpecs);
  Sample asked;
  auto jobs = setting.jobs(asked);
  EXPECT_TRUE(compare_jobs(setting.session, setting.prompt.last_logits, setting.prompt, {},
                           pointers(jobs), {}));
  for (const AnswerJob& job : jobs) EXPECT_TRUE(job.against_full.empty());
}

TEST(CompareJobs, StopsWhenAsked) {
  Setting setting(kSpecs);
  Sample asked;
  auto jobs = setting.jobs(asked);
  AnswerOptions options;
  options.stop = [] { return true; };
  EXPECT_FALSE(compare_jobs(setting.session, setting.prompt.last_logits, setting.prompt, {1, 2},
                            pointers(jobs), options));
}

}  // namespace
}  // namespace kv
