#include "engine/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/mapped_file.h"
#include "engine/stored_tensor.h"

namespace kv {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;               // the header's length, little-endian
constexpr size_t kMaxHeaderBytes = 100'000'000;  // as the format says

// Where a tensor lies in the data part.
struct Range {
  size_t begin = 0, end = 0;
  std::string name;
};

// A number that must be an integer in [0, 2^63).
int64_t read_count(const json& value, const std::string& place) {
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return static_cast<int64_t>(value.get<uint64_t>());
  }
  throw_data("{}: expected a non-negative integer, found {}", place, describe_json(value));
}

std::vector<int64_t> read_shape(const json& value, const std::string& place) {
  if (!value.is_array()) {
    throw_data("{}: shape: expected a list of integers, found {}", place, describe_json(value));
  }
  std::vector<int64_t> shape;
  for (const json& extent : value) shape.push_back(read_count(extent, place + ": shape"));
  return shape;
}

size_t bytes_of(const std::vector<int64_t>& shape, size_t element_bytes, const std::string& place) {
  // A zero anywhere makes the tensor empty, whatever the other extents multiply to.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  size_t bytes = element_bytes;
  for (const int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(extent), &bytes)) {
      throw_data("{}: shape {} is too large to count its bytes", place, shape_text(shape));
    }
  }
  return bytes;
}

const json& member(const json& object, const char* key, const std::string& place) {
  const auto found = object.find(key);
  if (found == object.end()) throw_data("{}: the key '{}' is missing", place, key);
  return *found;
}

// One entry of the header; data: start of the data part, data_bytes: its length.
SafetensorsEntry read_entry(const json& value, const std::byte* data, size_t data_bytes,
                            const std::string& place, Range* range) {
  if (!value.is_object()) {
    throw_data("{}: expected an object, found {}", place, describe_json(value));
  }
  SafetensorsEntry entry;
  const json& dtype = member(value, "dtype", place);
  if (!dtype.is_string()) {
    throw_data("{}: dtype: expected a string, found {}", place, describe_json(dtype));
  }
  entry.dtype = dtype.get<std::string>();
  const size_t element_bytes = safetensors_dtype_bytes(entry.dtype);
  if (element_bytes == 0) throw_data("{}: unknown dtype '{}'", place, entry.dtype);
  entry.shape = read_shape(member(value, "shape", place), place);
  const json& offsets = member(value, "data_offsets", place);
  if (!offsets.is_array() || offsets.size() != 2) {
    throw_data("{}: data_offsets: expected [begin, end], found {}", place, describe_json(offsets));
  }
  range->begin = static_cast<size_t>(read_count(offsets[0], place + ": data_offsets"));
  range->end = static_cast<size_t>(read_count(offsets[1], place + ": data_offsets"));
  if (range->begin > range->end) {
    throw_data("{}: data_offsets [{}, {}] end before they begin", place, range->begin, range->end);
  }
  if (range->end > data_bytes) {
    throw_data(
        "{}: data_offsets [{}, {}] reach beyond the file: expected at least {} bytes of data, "
        "found {}; the file is truncated or malformed",
        place, range->begin, range->end, range->end, data_bytes);
  }
  entry.bytes = bytes_of(entry.shape, element_bytes, place);
  if (entry.bytes != range->end - range->begin) {
    throw_data("{}: shape {} of {} takes {} bytes, but data_offsets [{}, {}] hold {}", place,
               shape_text(entry.shape), entry.dtype, entry.bytes, range->begin, range->end,
               range->end - range->begin);
  }
  entry.data = data + range->begin;
  return entry;
}

// Tensors must follow each other without gap or overlap and fill the data part.
void check_coverage(std::vector<Range> ranges, size_t data_bytes, const std::string& file) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  size_t expected = 0;
  const std::string* previous = nullptr;
  for (const Range& range : ranges) {
    if (range.begin < expected) {
      throw_data(
          "{}: tensors '{}' and '{}' overlap: the second begins at data byte {}, the first ends "
          "at {}",
          file, *previous, range.name, range.begin, expected);
    }
    if (range.begin > expected) {
      throw_data(
          "{}: tensor '{}' begins at data byte {}, expected {}: bytes of no tensor lie between",
          file, range.name, range.begin, expected);
    }
    expected = range.end;
    previous = &range.name;
  }
  if (expected != data_bytes) {
    throw_data("{}: the tensors take {} bytes, but the file has {} bytes of data", file, expected,
               data_bytes);
  }
}

void read_metadata(const json& value, const std::string& file,
                   std::map<std::string, std::string>* metadata) {
  if (!value.is_object()) {
    throw_data("{}: header: __metadata__: expected an object, found {}", file,
               describe_json(value));
  }
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      throw_data("{}: header: __metadata__: '{}': expected a string, found {}", file, key,
                 describe_json(text));
    }
    (*metadata)[key] = text.get<std::string>();
  }
}

// The header's text; *data_start: where the tensors' bytes begin in the file.
std::string_view read_header(const MappedFile& file, size_t* data_start) {
  const std::string name = file.path().string();
  if (file.size() < kLengthBytes) {
    throw_data("{}: expected at least {} bytes, found {}: not a safetensors file", name,
               kLengthBytes, file.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const size_t rest = file.size() - kLengthBytes;
  if (length > rest || length > kMaxHeaderBytes) {
    throw_data(
        "{}: header length: expected at most {} bytes, found {}; the file is truncated or is no "
        "safetensors file",
        name, std::min(rest, kMaxHeaderBytes), length);
  }
  *data_start = kLengthBytes + static_cast<size_t>(length);
  return {reinterpret_cast<const char*>(file.data()) + kLengthBytes, static_cast<size_t>(length)};
}

// Shards that the index names, and for each tensor the shard that must hold it.
std::map<std::string, std::string> read_index(const std::filesystem::path& index) {
  const json parsed = parse_json_file(index);
  const auto map = parsed.is_object() ? parsed.find("weight_map") : parsed.end();
  if (!parsed.is_object() || map == parsed.end() || !map->is_object()) {
    throw_data("{}: expected an object with an object 'weight_map'", index.string());
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, shard] : map->items()) {
    const std::string place = fmt::format("{}: weight_map: '{}'", index.string(), tensor);
    if (!shard.is_string()) {
      throw_data("{}: expected a file name, found {}", place, describe_json(shard));
    }
    const auto name = shard.get<std::string>();
    // A plain name: an index must not lead out of its folder.
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      throw_data("{}: expected a file name in the same folder, found '{}'", place, name);
    }
    shard_of[tensor] = name;
  }
  if (shard_of.empty()) throw_data("{}: weight_map lists no tensors", index.string());
  return shard_of;
}

template <typename T>
std::vector<T> copy_as(const SafetensorsEntry& entry) {
  std::vector<T> values(entry.bytes / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), entry.data, entry.bytes);
  return values;
}

// Pickled weights can run code when they are read, so they are not read here.
[[noreturn]] void throw_no_weights(const std::filesystem::path& folder) {
  for (const char* pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (!std::filesystem::exists(folder / pickled)) continue;
    throw_data(
        "{0}: expected model.safetensors or model.safetensors.index.json, found {1}, whose format "
        "is "
        "not read; convert it with\n  python -c \"from transformers import AutoModelForCausalLM as "
        "M; "
        "M.from_pretrained('{0}', dtype='auto').save_pretrained('{0}')\"",
        folder.string(), pickled);
  }
  throw_data("{}: no weights: expected model.safetensors or model.safetensors.index.json",
             folder.string());
}

[[noreturn]] void wrong_dtype(const SafetensorsEntry& entry, const std::string& name,
                              const char* expected) {
  throw_data("{}: tensor '{}': expected dtype {}, found {}", entry.file, name, expected,
             entry.dtype);
}

}  // namespace

size_t safetensors_dtype_bytes(const std::string& dtype) {
  static const std::map<std::string, size_t> kBytes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},   {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2},
      {"U16", 2},  {"F16", 2}, {"BF16", 2}, {"I32", 4},     {"U32", 4},     {"F32", 4},
      {"I64", 8},  {"U64", 8}, {"F64", 8},  {"C64", 8}};
  const auto found = kBytes.find(dtype);
  return found == kBytes.end() ? 0 : found->second;
}

Safetensors Safetensors::open_file(const std::filesystem::path& file) {
  Safetensors result;
  result.place_ = file.string();
  result.add_file(file);
  return result;
}

Safetensors Safetensors::open_folder(const std::filesystem::path& folder) {
  const auto single = folder / "model.safetensors";
  const auto index = folder / "model.safetensors.index.json";
  if (std::filesystem::exists(single)) return open_file(single);
  if (!std::filesystem::exists(index)) throw_no_weights(folder);
  const std::map<std::string, std::string> shard_of = read_index(index);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  Safetensors result;
  result.place_ = folder.string();
  for (const std::string& shard : shards) result.add_file(folder / shard);
  for (const auto& [tensor, shard] : shard_of) {
    const SafetensorsEntry* entry = result.find(tensor);
    const std::string expected = (folder / shard).string();
    if (entry == nullptr || entry->file != expected) {
      throw_data("{}: weight_map: tensor '{}' is not in {}{}", index.string(), tensor, expected,
                 entry == nullptr ? "" : " but in " + entry->file);
    }
  }
  for (const auto& [tensor, entry] : result.entries_) {
    if (shard_of.count(tensor) == 0) {
      throw_data("{}: tensor '{}' is not listed in {}", entry.file, tensor, index.string());
    }
  }
  return result;
}

void Safetensors::add_file(const std::filesystem::path& path) {
  auto file = std::make_shared<const MappedFile>(path);
  const std::string name = path.string();
  size_t data_start = 0;
  const std::string_view text = read_header(*file, &data_start);
  const json header = parse_json(text, name + ": header");
  if (!header.is_object()) {
    throw_data("{}: header: expected a JSON object, found {}", name, describe_json(header));
  }
  const size_t data_bytes = file->size() - data_start;
  std::vector<Range> ranges;
  for (const auto& [tensor, value] : header.items()) {
    if (tensor == "__metadata__") {
      read_metadata(value, name, &metadata_);
      continue;
    }
    Range range;
    range.name = tensor;
    SafetensorsEntry entry = read_entry(value, file->data() + data_start, data_bytes,
                                        fmt::format("{}: tensor '{}'", name, tensor), &range);
    entry.file = name;
    ranges.push_back(range);
    const auto [place, is_new] = entries_.emplace(tensor, std::move(entry));
    if (!is_new) {
      throw_data("tensor '{}' is both in {} and in {}", tensor, place->second.file, name);
    }
  }
  check_coverage(std::move(ranges), data_bytes, name);
  files_.push_back(std::move(file));
}

const SafetensorsEntry* Safetensors::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

const SafetensorsEntry& Safetensors::get(const std::string& name) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr) {
    throw_data("{}: the tensor '{}' is missing ({} others are there)", place_, name,
               entries_.size());
  }
  return *entry;
}

const SafetensorsEntry& Safetensors::get(const std::string& name,
                                         const std::vector<int64_t>& shape) const {
  const SafetensorsEntry& entry = get(name);
  bool same = entry.shape.size() == shape.size();
  for (size_t i = 0; same && i < shape.size(); ++i) {
    same = shape[i] == -1 || shape[i] == entry.shape[i];
  }
  if (!same) {
    throw_data("{}: tensor '{}': expected shape {}, found {}", entry.file, name, shape_text(shape),
               shape_text(entry.shape));
  }
  return entry;
}

std::vector<float> Safetensors::floats(const std::string& name) const {
  const SafetensorsEntry& entry = get(name);
  if (entry.dtype == "F32") return copy_as<float>(entry);
  if (entry.dtype != "F16" && entry.dtype != "BF16") wrong_dtype(entry, name, "F32, F16 or BF16");
  const auto half = copy_as<uint16_t>(entry);
  std::vector<float> values(half.size());
  (entry.dtype == "F16" ? kernels().from_f16 : kernels().from_bf16)(
      half.data(), static_cast<int64_t>(half.size()), values.data());
  return values;
}

std::vector<int32_t> Safetensors::int32s(const std::string& name) const {
  const SafetensorsEntry& entry = get(name);
  if (entry.dtype != "I32") wrong_dtype(entry, name, "I32");
  return copy_as<int32_t>(entry);
}

std::vector<int64_t> Safetensors::int64s(const std::string& name) const {
  const SafetensorsEntry& entry = get(name);
  if (entry.dtype == "I64") return copy_as<int64_t>(entry);
  if (entry.dtype != "I32") wrong_dtype(entry, name, "I64 or I32");
  const auto narrow = copy_as<int32_t>(entry);
  return {narrow.begin(), narrow.end()};
}

std::vector<uint8_t> Safetensors::bytes(const std::string& name) const {
  const SafetensorsEntry& entry = get(name);
  if (entry.dtype != "U8" && entry.dtype != "BOOL") wrong_dtype(entry, name, "U8 or BOOL");
  return copy_as<uint8_t>(entry);
}

}  // namespace kv
