#include "engine/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "engine/stored_codes.h"
#include "kernels/half.h"
#include "tests/engine/gguf_builder.h"
#include "tests/paths.h"

namespace kv {
namespace {

Gguf open(const TempFolder& folder, const std::string& text) {
  return Gguf(folder.write("x.gguf", text));
}

void expect_refused(const std::string& text, std::vector<std::string> parts) {
  const TempFolder folder;
  parts.push_back("x.gguf");
  expect_error([&] { open(folder, text); }, parts);
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  GgufBuilder b;
  b.raw("u8", 0, bytes_of<uint8_t>(200));
  b.raw("i8", 1, bytes_of<int8_t>(-100));
  b.raw("u16", 2, bytes_of<uint16_t>(60000));
  b.raw("i16", 3, bytes_of<int16_t>(-30000));
  b.raw("u32", 4, bytes_of<uint32_t>(4000000000u));
  b.raw("i32", 5, bytes_of<int32_t>(-2000000000));
  b.f32("f32", 0.5f);
  b.boolean("yes", true);
  b.string("s", "text");
  b.strings("list", {"a", "", "c"});
  b.raw("u64", 10, bytes_of<uint64_t>(uint64_t{1} << 60));
  b.raw("i64", 11, bytes_of<int64_t>(-(int64_t{1} << 60)));
  b.raw("f64", 12, bytes_of<double>(0.1));
  b.i32s("ids", {3, -4});
  // An array of two arrays of one u8 each.
  const std::string inner = bytes_of<uint32_t>(0) + bytes_of<uint64_t>(1) + "\7";
  b.raw("nested", 9, bytes_of<uint32_t>(9) + bytes_of<uint64_t>(2) + inner + inner);
  const TempFolder folder;
  for (const uint32_t version : {2u, 3u}) {
    b.version = version;
    const Gguf file = open(folder, b.build());
    EXPECT_EQ(file.metadata().size(), 15u);
    EXPECT_EQ(file.integer("u8"), 200);
    EXPECT_EQ(file.integer("i8"), -100);
    EXPECT_EQ(file.integer("u16"), 60000);
    EXPECT_EQ(file.integer("i16"), -30000);
    EXPECT_EQ(file.integer("u32"), 4000000000);
    EXPECT_EQ(file.integer("i32"), -2000000000);
    EXPECT_EQ(file.integer("u64"), int64_t{1} << 60);
    EXPECT_EQ(file.integer("i64"), -(int64_t{1} << 60));
    EXPECT_EQ(file.number("f32"), 0.5);
    EXPECT_EQ(file.number("f64"), 0.1);
    EXPECT_EQ(file.number("u8"), 200.0);
    EXPECT_TRUE(file.boolean_or("yes", false));
    EXPECT_EQ(file.string("s"), "text");
    EXPECT_EQ(file.strings_or_empty("list"), (std::vector<std::string>{"a", "", "c"}));
    EXPECT_EQ(file.integers_or_empty("ids"), (std::vector<int64_t>{3, -4}));
    const auto& nested = std::get<GgufValue::Array>(file.metadata().at("nested").value);
    EXPECT_EQ(std::get<int64_t>(std::get<GgufValue::Array>(nested[1].value)[0].value), 7);
    EXPECT_EQ(file.integer_or("absent", 5), 5);
    expect_error([&] { file.integer("absent"); }, {"'absent' is missing"});
    expect_error([&] { file.integer("s"); }, {"s: expected an integer", "'text'"});
    expect_error([&] { file.string("u8"); }, {"u8: expected a string", "200"});
    expect_error([&] { file.boolean_or("u8", true); }, {"u8: expected a bool"});
    expect_error([&] { file.strings_or_empty("ids"); }, {"ids", "array of strings"});
  }
}

GgufBuilder sample() {
  GgufBuilder b;
  b.string("general.architecture", "llama");
  b.strings("words", {"one", "two"});
  b.floats("a", {2, 3}, {1, 2, 3, 4, 5, 6});
  b.floats("b", {1}, {7});
  return b;
}

TEST(Gguf, ReadsTensorsAtTheirOffsets) {
  const TempFolder folder;
  const Gguf file = open(folder, sample().build());
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.find_tensor("a")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(read_floats(*file.find_tensor("a")), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(read_floats(*file.find_tensor("b")), std::vector<float>{7});
  EXPECT_EQ(file.find_tensor("c"), nullptr);
}

TEST(Gguf, TakesOtherAlignments) {
  const TempFolder folder;
  GgufBuilder b;
  b.alignment = 128;
  b.u32("general.alignment", 128);
  b.floats("a", {1}, {1});
  b.floats("b", {1}, {2});
  EXPECT_EQ(read_floats(*open(folder, b.build()).find_tensor("b")), std::vector<float>{2});
  for (const uint32_t bad : {0u, 3u, 48u, 1u << 31}) {
    GgufBuilder wrong;
    wrong.u32("general.alignment", bad);
    expect_refused(wrong.build(), {"general.alignment", std::to_string(bad)});
  }
}

TEST(Gguf, RefusesEveryTruncation) {
  const std::string whole = sample().build();
  const TempFolder folder;
  EXPECT_NO_THROW(open(folder, whole));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THROW(open(folder, whole.substr(0, length)), Error)
        << "cut to " << length << " of " << whole.size();
  }
}

TEST(Gguf, RefusesOtherFilesAndVersions) {
  expect_refused("{\"a\": 1}aaaaaaaaaaaaaaaaaaaaaaaaaa", {"not a GGUF file"});
  GgufBuilder b = sample();
  b.version = 1;
  expect_refused(b.build(), {"version 1", "2 or 3"});
  b.version = 4;
  expect_refused(b.build(), {"version 4"});
  b.version = 0x03000000;
  expect_refused(b.build(), {"big-endian"});
}

TEST(Gguf, RefusesBadMetadata) {
  const auto one = [](uint32_t type, const std::string& bytes) {
    GgufBuilder b;
    b.raw("key", type, bytes);
    return b.build();
  };
  expect_refused(one(13, ""), {"key", "unknown value type 13"});
  expect_refused(one(7, "\2"), {"key", "expected a bool", "2"});
  expect_refused(one(8, bytes_of<uint64_t>(~uint64_t{0})), {"key", "string of"});
  expect_refused(one(9, bytes_of<uint32_t>(4) + bytes_of<uint64_t>(uint64_t{1} << 62)),
                 {"key", "announced"});
  expect_refused(one(9, bytes_of<uint32_t>(99) + bytes_of<uint64_t>(0)),
                 {"key", "element type 99"});
  expect_refused(one(10, bytes_of<uint64_t>(~uint64_t{0})), {"key", "beyond"});
  std::string deep = bytes_of<uint32_t>(0) + bytes_of<uint64_t>(0);
  for (int i = 0; i < 10; ++i) deep = bytes_of<uint32_t>(9) + bytes_of<uint64_t>(1) + deep;
  expect_refused(one(9, deep), {"key", "nested"});
  GgufBuilder twice;
  twice.u32("key", 1);
  twice.u32("key", 2);
  expect_refused(twice.build(), {"'key' occurs twice"});
  const std::string many =
      "GGUF" + bytes_of<uint32_t>(3) + bytes_of<uint64_t>(0) + bytes_of<uint64_t>(~uint64_t{0});
  expect_refused(many, {"number of metadata keys"});
}

TEST(Gguf, RefusesBadTensors) {
  const auto one = [](uint32_t type, const std::vector<int64_t>& shape, uint64_t offset) {
    GgufBuilder b;
    b.floats("good", {8}, std::vector<float>(8));
    b.tensor_at("t", type, shape, offset);
    return b.build() + std::string(64, '\0');
  };
  expect_refused(one(0, {4}, 33), {"'t'", "offset 33", "alignment 32"});
  expect_refused(one(0, {4}, 1 << 20), {"'t'", "truncated"});
  expect_refused(one(0, {1000}, 32), {"'t'", "expected 4000 bytes", "truncated"});
  expect_refused(one(0, {4}, ~uint64_t{31}), {"'t'", "truncated"});
  expect_refused(one(0, {4}, 0), {"'good' and 't' overlap"});
  expect_refused(one(0, {int64_t{1} << 32, int64_t{1} << 32}, 32), {"'t'", "too large"});
  expect_refused(one(0, {int64_t{1} << 62}, 32), {"'t'", "too large"});
  expect_refused(one(0, {0, 4}, 32), {"'t'", "positive"});
  expect_refused(one(0, {}, 32), {"'t'", "dimensions"});
  expect_refused(one(0, {1, 1, 1, 1, 1}, 32), {"'t'", "dimensions", "5"});
  expect_refused(one(8, {2, 48}, 32), {"'t'", "48", "32", "Q8_0"});
  expect_refused(one(14, {2, 128}, 32), {"'t'", "256", "Q6_K"});
  expect_refused(one(21, {256}, 32), {"'t'", "IQ3_S", "not supported", "Q4_1", "Q4_K"});
  expect_refused(one(24, {256}, 32), {"'t'", "I8"});
  expect_refused(one(77, {256}, 32), {"'t'", "type 77"});
  GgufBuilder twice;
  twice.floats("t", {1}, {1});
  twice.floats("t", {1}, {1});
  expect_refused(twice.build(), {"'t' occurs twice"});
}

// ---- block formats: values against the definition of each, value by value, in double ----

double half_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

class Block {
 public:
  explicit Block(const std::string& bytes) : bytes_(bytes) {}
  int byte(size_t i) const { return static_cast<uint8_t>(bytes_[i]); }
  int signed_byte(size_t i) const { return static_cast<int8_t>(bytes_[i]); }
  double half(size_t i) const {
    return half_value(static_cast<uint16_t>(byte(i) | byte(i + 1) << 8));
  }

 private:
  std::string bytes_;
};

double q4_0(const Block& b, int i) {
  return b.half(0) * ((i < 16 ? b.byte(2 + i) % 16 : b.byte(2 + i - 16) / 16) - 8);
}
double q4_1(const Block& b, int i) {
  return b.half(0) * (i < 16 ? b.byte(4 + i) % 16 : b.byte(4 + i - 16) / 16) + b.half(2);
}
double q8_0(const Block& b, int i) {
  return b.half(0) * b.signed_byte(2 + i);
}
double q6_k(const Block& b, int i) {
  const int part = i / 128, j = i % 128;
  const int low_byte = b.byte(64 * part + j % 64);
  const int low = j < 64 ? low_byte % 16 : low_byte / 16;
  const int high = b.byte(128 + 32 * part + j % 32) >> (j / 32 * 2) & 3;
  return b.half(208) * b.signed_byte(192 + i / 16) * (low + 16 * high - 32);
}

struct Format {
  const char* name;
  uint32_t number;
  int values;
  size_t bytes;
  std::vector<size_t> halves;  // where the scales lie
  double (*value)(const Block&, int);
};

class GgufFormat : public testing::TestWithParam<Format> {};

TEST_P(GgufFormat, MatchesItsDefinition) {
  const Format& format = GetParam();
  const int blocks_per_row = 3, rows = 4;
  std::mt19937 generator(11);
  std::string data;
  std::vector<Block> blocks;
  for (int i = 0; i < blocks_per_row * rows; ++i) {
    std::string block(format.bytes, '\0');
    for (char& c : block) c = static_cast<char>(generator());
    // Scales of either sign, normal and subnormal, never inf or NaN.
    for (const size_t at : format.halves) block[at + 1] = static_cast<char>(block[at + 1] & 0xBB);
    blocks.emplace_back(block);
    data += block;
  }
  GgufBuilder b;
  b.tensor("t", format.number, {rows, blocks_per_row * format.values}, data);
  const TempFolder folder;
  const Gguf file = open(folder, b.build());
  const StoredTensor& tensor = *file.find_tensor("t");
  EXPECT_STREQ(storage_name(tensor.type), format.name);
  EXPECT_EQ(tensor.bytes, data.size());
  const std::vector<float> values = read_floats(tensor);
  ASSERT_EQ(values.size(), blocks.size() * static_cast<size_t>(format.values));
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected =
        format.value(blocks[i / format.values], static_cast<int>(i % format.values));
    // Two roundings to float at most; the sum in q4_1 may cancel, hence the absolute part.
    ASSERT_NEAR(values[i], expected, 1.3e-7 * std::fabs(expected) + 1e-6 * (format.number == 3))
        << "value " << i;
  }
  // Rows from the middle, and the other types they can be read as.
  std::vector<float> middle(2 * values.size() / rows);
  read_rows(tensor, 1, 2, DType::kF32, middle.data());
  EXPECT_TRUE(std::equal(middle.begin(), middle.end(),
                         values.begin() + static_cast<int64_t>(values.size()) / rows));
  std::vector<uint16_t> narrow(values.size()), expected_narrow(values.size());
  read_rows(tensor, 0, rows, DType::kBF16, narrow.data());
  kernels().to_bf16(values.data(), static_cast<int64_t>(values.size()), expected_narrow.data());
  EXPECT_EQ(narrow, expected_narrow);
}

INSTANTIATE_TEST_SUITE_P(All, GgufFormat,
                         testing::Values(Format{"Q4_0", 2, 32, 18, {0}, q4_0},
                                         Format{"Q4_1", 3, 32, 20, {0, 2}, q4_1},
                                         Format{"Q8_0", 8, 32, 34, {0}, q8_0},
                                         Format{"Q6_K", 14, 256, 210, {208}, q6_k}),
                         [](const auto& test) { return std::string(test.param.name); });

// The same bits as the package `gguf` gives (tools/make_gguf_golden.py).
TEST(Gguf, EveryBlockFormatEqualsThePackagesValues) {
  const Gguf file(source_dir() / "tests/data/gguf_formats.gguf");
  size_t compared = 0;
  for (const StoredTensor& tensor : file.tensors()) {
    const StoredTensor* expected = file.find_tensor(tensor.name + ".f32");
    if (expected == nullptr) continue;
    SCOPED_TRACE(tensor.name);
    EXPECT_EQ(storage_name(tensor.type), tensor.name);
    EXPECT_EQ(tensor.shape, expected->shape);
    const std::vector<float> ours = read_floats(tensor), theirs = read_floats(*expected);
    for (size_t i = 0; i < ours.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(ours[i]), std::bit_cast<uint32_t>(theirs[i]))
          << "value " << i << ": " << ours[i] << " instead of " << theirs[i];
    }
    ++compared;
  }
  EXPECT_EQ(compared, 15u);
}

TEST(Gguf, CodesGiveTheValuesOfTheirFormat) {
  const Gguf file(source_dir() / "tests/data/gguf_formats.gguf");
  std::vector<std::string> compared;
  for (const StoredTensor& tensor : file.tensors()) {
    if (code_bits(tensor.type) == 0) continue;
    SCOPED_TRACE(tensor.name);
    const size_t length = static_cast<size_t>(tensor.row_length()), groups = length / kInt8Group;
    std::vector<float> values(length), expected(length), scales(groups), minimums(groups);
    std::vector<uint16_t> halves(groups);
    std::vector<int8_t> signed_codes(length);
    std::vector<uint8_t> codes(length);
    for (int64_t row = 0; row < tensor.rows(); ++row) {
      if (code_bits(tensor.type) == 8) {
        read_codes(tensor, row, halves.data(), signed_codes.data());
        for (size_t i = 0; i < length; ++i)
          values[i] = signed_codes[i] * f16_to_float(halves[i / kInt8Group]);
      } else {
        read_codes(tensor, row, scales.data(), minimums.data(), codes.data());
        for (size_t i = 0; i < length; ++i) {
          ASSERT_LT(codes[i], 16);
          values[i] = codes[i] * scales[i / kInt8Group] + minimums[i / kInt8Group];
        }
      }
      read_rows(tensor, row, 1, DType::kF32, expected.data());
      EXPECT_EQ(values, expected) << "row " << row;
    }
    compared.push_back(tensor.name);
  }
  std::sort(compared.begin(), compared.end());
  EXPECT_EQ(compared, (std::vector<std::string>{"Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q8_0"}));
}

TEST(Gguf, ReadsHalfBfloatAndDoubleTensors) {
  const std::vector<uint16_t> half = {0x3c00, 0xc000}, brain = {0x3f80, 0xc000};
  GgufBuilder b;
  b.tensor("h", 1, {2}, bytes_of(half[0]) + bytes_of(half[1]));
  b.tensor("b", 30, {2}, bytes_of(brain[0]) + bytes_of(brain[1]));
  b.tensor("d", 28, {2}, bytes_of(0.1) + bytes_of(-2.0));
  const TempFolder folder;
  const Gguf file = open(folder, b.build());
  EXPECT_EQ(read_floats(*file.find_tensor("h")), (std::vector<float>{1, -2}));
  EXPECT_EQ(read_floats(*file.find_tensor("b")), (std::vector<float>{1, -2}));
  EXPECT_EQ(read_floats(*file.find_tensor("d")), (std::vector<float>{0.1f, -2}));
}

}  // namespace
}  // namespace kv
