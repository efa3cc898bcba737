// Every method of the registry through the program: the same file for every instruction set,
// number of threads and chunk.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/model.h"
#include "kernels/kernels.h"
#include "tests/every_method.h"
#include "tests/runner/program.h"

namespace kv {
namespace {

std::string request(const TestFolder& folder, int threads, int chunk) {
  const std::string model = tiny_model("tiny-llama");
  const ModelConfig config = read_model_header(model).config;
  nlohmann::json requests = nlohmann::json::array();
  std::vector<int> prompt, suffix;
  for (int i = 0; i < 64; ++i) prompt.push_back(i * 7 % config.vocab);
  for (int i = 0; i < 18; ++i) suffix.push_back(i * 11 % config.vocab);
  for (const testing::MethodSpec& method :
       testing::every_method(config, folder.path().string(), 0.5)) {
    requests.push_back({{"model", model},
                        {"prompt_ids", prompt},
                        {"suffix_ids", suffix},
                        {"generate", 4},
                        {"compressor", method.spec},
                        {"threads", threads},
                        {"prefill_chunk", chunk}});
  }
  return requests.dump();
}

TEST(EveryMethod, InstructionSetsThreadsAndChunksDoNotShow) {
  const TestFolder folder;
  write_text(folder.path() / "a.json", request(folder, 1, 64));
  write_text(folder.path() / "b.json", request(folder, 2, 9));
  const ProgramResult first = folder.run("probe a.json a.out", "KVENGINE_ISA=scalar");
  ASSERT_EQ(first.status, 0) << first.err;
  const std::string expected = file_text(folder.path() / "a.out");
  ASSERT_GT(expected.size(), 100000u);
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (kernels_for(isa) == nullptr) continue;
    const ProgramResult other =
        folder.run("probe b.json b.out", std::string("KVENGINE_ISA=") + isa_name(isa));
    ASSERT_EQ(other.status, 0) << other.err;
    EXPECT_TRUE(file_text(folder.path() / "b.out") == expected) << isa_name(isa);
  }
}

}  // namespace
}  // namespace kv
