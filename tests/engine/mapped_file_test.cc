#include "engine/mapped_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/engine/file_testing.h"

namespace kv {
namespace {

TEST(MappedFile, ShowsTheBytesOfTheFile) {
  const TempFolder folder;
  const auto path = folder.write("a.bin", std::string("ab\0cd", 5));
  const MappedFile file(path);
  ASSERT_EQ(file.size(), 5u);
  EXPECT_EQ(std::memcmp(file.data(), "ab\0cd", 5), 0);
  EXPECT_EQ(file.path(), path);
  file.read_ahead();
}

TEST(MappedFile, MovesItsMapping) {
  const TempFolder folder;
  MappedFile first(folder.write("a.bin", "xyz"));
  const MappedFile second(std::move(first));
  EXPECT_EQ(second.size(), 3u);
  EXPECT_EQ(std::memcmp(second.data(), "xyz", 3), 0);
}

TEST(MappedFile, StaysReadableAfterTheNameIsGone) {
  const TempFolder folder;
  const auto path = folder.write("a.bin", "xyz");
  const MappedFile file(path);
  std::filesystem::remove(path);
  EXPECT_EQ(std::memcmp(file.data(), "xyz", 3), 0);
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const TempFolder folder;
  const auto missing = (folder.path() / "none").string();
  expect_error([&] { MappedFile file(missing); }, {missing, "no such file"});
  expect_error([&] { MappedFile file(folder.path()); }, {folder.path().string(), "a folder"});
  const auto empty = folder.write("empty", "");
  expect_error([&] { MappedFile file(empty); }, {empty.string(), "empty"});
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_error([&] { MappedFile file(pipe); }, {pipe.string(), "no regular file"});
}

TEST(MappedFile, RefusesAnUnreadableFile) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read every file";
  const TempFolder folder;
  const auto path = folder.write("secret", "x");
  std::filesystem::permissions(path, std::filesystem::perms::none);
  expect_error([&] { MappedFile file(path); }, {path.string(), "cannot be opened"});
}

TEST(ReadWholeFile, GivesTextAndTakesEmptyFiles) {
  const TempFolder folder;
  EXPECT_EQ(read_whole_file(folder.write("a", "one\ntwo")), "one\ntwo");
  EXPECT_EQ(read_whole_file(folder.write("b", "")), "");
  expect_error([&] { read_whole_file(folder.path() / "none"); }, {"no such file"});
}

}  // namespace
}  // namespace kv
