// The tiny models of tests/data/ against what transformers and kvpress gave
// (tools/make_tiny_model.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/safetensors.h"
#include "engine/session.h"
#include "tests/paths.h"

namespace kv {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kData = source_dir() / "tests" / "data";

std::vector<std::string> tiny_models() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kData)) {
    const bool is_model = fs::exists(entry.path() / "config.json");
    if (is_model && fs::exists(entry.path() / "golden.json"))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Those that more presses than the two of every architecture were run on.
std::vector<std::string> models_of_many_presses() {
  std::vector<std::string> names = tiny_models();
  std::erase_if(names, [](const std::string& name) {
    return !Json::parse(std::ifstream(kData / name / "golden.json")).contains("kept_cases");
  });
  return names;
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const fs::path folder = kData / GetParam();
    manifest = Json::parse(std::ifstream(folder / "golden.json"));
    tensors = Safetensors::open_file(folder / "golden.safetensors");
    model = Model::load(folder);
    prompt = manifest.at("prompt_ids").get<std::vector<int32_t>>();
    suffix = manifest.at("suffix_ids").get<std::vector<int32_t>>();
  }

  std::vector<float> feed(Session& session, KvCache& cache, const std::vector<int32_t>& ids) {
    std::vector<float> all;
    session.feed(cache, ids, [&](int, int n, const float* logits) {
      all.insert(all.end(), logits, logits + static_cast<size_t>(n) * model->config.vocab);
    });
    return all;
  }

  // Largest difference, as a share of the largest expected logit.
  static double error(const std::vector<float>& got, const std::vector<float>& want) {
    if (got.size() != want.size()) return INFINITY;
    double difference = 0, largest = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      difference = std::max(difference, std::abs(static_cast<double>(got[i]) - want[i]));
      largest = std::max(largest, std::abs(static_cast<double>(want[i])));
    }
    return difference / largest;
  }

  Json manifest;
  Safetensors tensors;
  std::shared_ptr<const Model> model;
  std::vector<int32_t> prompt, suffix;
};

TEST_P(Golden, LogitsEqualTransformers) {
  Session session(model, 9);
  std::vector<float> got;
  const auto collect = [&](int, int n, const float* logits) {
    got.insert(got.end(), logits, logits + static_cast<size_t>(n) * model->config.vocab);
  };
  PrefilledPrompt prefilled = session.prefill(prompt, {plain_codec("f32"), {}, collect});
  session.feed(prefilled.cache, suffix, collect);
  EXPECT_LT(error(got, tensors.floats(manifest.at("full_logits"))), 5e-6);
}

TEST_P(Golden, GreedyTextEqualsTransformers) {
  ASSERT_GT(manifest.at("greedy_margin").get<double>(), 2e-3)
      << "choose another seed: this text hangs by a near tie";
  Session session(model);
  PrefilledPrompt prefilled = session.prefill(prompt, {plain_codec("f32"), {}, nullptr});
  std::vector<float> logits = prefilled.last_logits;
  std::vector<int32_t> got;
  for (size_t i = 0; i < manifest.at("greedy").size(); ++i) {
    got.push_back(static_cast<int32_t>(kernels().argmax(logits.data(), model->config.vocab)));
    logits = feed(session, prefilled.cache, {got.back()});
  }
  EXPECT_EQ(got, manifest.at("greedy").get<std::vector<int32_t>>());
}

TEST_P(Golden, CompressionEqualsKvpress) {
  // Presses leave sliding-window layers alone: nothing is left to do where there are no others.
  const bool slides = model->config.n_sliding_layers() == model->config.n_layers;
  ASSERT_GE(manifest.at("cases").size(), manifest.contains("kept_cases") ? 4u : slides ? 0u : 2u);
  for (const Json& golden : manifest.at("cases")) {
    const std::string spec = golden.at("spec");
    SCOPED_TRACE(spec);
    const CompressorSpec method = parse_compressors(spec, "golden.json").front();
    Session session(model);
    const PrefilledPrompt prefilled = session.prefill(
        prompt,
        {plain_codec("f32"), needs_of({&method.plan}, static_cast<int>(prompt.size())), nullptr});
    CompressedCache cut = compress(*model, prefilled, method.plan);
    EXPECT_EQ(cut.kept, golden.at("kept").get<decltype(cut.kept)>());
    EXPECT_LT(error(feed(session, cut.cache, suffix), tensors.floats(golden.at("suffix_logits"))),
              1e-5);
  }
}

class GoldenRows : public Golden {};

TEST_P(GoldenRows, KeepsWhatKvpressKeeps) {
  ASSERT_GE(manifest.at("kept_cases").size(), 11u);
  for (const Json& golden : manifest.at("kept_cases")) {
    const std::string spec = golden.at("spec");
    const CompressorSpec method = parse_compressors(spec, "golden.json").front();
    Session session(model);
    const KvNeeds needs = needs_of({&method.plan}, static_cast<int>(prompt.size()));
    const PrefilledPrompt prefilled = session.prefill(prompt, {plain_codec("f32"), needs, nullptr});
    const CompressedCache cut = compress(*model, prefilled, method.plan);
    EXPECT_EQ(cut.kept, golden.at("kept").get<decltype(cut.kept)>()) << spec;
  }
}

std::string test_name(const ::testing::TestParamInfo<std::string>& tested) {
  std::string name = tested.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); },
      '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(TinyModels, Golden, ::testing::ValuesIn(tiny_models()), test_name);
INSTANTIATE_TEST_SUITE_P(TinyModels, GoldenRows, ::testing::ValuesIn(models_of_many_presses()),
                         test_name);

}  // namespace
}  // namespace kv
