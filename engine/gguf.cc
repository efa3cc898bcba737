#include "engine/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "engine/error.h"

namespace kv {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr size_t kDefaultAlignment = 32;
constexpr size_t kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxDimensions = 4;
constexpr int kMaxArrayDepth = 4;

// Types of metadata values.
enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kNumValueTypes
};

// Fewest bytes that a value takes: bounds how many can follow, before memory is taken for them.
size_t least_bytes(uint32_t type) {
  static const size_t kBytes[kNumValueTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return kBytes[type];
}

// Reads the file front to back; every read is checked against the end.
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : file_(file), name_(file.path().string()) {}

  template <typename T>
  T read(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }

  std::string read_string(const std::string& what) {
    const auto length = read<uint64_t>(what + ": length");
    if (length > rest()) {
      throw_data(
          "{}: {}: a string of {} bytes at byte {}, but only {} bytes follow; the file is "
          "truncated "
          "or malformed",
          name_, what, length, at_, rest());
    }
    const std::byte* bytes = take(static_cast<size_t>(length), what);
    return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)};
  }

  GgufValue read_value(uint32_t type, const std::string& what, int depth = 0) {
    switch (type) {
      case kU8:
        return {static_cast<int64_t>(read<uint8_t>(what))};
      case kI8:
        return {static_cast<int64_t>(read<int8_t>(what))};
      case kU16:
        return {static_cast<int64_t>(read<uint16_t>(what))};
      case kI16:
        return {static_cast<int64_t>(read<int16_t>(what))};
      case kU32:
        return {static_cast<int64_t>(read<uint32_t>(what))};
      case kI32:
        return {static_cast<int64_t>(read<int32_t>(what))};
      case kI64:
        return {read<int64_t>(what)};
      case kF32:
        return {static_cast<double>(read<float>(what))};
      case kF64:
        return {read<double>(what)};
      case kBool:
        return {read_bool(what)};
      case kString:
        return {read_string(what)};
      case kU64:
        return {read_u64(what)};
      case kArray:
        return {read_array(what, depth)};
      default:
        throw_data("{}: {}: unknown value type {} before byte {}", name_, what, type, at_);
    }
  }

  // How many items follow, each of at least item_bytes.
  size_t read_count(const std::string& what, size_t item_bytes) {
    const auto count = read<uint64_t>(what);
    if (count > rest() / item_bytes) {
      throw_data(
          "{}: {}: {} announced at byte {}, but only {} bytes follow; the file is truncated or "
          "malformed",
          name_, what, count, at_ - sizeof(uint64_t), rest());
    }
    return static_cast<size_t>(count);
  }

  size_t at() const { return at_; }
  const std::string& name() const { return name_; }

 private:
  size_t rest() const { return file_.size() - at_; }

  const std::byte* take(size_t n, const std::string& what) {
    if (n > rest()) {
      throw_data("{}: {}: expected {} bytes at byte {}, found {}; the file is truncated", name_,
                 what, n, at_, rest());
    }
    const std::byte* bytes = file_.data() + at_;
    at_ += n;
    return bytes;
  }

  bool read_bool(const std::string& what) {
    const auto byte = read<uint8_t>(what);
    if (byte > 1) throw_data("{}: {}: expected a bool (0 or 1), found {}", name_, what, byte);
    return byte == 1;
  }

  int64_t read_u64(const std::string& what) {
    const auto value = read<uint64_t>(what);
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      throw_data("{}: {}: {} is beyond the integers this program handles", name_, what, value);
    }
    return static_cast<int64_t>(value);
  }

  GgufValue::Array read_array(const std::string& what, int depth) {
    if (depth >= kMaxArrayDepth) {
      throw_data("{}: {}: arrays nested more than {} deep", name_, what, kMaxArrayDepth);
    }
    const auto type = read<uint32_t>(what + ": element type");
    if (type >= kNumValueTypes) throw_data("{}: {}: unknown element type {}", name_, what, type);
    const size_t count = read_count(what + ": elements", least_bytes(type));
    GgufValue::Array items;
    items.reserve(count);
    for (size_t i = 0; i < count; ++i) items.push_back(read_value(type, what, depth + 1));
    return items;
  }

  const MappedFile& file_;
  std::string name_;
  size_t at_ = 0;
};

StorageType storage_of(uint32_t number, const std::string& place) {
  if (const auto type = storage_of_gguf(number)) return *type;
  // By the numbers of the format; gaps are types that were withdrawn.
  static const std::map<uint32_t, const char*> kOthers = {
      {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
      {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {24, "I8"},     {25, "I16"},
      {26, "I32"},   {27, "I64"},   {29, "IQ1_M"},   {40, "NVFP4"}};
  const auto known = kOthers.find(number);
  throw_data("{}: type {} is not supported; expected one of {}", place,
             known == kOthers.end() ? std::to_string(number) : known->second, storage_names());
}

// Bytes that the tensor takes; whole blocks in every row.
size_t bytes_of(const StoredTensor& tensor, const std::string& place) {
  size_t elements = 1;
  for (const int64_t extent : tensor.shape) {
    if (extent < 1) {
      throw_data("{}: dimensions {}: expected positive extents", place, shape_text(tensor.shape));
    }
    if (__builtin_mul_overflow(elements, static_cast<size_t>(extent), &elements)) {
      throw_data("{}: dimensions {} are too large to count", place, shape_text(tensor.shape));
    }
  }
  const auto block = static_cast<size_t>(block_values(tensor.type));
  if (static_cast<size_t>(tensor.shape.back()) % block != 0) {
    throw_data("{}: rows of {} values are no multiple of the {} values in a block of {}", place,
               tensor.shape.back(), block, storage_name(tensor.type));
  }
  size_t bytes = 0;
  if (__builtin_mul_overflow(elements / block, block_bytes(tensor.type), &bytes)) {
    throw_data("{}: dimensions {} are too large to count", place, shape_text(tensor.shape));
  }
  return bytes;
}

// A tensor as the list gives it: all but where its bytes are. *offset: from the start of the data
// part.
StoredTensor read_tensor_info(Cursor& cursor, size_t index, uint64_t* offset) {
  StoredTensor tensor;
  tensor.file = cursor.name();
  const std::string entry = fmt::format("tensor entry {}", index);
  tensor.name = tensor.stored_name = cursor.read_string(entry + ": name");
  const std::string what = fmt::format("tensor '{}'", tensor.name);
  const std::string place = fmt::format("{}: {}", cursor.name(), what);
  const auto n_dimensions = cursor.read<uint32_t>(what + ": number of dimensions");
  if (n_dimensions < 1 || n_dimensions > kMaxDimensions) {
    throw_data("{}: expected 1 to {} dimensions, found {}", place, kMaxDimensions, n_dimensions);
  }
  for (uint32_t i = 0; i < n_dimensions; ++i) {
    const auto extent = cursor.read<uint64_t>(what + ": dimensions");
    tensor.shape.push_back(static_cast<int64_t>(std::min<uint64_t>(extent, INT64_MAX)));
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  tensor.type = storage_of(cursor.read<uint32_t>(what + ": type"), place);
  tensor.bytes = bytes_of(tensor, place);
  *offset = cursor.read<uint64_t>(what + ": offset");
  return tensor;
}

void check_start(Cursor& cursor) {
  const auto magic = cursor.read<uint32_t>("magic number");
  if (magic != kMagic) {
    throw_data("{}: not a GGUF file: expected it to begin with 'GGUF', found {:#010x}",
               cursor.name(), magic);
  }
  const auto version = cursor.read<uint32_t>("version");
  if (version == 2 || version == 3) return;
  const bool swapped = version == 0x02000000 || version == 0x03000000;
  throw_data("{}: {}", cursor.name(),
             swapped ? std::string("a big-endian GGUF file; only little-endian ones can be read")
                     : fmt::format("GGUF version {} is not supported; expected 2 or 3", version));
}

size_t alignment_of(const Gguf& gguf) {
  const int64_t alignment =
      gguf.integer_or("general.alignment", static_cast<int64_t>(kDefaultAlignment));
  if (alignment < 1 || alignment > static_cast<int64_t>(kMaxAlignment) ||
      (alignment & (alignment - 1)) != 0) {
    throw_data("{}: general.alignment: expected a power of two up to {}, found {}", gguf.place(),
               kMaxAlignment, alignment);
  }
  return static_cast<size_t>(alignment);
}

void check_overlaps(std::vector<const StoredTensor*> tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const StoredTensor* a, const StoredTensor* b) { return a->data < b->data; });
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i]->data < tensors[i - 1]->data + tensors[i - 1]->bytes) {
      throw_data("{}: tensors '{}' and '{}' overlap", tensors[i]->file, tensors[i - 1]->name,
                 tensors[i]->name);
    }
  }
}

template <typename T>
const T& as(const GgufValue& value, const Gguf& gguf, const std::string& key,
            const char* expected) {
  const T* held = std::get_if<T>(&value.value);
  if (held == nullptr) {
    throw_data("{}: {}: expected {}, found {}", gguf.place(), key, expected, value.describe());
  }
  return *held;
}

}  // namespace

std::string GgufValue::describe() const {
  if (const auto* n = std::get_if<int64_t>(&value)) return fmt::format("the number {}", *n);
  if (const auto* x = std::get_if<double>(&value)) return fmt::format("the number {}", *x);
  if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const auto* s = std::get_if<std::string>(&value)) return fmt::format("the string '{}'", *s);
  return "an array";
}

Gguf::Gguf(const std::filesystem::path& path) : place_(path.string()), file_(path) {
  Cursor cursor(file_);
  check_start(cursor);
  // The fewest bytes of a tensor entry: name length, dimensions (one), type, offset; of a key:
  // length, type, value.
  const size_t n_tensors = cursor.read_count("number of tensors", 8 + 4 + 8 + 4 + 8);
  const size_t n_keys = cursor.read_count("number of metadata keys", 8 + 4 + 1);
  for (size_t i = 0; i < n_keys; ++i) {
    const std::string key = cursor.read_string(fmt::format("metadata key {}", i));
    const auto type = cursor.read<uint32_t>(key + ": type");
    if (!metadata_.emplace(key, cursor.read_value(type, key)).second) {
      throw_data("{}: the metadata key '{}' occurs twice", place_, key);
    }
  }
  std::vector<uint64_t> offsets(n_tensors);
  std::set<std::string> names;
  for (size_t i = 0; i < n_tensors; ++i) {
    tensors_.push_back(read_tensor_info(cursor, i, &offsets[i]));
    if (!names.insert(tensors_[i].name).second) {
      throw_data("{}: the tensor '{}' occurs twice", place_, tensors_[i].name);
    }
  }
  const size_t alignment = alignment_of(*this);
  const size_t data_start = (cursor.at() + alignment - 1) / alignment * alignment;
  const size_t data_bytes = data_start > file_.size() ? 0 : file_.size() - data_start;
  std::vector<const StoredTensor*> pointers;
  for (size_t i = 0; i < n_tensors; ++i) {
    StoredTensor& tensor = tensors_[i];
    if (offsets[i] % alignment != 0) {
      throw_data("{}: tensor '{}': offset {} is no multiple of the alignment {}", place_,
                 tensor.name, offsets[i], alignment);
    }
    if (offsets[i] > data_bytes || tensor.bytes > data_bytes - offsets[i]) {
      throw_data(
          "{}: tensor '{}': expected {} bytes at byte {} of the data, found {} bytes of data; the "
          "file is truncated or malformed",
          place_, tensor.name, tensor.bytes, offsets[i], data_bytes);
    }
    tensor.data = file_.data() + data_start + offsets[i];
    pointers.push_back(&tensor);
  }
  check_overlaps(std::move(pointers));
}

const StoredTensor* Gguf::find_tensor(const std::string& name) const {
  for (const StoredTensor& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

const GgufValue& Gguf::required(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) throw_data("{}: the metadata key '{}' is missing", place_, key);
  return found->second;
}

int64_t Gguf::integer(const std::string& key) const {
  return as<int64_t>(required(key), *this, key, "an integer");
}

double Gguf::number(const std::string& key) const {
  const GgufValue& value = required(key);
  if (const auto* n = std::get_if<int64_t>(&value.value)) return static_cast<double>(*n);
  return as<double>(value, *this, key, "a number");
}

std::string Gguf::string(const std::string& key) const {
  return as<std::string>(required(key), *this, key, "a string");
}

int64_t Gguf::integer_or(const std::string& key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

double Gguf::number_or(const std::string& key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool Gguf::boolean_or(const std::string& key, bool fallback) const {
  return has(key) ? as<bool>(required(key), *this, key, "a bool") : fallback;
}

std::string Gguf::string_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? string(key) : fallback;
}

template <typename T>
std::vector<T> Gguf::list_or_empty(const std::string& key, const char* expected) const {
  std::vector<T> result;
  if (!has(key)) return result;
  const auto& array = as<GgufValue::Array>(required(key), *this, key, expected);
  result.reserve(array.size());
  for (const GgufValue& item : array) result.push_back(as<T>(item, *this, key, expected));
  return result;
}

std::vector<std::string> Gguf::strings_or_empty(const std::string& key) const {
  return list_or_empty<std::string>(key, "an array of strings");
}

std::vector<int64_t> Gguf::integers_or_empty(const std::string& key) const {
  return list_or_empty<int64_t>(key, "an array of integers");
}

std::vector<double> Gguf::numbers_or_empty(const std::string& key) const {
  return list_or_empty<double>(key, "an array of floats");
}

}  // namespace kv
