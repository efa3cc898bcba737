// The sandbox against programs that mean harm: each is a fail, and nothing of it stays behind.
#include "tasks/sandbox.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "engine/error.h"
#include "tests/tasks/hostile_programs.h"
#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

// Generous for programs that should pass: the machine may be busy.
SandboxLimits short_limits(int seconds = 20) {
  SandboxLimits limits;
  limits.wall_seconds = limits.cpu_seconds = seconds;
  limits.address_space_bytes = 512 << 20;
  return limits;
}

constexpr const char* kTest = "def check(candidate):\n    assert candidate(2) == 4\n\ncheck(f)\n";

SandboxProgram with_test(const std::string& candidate) {
  return {candidate, kTest, "f"};
}

// Tests may run beside others that use the sandbox, so only our own is looked at: orphans come to
// this process, and temporary folders lie in one of our own.
class SandboxTest : public ::testing::TestWithParam<SandboxKind> {
 protected:
  void SetUp() override {
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    fs::permissions(temporary_.folder(), fs::perms(0755));
    setenv("TMPDIR", temporary_.folder().c_str(), 1);
    sandbox_.emplace(GetParam(), short_limits());
    const std::string problem = sandbox_->problem();
    if (!problem.empty()) GTEST_SKIP() << "no sandbox here: " << problem;
  }
  void TearDown() override { unsetenv("TMPDIR"); }
  void expect_nothing_left() {
    EXPECT_TRUE(fs::is_empty(temporary_.folder()));
    // One that killed its watcher died with it and may still have to be reaped.
    pid_t found = 0;
    for (int i = 0; i < 1000 && (found = waitpid(-1, nullptr, WNOHANG)) >= 0; ++i) usleep(1000);
    EXPECT_EQ(found, -1) << "a process is left";
  }
  ScratchFolder temporary_;
  std::optional<Sandbox> sandbox_;
};

std::string kind_name(const ::testing::TestParamInfo<SandboxKind>& info) {
  return info.param == SandboxKind::kRlimits ? "rlimits" : "bubblewrap";
}
INSTANTIATE_TEST_SUITE_P(Kinds, SandboxTest,
                         ::testing::Values(SandboxKind::kBubblewrap, SandboxKind::kRlimits),
                         kind_name);

TEST_P(SandboxTest, ACorrectProgramPasses) {
  EXPECT_TRUE(sandbox_->run(with_test("def f(x):\n    return x * x\n")).passed);
  expect_nothing_left();
}

TEST_P(SandboxTest, AWrongOneFailsAndItsOutputIsKept) {
  const SandboxResult result = sandbox_->run(with_test("print('so far')\ndef f(x): return x\n"));
  EXPECT_FALSE(result.passed);
  EXPECT_NE(result.output.find("so far"), std::string::npos);
  EXPECT_NE(result.output.find("AssertionError"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("test.py"), std::string::npos);
}

TEST_P(SandboxTest, OrdinaryPythonWorks) {
  const SandboxResult result = sandbox_->run(with_test(R"(
import collections, dataclasses, enum, hashlib, itertools, json, logging, math, random, re, tempfile
import threading, typing, unittest
@dataclasses.dataclass
class Point:
    x: int = 0
Pair = collections.namedtuple('Pair', 'a b')
class Colour(enum.Enum):
    RED = 1
def f(x):
    with tempfile.NamedTemporaryFile('w+') as file:
        file.write(str(x * x))
        file.seek(0)
        done = []
        thread = threading.Thread(target=lambda: done.append(int(file.read())))
        thread.start()
        thread.join()
    return done[0]
if __name__ == '__main__':
    logging.warning('as a program')
)"));
  EXPECT_TRUE(result.passed) << result.output;
  expect_nothing_left();
}

TEST_P(SandboxTest, OddProgramsAreFails) {
  for (const std::string& text :
       {std::string(), std::string("def f(:\n"), std::string("def f(x): return 4\0", 19),
        std::string("def f(x): return '\xff\xfe'\n"), std::string(300000, '('),
        std::string("def f(x):\n    return \"\"\"never closed\n")}) {
    EXPECT_FALSE(sandbox_->run(with_test(text)).passed) << text.substr(0, 40);
  }
}

TEST_P(SandboxTest, LongProgramsAndLongOutputsPass) {
  const std::string comment(3 << 20, '#');
  const SandboxResult result =
      sandbox_->run(with_test(comment + "\nprint('x' * 10**6)\ndef f(x):\n    return x + 2\n"));
  EXPECT_TRUE(result.passed) << result.output.substr(0, 200);
  EXPECT_EQ(result.output.size(), short_limits().output_bytes);
}

TEST_P(SandboxTest, BytesThatAreNoTextDoNotHurt) {
  const SandboxResult result =
      sandbox_->run(with_test("import os\nos.write(1, bytes(range(256)))\ndef f(x): return 4\n"));
  EXPECT_TRUE(result.passed);
  EXPECT_EQ(result.output.size(), 256u);
}

TEST_P(SandboxTest, TheProgramIsNotRootAndHasNoEnvironment) {
  const SandboxResult result = sandbox_->run(with_test(R"(
import os
def f(x):
    assert os.getuid() != 0 and os.geteuid() != 0 and os.getgid() != 0 and not os.getgroups()[1:]
    assert not os.environ
    assert sorted(os.listdir('/proc/self/fd')) == ['0', '1', '2', '3', '4'], os.listdir('/proc/self/fd')
    return 4
)"));
  if (geteuid() != 0 && GetParam() == SandboxKind::kRlimits) GTEST_SKIP() << "keeps our groups";
  EXPECT_TRUE(result.passed) << result.output;
}

TEST_P(SandboxTest, TestsSeeThePromptsHelpersButNotHiddenBuiltins) {
  EXPECT_TRUE(sandbox_
                  ->run({"def g(x): return x\ndef sum(a): return 7\n",
                         "assert sum([1, 2]) == 3 and g(1) == 1\n", "g"})
                  .passed);
  EXPECT_TRUE(
      sandbox_->run({"def sum(a, b): return 7\n", "assert sum(1, 2) == 7\n", "sum"}).passed);
}

TEST_P(SandboxTest, SlowEveryHostileProgramFailsAndLeavesNothing) {
  const Sandbox sandbox(GetParam(), short_limits(2));
  for (const HostileProgram& program : hostile_programs()) {
    SCOPED_TRACE(program.name);
    const auto start = std::chrono::steady_clock::now();
    SandboxResult result;
    // Without namespaces a plain user's program may kill even the one who watches it.
    try {
      result = sandbox.run({program.candidate, program.test.empty() ? kTest : program.test, "f"});
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
    EXPECT_FALSE(result.passed) << result.output;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
    EXPECT_LE(result.output.size(), short_limits().output_bytes);
    expect_nothing_left();
  }
}

// What the isolation promises beyond a fail: the deed itself does not happen.
TEST(SandboxIsolation, DeedsAreImpossible) {
  const Sandbox sandbox(SandboxKind::kBubblewrap, short_limits());
  const std::string problem = sandbox.problem();
  if (!problem.empty()) GTEST_SKIP() << "no sandbox here: " << problem;
  for (const char* deed : impossible_deeds()) {
    const SandboxResult result =
        sandbox.run({std::string("def f():\n    import os, socket, signal\n    try:\n        ") +
                         deed + "\n    except (OSError, ValueError):\n        return True\n",
                     "assert f() is True\n", "f"});
    EXPECT_TRUE(result.passed) << deed << "\n" << result.output;
  }
}

TEST(SandboxIsolation, ManyFilesCannotFillTheDisk) {
  const Sandbox sandbox(SandboxKind::kBubblewrap, short_limits());
  const std::string problem = sandbox.problem();
  if (!problem.empty()) GTEST_SKIP() << "no sandbox here: " << problem;
  const SandboxResult result = sandbox.run({R"(
def f():
    total = 0
    try:
        for i in range(1000):
            with open(f'/tmp/{i}', 'wb') as file:
                total += file.write(bytes(8 << 20))
    except OSError:
        return total
)",
                                            "assert f() <= 64 << 20\n", "f"});
  EXPECT_TRUE(result.passed) << result.output;
}

TEST(SandboxRefusal, AMissingOrBrokenBubblewrapIsNamed) {
  const Sandbox broken(SandboxKind::kBubblewrap, short_limits(), "/bin/false");
  EXPECT_NE(broken.problem().find("/bin/false"), std::string::npos) << broken.problem();
  EXPECT_THROW(broken.run(with_test("def f(x): return 4\n")), Error);
  const Sandbox missing(SandboxKind::kBubblewrap, short_limits(), "/no/such/bwrap");
  EXPECT_NE(missing.problem().find("/no/such/bwrap"), std::string::npos) << missing.problem();
}

TEST(SandboxRefusal, AProgramThatOnlySaysItIsolatesIsNotBelieved) {
  // It takes bubblewrap's arguments and runs what comes after "--" as it is.
  const ScratchFolder folder;
  const std::string fake = folder.folder() + "/bwrap";
  folder.write("bwrap",
               "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\ncd /tmp\nexec \"$@\"\n");
  fs::permissions(fake, fs::perms::all);
  fs::permissions(folder.folder(), fs::perms::all);
  const Sandbox sandbox(SandboxKind::kBubblewrap, short_limits(), fake);
  EXPECT_NE(sandbox.problem().find("trial program failed"), std::string::npos) << sandbox.problem();
  fs::remove("/tmp/written");
}

}  // namespace
}  // namespace kv
