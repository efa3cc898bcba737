#include "engine/safetensors.h"

#include <cmath>

#include "engine/safetensors_writer.h"
#include "tests/engine/file_testing.h"

namespace kv {
namespace {

// A file with this header text and this many bytes of data.
std::string file_with(const std::string& header, size_t data_bytes) {
  return bytes_of<uint64_t>(header.size()) + header + std::string(data_bytes, '\1');
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

void expect_refused(const std::string& text, const std::vector<std::string>& parts) {
  const TempFolder folder;
  const auto path = folder.write("x.safetensors", text);
  std::vector<std::string> all = parts;
  all.push_back(path.string());
  expect_error([&] { Safetensors::open_file(path); }, all);
}

SafetensorsWriter sample_writer() {
  SafetensorsWriter writer;
  writer.add("b", {2, 3}, std::vector<float>{1, -2, 3.5f, 0, -0.0f, 1e-40f});
  writer.add("empty", {0, 7}, std::vector<float>{});
  writer.add("flags", {3}, std::vector<uint8_t>{1, 2, 255});
  writer.add("ids", {2}, std::vector<int32_t>{-5, 2147483647});
  writer.add("large", {1}, std::vector<int64_t>{-(int64_t{1} << 40)});
  return writer;
}

TEST(Safetensors, ReadsWhatTheWriterWrote) {
  const TempFolder folder;
  const auto path = folder.path() / "x.safetensors";
  sample_writer().write(path);
  const Safetensors file = Safetensors::open_file(path);
  ASSERT_EQ(file.entries().size(), 5u);
  EXPECT_EQ(file.get("b").shape, (std::vector<int64_t>{2, 3}));
  const std::vector<float> b = file.floats("b");
  EXPECT_EQ(b, (std::vector<float>{1, -2, 3.5f, 0, 0, 1e-40f}));
  EXPECT_TRUE(std::signbit(b[4]));
  EXPECT_EQ(file.floats("empty").size(), 0u);
  EXPECT_EQ(file.get("empty").shape, (std::vector<int64_t>{0, 7}));
  EXPECT_EQ(file.bytes("flags"), (std::vector<uint8_t>{1, 2, 255}));
  EXPECT_EQ(file.int32s("ids"), (std::vector<int32_t>{-5, 2147483647}));
  EXPECT_EQ(file.int64s("ids"), (std::vector<int64_t>{-5, 2147483647}));
  EXPECT_EQ(file.int64s("large"), (std::vector<int64_t>{-(int64_t{1} << 40)}));
  // Nothing but the file itself is left behind by the way through a temporary name.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Safetensors, AlignsEveryTensorToItsElements) {
  const TempFolder folder;
  const auto path = folder.path() / "x.safetensors";
  SafetensorsWriter writer;
  writer.add("a", {3}, std::vector<uint8_t>{1, 2, 3});
  writer.add("b", {1}, std::vector<int64_t>{4});
  writer.add("c", {1}, std::vector<float>{5});
  writer.write(path);
  const Safetensors file = Safetensors::open_file(path);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.get("b").data) % 8, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.get("c").data) % 4, 0u);
}

TEST(Safetensors, WidensHalfAndBfloat) {
  const TempFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const std::vector<uint16_t> half = {0x3c00, 0xc000, 0x0001};   // 1, -2, 2^-24
  const std::vector<uint16_t> brain = {0x3f80, 0xc000, 0x0001};  // 1, -2, 2^-133
  SafetensorsWriter writer;
  writer.add_raw("h", "F16", {3}, std::as_bytes(std::span(half)));
  writer.add_raw("b", "BF16", {3}, std::as_bytes(std::span(brain)));
  writer.write(path);
  const Safetensors file = Safetensors::open_file(path);
  EXPECT_EQ(file.floats("h"), (std::vector<float>{1, -2, std::ldexp(1.0f, -24)}));
  EXPECT_EQ(file.floats("b"), (std::vector<float>{1, -2, std::ldexp(1.0f, -133)}));
}

TEST(Safetensors, GetChecksNameShapeAndDtype) {
  const TempFolder folder;
  const auto path = folder.path() / "x.safetensors";
  sample_writer().write(path);
  const Safetensors file = Safetensors::open_file(path);
  EXPECT_NO_THROW(file.get("b", {2, 3}));
  EXPECT_NO_THROW(file.get("b", {-1, 3}));
  expect_error([&] { file.get("b", {3, 2}); }, {path.string(), "'b'", "[3, 2]", "[2, 3]"});
  expect_error([&] { file.get("b", {6}); }, {"'b'", "[6]"});
  expect_error([&] { file.get("nope"); }, {path.string(), "'nope' is missing"});
  expect_error([&] { file.floats("ids"); }, {"'ids'", "F32", "I32"});
  expect_error([&] { file.int32s("b"); }, {"'b'", "I32", "F32"});
  expect_error([&] { file.bytes("b"); }, {"'b'", "U8", "F32"});
  EXPECT_EQ(file.find("nope"), nullptr);
}

TEST(Safetensors, KeepsMetadata) {
  const TempFolder folder;
  const auto path = folder.write("x", file_with("{\"__metadata__\":{\"format\":\"pt\"}," +
                                                    entry("a", "U8", "[2]", "[0,2]") + "}",
                                                2));
  EXPECT_EQ(Safetensors::open_file(path).metadata().at("format"), "pt");
  expect_refused(file_with("{\"__metadata__\":{\"format\":1}}", 0), {"__metadata__", "format"});
  expect_refused(file_with("{\"__metadata__\":[]}", 0), {"__metadata__", "a list"});
}

// However short the file is cut, it is refused: no length makes a smaller file that passes.
TEST(Safetensors, RefusesEveryTruncation) {
  const std::string whole = sample_writer().serialize();
  const TempFolder folder;
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto path = folder.write("cut", whole.substr(0, length));
    EXPECT_THROW(Safetensors::open_file(path), Error)
        << "cut to " << length << " of " << whole.size();
  }
  expect_refused(whole + "x", {"bytes of data"});
  expect_refused(whole.substr(0, whole.size() - 1), {"truncated", "expected at least", "found"});
}

TEST(Safetensors, RefusesBadHeaderLengths) {
  const std::string whole = sample_writer().serialize();
  for (const uint64_t length :
       {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{whole.size()}, uint64_t{200'000'000}}) {
    expect_refused(bytes_of(length) + whole.substr(8), {"header length", std::to_string(length)});
  }
  expect_refused(file_with("", 0), {"not valid JSON"});
  expect_refused(file_with("[]", 0), {"expected a JSON object", "a list"});
  expect_refused(file_with("{\"a\":", 0), {"not valid JSON at byte"});
}

TEST(Safetensors, RefusesBadEntries) {
  const auto one = [](const std::string& text, size_t n = 4) {
    return file_with("{" + text + "}", n);
  };
  expect_refused(one("\"a\":3"), {"'a'", "expected an object", "the number 3"});
  expect_refused(one("\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}"),
                 {"'a'", "'dtype' is missing"});
  expect_refused(one("\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}"),
                 {"'a'", "'shape' is missing"});
  expect_refused(one("\"a\":{\"dtype\":\"F32\",\"shape\":[1]}"),
                 {"'a'", "'data_offsets' is missing"});
  expect_refused(one("\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}"),
                 {"dtype", "a string"});
  expect_refused(one(entry("a", "F33", "[1]", "[0,4]")), {"'a'", "unknown dtype 'F33'"});
  expect_refused(one(entry("a", "F32", "1", "[0,4]")), {"'a'", "shape", "a list"});
  expect_refused(one(entry("a", "F32", "[-1]", "[0,4]")), {"'a'", "shape", "non-negative", "-1"});
  expect_refused(one(entry("a", "F32", "[1.0]", "[0,4]")), {"'a'", "shape", "1.0"});
  expect_refused(one(entry("a", "F32", "[1]", "[0]")), {"'a'", "data_offsets"});
  expect_refused(one(entry("a", "F32", "[1]", "[0,\"4\"]")), {"'a'", "data_offsets", "\"4\""});
  expect_refused(one(entry("a", "F32", "[1]", "[4,0]")), {"'a'", "end before they begin"});
  expect_refused(one(entry("a", "F32", "[2]", "[0,4]")), {"'a'", "[2]", "8 bytes", "hold 4"});
  expect_refused(one(entry("a", "F32", "[2]", "[0,8]")), {"'a'", "truncated", "8", "found 4"});
  expect_refused(one(entry("a", "F32", "[0]", "[0,4]")), {"'a'", "0 bytes", "hold 4"});
}

TEST(Safetensors, RefusesOverflowingNumbers) {
  const auto one = [](const std::string& text) { return file_with("{" + text + "}", 4); };
  expect_refused(one(entry("a", "F32", "[4294967296,4294967296]", "[0,4]")), {"'a'", "too large"});
  expect_refused(one(entry("a", "F32", "[4611686018427387904,4]", "[0,4]")), {"'a'", "too large"});
  // 2^62 + 1 values of 4 bytes wrap around to 4 bytes.
  expect_refused(one(entry("a", "F32", "[4611686018427387905]", "[0,4]")), {"'a'", "too large"});
  expect_refused(one(entry("a", "F32", "[1]", "[0,18446744073709551615]")),
                 {"'a'", "data_offsets"});
  expect_refused(one(entry("a", "F32", "[1]", "[9223372036854775804,9223372036854775807]")),
                 {"'a'", "reach beyond"});
  expect_refused(one(entry("a", "F32", "[99999999999999999999]", "[0,4]")), {"'a'", "shape"});
}

TEST(Safetensors, RefusesOverlapsGapsAndDuplicates) {
  const auto two = [](const std::string& a, const std::string& b, size_t n) {
    return file_with("{" + entry("a", "U8", "[4]", a) + "," + entry("b", "U8", "[4]", b) + "}", n);
  };
  expect_refused(two("[0,4]", "[2,6]", 6), {"'a' and 'b' overlap"});
  expect_refused(two("[0,4]", "[0,4]", 4), {"'a' and 'b' overlap"});
  expect_refused(two("[0,4]", "[5,9]", 9), {"'b'", "begins at data byte 5, expected 4"});
  expect_refused(two("[1,5]", "[5,9]", 9), {"'a'", "begins at data byte 1, expected 0"});
  expect_refused(two("[0,4]", "[4,8]", 9), {"take 8 bytes", "9 bytes of data"});
  expect_refused(
      file_with(
          "{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("a", "U8", "[1]", "[0,1]") + "}", 1),
      {"'a' occurs twice"});
}

class Sharded : public testing::Test {
 protected:
  Sharded() {
    shard("one.safetensors", "a", 1);
    shard("two.safetensors", "b", 2);
  }
  void shard(const std::string& file, const std::string& name, float value) {
    SafetensorsWriter writer;
    writer.add(name, {1}, std::vector<float>{value});
    writer.write(folder_.path() / file);
  }
  void index(const std::string& map) {
    folder_.write("model.safetensors.index.json", "{\"metadata\":{},\"weight_map\":" + map + "}");
  }
  void refused(const std::vector<std::string>& parts) {
    expect_error([&] { Safetensors::open_folder(folder_.path()); }, parts);
  }
  TempFolder folder_;
};

TEST_F(Sharded, JoinsTheShards) {
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  const Safetensors file = Safetensors::open_folder(folder_.path());
  EXPECT_EQ(file.floats("a"), std::vector<float>{1});
  EXPECT_EQ(file.floats("b"), std::vector<float>{2});
}

TEST_F(Sharded, ASingleFileWins) {
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  shard("model.safetensors", "c", 3);
  EXPECT_EQ(Safetensors::open_folder(folder_.path()).entries().size(), 1u);
}

TEST_F(Sharded, RefusesAnIndexThatDoesNotFit) {
  refused({folder_.path().string(), "no weights", "model.safetensors"});
  folder_.write("pytorch_model.bin", "PK");
  refused(
      {"expected model.safetensors", "found pytorch_model.bin", "python -c", "save_pretrained"});
  index(R"({"a":"one.safetensors","b":"one.safetensors"})");
  refused({"'b'", "one.safetensors"});
  index(R"({"a":"one.safetensors","b":"three.safetensors"})");
  refused({"three.safetensors", "no such file"});
  index(R"({"a":"two.safetensors","b":"one.safetensors"})");
  refused({"is not in", "but in"});
  index(R"({"a":"../one.safetensors"})");
  refused({"'a'", "../one.safetensors"});
  index(R"({"a":7})");
  refused({"'a'", "the number 7"});
  index("{}");
  refused({"weight_map lists no tensors"});
  index("[]");
  refused({"weight_map"});
  shard("two.safetensors", "a", 2);
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  refused({"'a' is both in"});
}

TEST_F(Sharded, RefusesTensorsThatTheIndexDoesNotName) {
  SafetensorsWriter writer;
  writer.add("a", {1}, std::vector<float>{1});
  writer.add("extra", {1}, std::vector<float>{1});
  writer.write(folder_.path() / "one.safetensors");
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  refused({"'extra' is not listed"});
}

TEST(SafetensorsWriter, SaysWhereItCannotWrite) {
  expect_error([] { sample_writer().write("/nonexistent-folder/x.safetensors"); },
               {"/nonexistent-folder/x.safetensors", "cannot be written"});
}

}  // namespace
}  // namespace kv
