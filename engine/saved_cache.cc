#include "engine/saved_cache.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "engine/compression.h"
#include "engine/error.h"
#include "engine/kv_budget.h"
#include "engine/safetensors_writer.h"

namespace kv {
namespace {

constexpr const char* kFormat = "kvengine cache";
constexpr const char* kVersion = "4";

// Order of the numbers of head.L.H. listed, originals, dropped, channels: the number of a list, -1:
// none.
enum HeadField {
  kRows,
  kRunOffset,
  kShift,
  kMaskedRows,
  kCodedKeys,
  kCodedValues,
  kListed,
  kOriginals,
  kDropped,
  kPlainFirst,
  kChannels,
  kHeadFields
};

std::string head_name(const char* what, int layer, int kv_head) {
  return fmt::format("{}.{}.{}", what, layer, kv_head);
}

// Lists that several heads may point at get a number each.
template <typename T>
class Numbered {
 public:
  int of(const std::shared_ptr<const std::vector<T>>& list) {
    if (!list) return -1;
    const auto [known, is_new] = numbers_.emplace(list.get(), static_cast<int>(lists_.size()));
    if (is_new) lists_.push_back(list.get());
    return known->second;
  }
  void write(const char* name, SafetensorsWriter& out) const {
    for (size_t i = 0; i < lists_.size(); ++i) {
      out.add(fmt::format("{}.{}", name, i), {static_cast<int64_t>(lists_[i]->size())},
              std::span<const T>(*lists_[i]));
    }
  }

 private:
  std::map<const void*, int> numbers_;
  std::vector<const std::vector<T>*> lists_;
};

void write_pages(const std::string& name, std::span<const PageRef> pages, SafetensorsWriter& out) {
  std::vector<uint8_t> bytes;
  for (const PageRef& page : pages) {
    KV_CHECK(page);
    const auto* from = reinterpret_cast<const uint8_t*>(page.keys());  // the values follow
    bytes.insert(bytes.end(), from, from + page.bytes());
  }
  const auto n = static_cast<int64_t>(pages.size());
  const int64_t page_bytes = n == 0 ? 0 : static_cast<int64_t>(bytes.size()) / n;
  out.add(name, {n, page_bytes}, std::span<const uint8_t>(bytes));
}

// The lists that heads of one file share.
struct SharedLists {
  Numbered<int32_t> positions, channels;
  Numbered<uint8_t> dropped;

  void write(SafetensorsWriter& out) const {
    positions.write("list", out);
    channels.write("channels", out);
    dropped.write("dropped", out);
  }
};

void write_head(const KvCache& cache, int layer, int h, SharedLists& lists,
                SafetensorsWriter& out) {
  const KvCache::Head& head = cache.head(layer, h);
  const auto first_plain =
      std::find_if(head.plain.begin(), head.plain.end(), [](const PageRef& p) { return bool(p); });
  std::vector<int32_t> fields(kHeadFields);
  fields[kRows] = head.n_rows;
  fields[kRunOffset] = head.run_offset;
  fields[kShift] = head.shift;
  fields[kMaskedRows] = head.masked_rows;
  fields[kCodedKeys] = head.coded.keys;
  fields[kCodedValues] = head.coded.values;
  fields[kListed] = lists.positions.of(head.listed);
  fields[kOriginals] = lists.positions.of(head.originals);
  fields[kDropped] = lists.dropped.of(head.dropped_channels);
  fields[kPlainFirst] = static_cast<int32_t>(first_plain - head.plain.begin());
  fields[kChannels] = lists.channels.of(head.key_channels);
  out.add(head_name("head", layer, h), {kHeadFields}, std::span<const int32_t>(fields));
  // Tiles that left a layer with a window are not there; how many follows from its length.
  const size_t gone = static_cast<size_t>(head.first_row / kTile);
  const auto held = std::span(head.pages).subspan(std::min(gone, head.pages.size()));
  write_pages(head_name("pages", layer, h), held, out);
  if (cache.codec().keeps_residual() || head.key_channels)
    write_pages(head_name("plain", layer, h), {first_plain, head.plain.end()}, out);
}

// Scales and offsets of a codec whose groups reach over a layer.
void write_groups(const std::string& name, const LayerGroups& groups, SafetensorsWriter& out) {
  std::vector<float> numbers = groups.scales;
  numbers.insert(numbers.end(), groups.offsets.begin(), groups.offsets.end());
  out.add(name, {2, static_cast<int64_t>(groups.scales.size())}, std::span<const float>(numbers));
}

void write_step(const KvCache& cache, SafetensorsWriter& out) {
  const StepMemory memory = cache.step()->memory();
  out.add("step.sizes", {static_cast<int64_t>(memory.sizes.size())},
          std::span<const int32_t>(memory.sizes));
  for (int layer = 0, i = 0; layer < cache.n_layers(); ++layer) {
    for (int h = 0; h < cache.n_kv_heads(); ++h, ++i) {
      const StepMemory::Part& part = memory.parts[i];
      const auto add = [&](const char* what, const auto& numbers) {
        using Number = typename std::decay_t<decltype(numbers)>::value_type;
        out.add(head_name(what, layer, h), {static_cast<int64_t>(numbers.size())},
                std::span<const Number>(numbers));
      };
      add("step.numbers", part.numbers);
      add("step.floats", part.floats);
      write_pages(head_name("pages", layer, h), part.pages, out);
    }
  }
}

// n pages (-1: as many as there are) of these sizes, as write_pages left them.
void append_pages(const Safetensors& tensors, const std::string& name, size_t key_bytes,
                  size_t value_bytes, int64_t n, std::vector<PageRef>& pages) {
  const auto page_bytes = static_cast<int64_t>(key_bytes + value_bytes);
  if (n < 0) n = static_cast<int64_t>(tensors.get(name, {-1, -1}).bytes) / page_bytes;
  const std::byte* from = tensors.get(name, {n, n == 0 ? 0 : page_bytes}).data;
  for (int64_t p = 0; p < n; ++p, from += page_bytes) {
    pages.push_back(PageRef::allocate(key_bytes, value_bytes));
    std::memcpy(pages.back().writable_keys(), from, key_bytes);
    std::memcpy(pages.back().writable_values(), from + key_bytes, value_bytes);
  }
}

StepMemory read_step(const Safetensors& tensors, const KvCache& cache) {
  StepMemory memory{tensors.int32s("step.sizes"), {}};
  for (int layer = 0; layer < cache.n_layers(); ++layer) {
    for (int h = 0; h < cache.n_kv_heads(); ++h) {
      StepMemory::Part& part = memory.parts.emplace_back();
      part.numbers = tensors.int32s(head_name("step.numbers", layer, h));
      part.floats = tensors.floats(head_name("step.floats", layer, h));
      append_pages(tensors, head_name("pages", layer, h),
                   cache.codec().key_tile_bytes(cache.head_dim()),
                   cache.codec().value_tile_bytes(cache.head_dim()), -1, part.pages);
    }
  }
  return memory;
}

// Reads the heads of one file, checking every number before it is used.
class HeadReader {
 public:
  HeadReader(const std::string& file, const Safetensors& tensors, const CompressionPlan& plan,
             const CodecPtr& kv_dtype, KvCache& cache, int rotary_dim, int n_tokens)
      : file_(file),
        tensors_(tensors),
        codec_(cache.codec()),
        residual_(*kv_dtype),
        cache_(cache),
        rotary_dim_(rotary_dim),
        n_tokens_(n_tokens),
        cuts_(plan.decode != nullptr || plan.prefill != nullptr) {}

  void read(int layer, int h) {
    name_ = head_name("head", layer, h);
    const std::vector<int32_t> fields = tensors_.int32s(name_);
    require(fields.size() == kHeadFields, "its length");
    KvCache::Head& head = cache_.head(layer, h);
    head.n_rows = fields[kRows];
    require(head.n_rows >= 1 && head.n_rows <= n_tokens_, "the number of rows");
    head.shift = fields[kShift];
    head.run_offset = fields[kRunOffset];
    require(head.shift <= 0 && head.shift >= -n_tokens_, "the shift of positions");
    require(int64_t{head.n_rows} + head.run_offset == n_tokens_ + head.shift, "the next position");
    head.listed = positions(fields[kListed], head.n_rows);
    head.originals = positions(fields[kOriginals], head.n_rows);
    require(head.originals == nullptr || cuts_, "the list of original positions");
    read_mask(fields, head);
    read_channels(fields[kChannels], head);
    const int window = cache_.window(layer), n_tiles = (head.n_rows + kTile - 1) / kTile;
    if (window > 0) {
      require(head.n_rows == n_tokens_ && head.shift == 0 && !head.listed && !head.originals,
              "the number of rows of a layer with a window");
      head.first_row = std::max(0, head.n_rows - window + 1);
    }
    const int gone = head.first_row / kTile;
    const int key_width =
        head.key_channels ? static_cast<int>(head.key_channels->size()) : cache_.head_dim();
    if (!codec_.keeps_residual() && !head.key_channels) {
      read_pages(head_name("pages", layer, h), codec_, key_width, gone, n_tiles, head.pages);
      return;
    }
    head.coded = {fields[kCodedKeys], fields[kCodedValues]};
    require(may_be_coded(head, cache_.head(layer, 0)), "the number of coded rows");
    const int n_coded = (std::max(head.coded.keys, head.coded.values) + kTile - 1) / kTile;
    read_pages(head_name("pages", layer, h), codec_, key_width, std::min(gone, n_coded), n_coded,
               head.pages);
    const int coded = std::min(head.coded.keys, head.coded.values);
    const int first = coded < head.n_rows ? std::max(gone, coded / kTile) : n_tiles;
    require(fields[kPlainFirst] == first, "the first page of plain rows");
    read_pages(head_name("plain", layer, h), codec_.keeps_residual() ? residual_ : codec_,
               cache_.head_dim(), first, n_tiles, head.plain);
  }

  // The groups of a layer whose heads were read.
  void read_groups(int layer, const LayerCodec& codec) {
    int64_t n_rows = 0;
    for (int h = 0; h < cache_.n_kv_heads(); ++h) {
      cache_.head(layer, h).layer_row = n_rows;
      n_rows += cache_.head(layer, h).coded.keys;
    }
    const int64_t n_groups = codec.n_groups(n_rows, cache_.head_dim());
    const auto read = [&](const char* what) {
      const std::string name = fmt::format("{}.{}", what, layer);
      tensors_.get(name, {2, n_groups});
      const std::vector<float> numbers = tensors_.floats(name);
      auto groups = std::make_shared<LayerGroups>();
      groups->n_rows = n_rows;
      groups->scales.assign(numbers.begin(), numbers.begin() + n_groups);
      groups->offsets.assign(numbers.begin() + n_groups, numbers.end());
      return std::shared_ptr<const LayerGroups>(std::move(groups));
    };
    const auto keys = read("key_groups"), values = read("value_groups");
    for (int h = 0; h < cache_.n_kv_heads(); ++h) {
      cache_.head(layer, h).key_groups = keys;
      cache_.head(layer, h).value_groups = values;
    }
  }

 private:
  void require(bool holds, const char* what) const {
    if (holds) return;
    throw_data(
        "{}: tensor '{}': {} does not fit; the file is damaged or was not written by kvengine",
        file_, name_, what);
  }

  // first: the layer's first head.
  bool may_be_coded(const KvCache::Head& head, const KvCache::Head& first) const {
    const auto [keys, values] = head.coded;
    if (const LayerCodec* layers = codec_.layer_codec(); layers != nullptr) {
      return keys == values && keys >= 1 && keys <= head.n_rows &&
             head.n_rows - keys == first.n_rows - first.coded.keys &&
             !layers->recodes(keys, head.n_rows);
    }
    if (head.key_channels) return keys == values && keys >= 1 && keys <= head.n_rows;
    const CodedRows coded = codec_.coded_rows(head.n_rows);
    return keys == coded.keys && values == coded.values;
  }

  // Rising positions of the first rows; shared where heads share them.
  std::shared_ptr<const std::vector<int32_t>> positions(int32_t number, int n_rows) {
    if (number == -1) return nullptr;
    require(number >= 0, "the number of a position list");
    auto& list = lists_[number];
    if (!list) {
      list = std::make_shared<const std::vector<int32_t>>(
          tensors_.int32s(fmt::format("list.{}", number)));
    }
    require(static_cast<int>(list->size()) <= n_rows, "the length of a position list");
    for (size_t i = 0; i < list->size(); ++i) {
      require((*list)[i] >= 0 && (*list)[i] < n_tokens_, "a position");
      require(i == 0 || (*list)[i] > (*list)[i - 1], "the order of positions");
    }
    return list;
  }

  void read_mask(const std::vector<int32_t>& fields, KvCache::Head& head) {
    head.masked_rows = fields[kMaskedRows];
    require(head.masked_rows >= 0 && head.masked_rows <= head.n_rows, "the number of masked rows");
    const int32_t number = fields[kDropped];
    require((number == -1) == (head.masked_rows == 0), "the mask");
    if (number == -1) return;
    auto& mask = masks_[number];
    if (!mask) {
      mask = std::make_shared<const std::vector<uint8_t>>(
          tensors_.bytes(fmt::format("dropped.{}", number)));
    }
    require(static_cast<int>(mask->size()) == cache_.head_dim(), "the length of a mask");
    head.dropped_channels = mask;
  }

  // The channels that narrow keys have: whole pairs of RoPE and what it leaves alone, rising.
  void read_channels(int32_t number, KvCache::Head& head) {
    if (number == -1) return;
    require(number >= 0 && !codec_.keeps_residual(), "the number of a list of channels");
    auto& list = channels_[number];
    if (!list) {
      list = std::make_shared<const std::vector<int32_t>>(
          tensors_.int32s(fmt::format("channels.{}", number)));
    }
    const int half = rotary_dim_ / 2;
    require(!list->empty(), "the length of a list of channels");
    for (size_t i = 0; i < list->size(); ++i) {
      const int32_t channel = (*list)[i];
      require(channel >= 0 && channel < cache_.head_dim(), "a channel");
      require(i == 0 || channel > (*list)[i - 1], "the order of channels");
      const int32_t partner = channel < half ? channel + half : channel - half;
      require(channel >= 2 * half || std::binary_search(list->begin(), list->end(), partner),
              "a channel without its partner");
    }
    head.key_channels = list;
  }

  // Pages first .. until - 1; those before stay empty.
  void read_pages(const std::string& name, const KvCodec& codec, int key_width, int first,
                  int until, std::vector<PageRef>& pages) {
    pages.resize(first);
    append_pages(tensors_, name, codec.key_tile_bytes(key_width),
                 codec.value_tile_bytes(cache_.head_dim()), until - first, pages);
  }

  const std::string& file_;
  const Safetensors& tensors_;
  const KvCodec& codec_;
  const KvCodec& residual_;
  KvCache& cache_;
  int rotary_dim_, n_tokens_;
  bool cuts_;
  std::string name_;  // of the head at hand
  std::map<int32_t, std::shared_ptr<const std::vector<int32_t>>> lists_, channels_;
  std::map<int32_t, std::shared_ptr<const std::vector<uint8_t>>> masks_;
};

void write_cuts(const CutState& cuts, SafetensorsWriter& out) {
  if (!cuts.active()) return;
  const CutState::Memory memory = cuts.memory();
  const std::vector<int32_t> counts = {memory.n_since, memory.n_recorded};
  out.add("cut.counts", {2}, std::span<const int32_t>(counts));
  out.add("cut.queries", {static_cast<int64_t>(memory.queries.size())},
          std::span<const float>(memory.queries));
  out.add_raw("cut.moments", "F64", {static_cast<int64_t>(memory.moments.size())},
              std::as_bytes(std::span<const double>(memory.moments)));
}

CutState::Memory read_cuts(const Safetensors& tensors) {
  CutState::Memory memory;
  const std::vector<int32_t> counts = tensors.int32s("cut.counts");
  if (counts.size() == 2) {
    memory.n_since = counts[0];
    memory.n_recorded = counts[1];
  }
  memory.queries = tensors.floats("cut.queries");
  const SafetensorsEntry& moments = tensors.get("cut.moments", {-1});
  if (moments.dtype != "F64") {
    throw_data("{}: tensor 'cut.moments': expected dtype F64, found {}", moments.file,
               moments.dtype);
  }
  memory.moments.resize(moments.bytes / sizeof(double));
  if (moments.bytes > 0) std::memcpy(memory.moments.data(), moments.data, moments.bytes);
  return memory;
}

}  // namespace

void save_cache(const std::filesystem::path& file, const KvCache& cache,
                const std::vector<float>& last_logits, const SavedCacheInfo& info) {
  SafetensorsWriter out;
  out.set_metadata({{"format", kFormat},
                    {"version", kVersion},
                    {"model", info.model},
                    {"compressor", info.compressor},
                    {"kv_dtype", info.kv_dtype},
                    {"n_tokens", std::to_string(cache.n_tokens())}});
  out.add("last_logits", {static_cast<int64_t>(last_logits.size())},
          std::span<const float>(last_logits));
  if (cache.step() != nullptr) {
    write_step(cache, out);
    return out.write(file);
  }
  SharedLists lists;
  for (int layer = 0; layer < cache.n_layers(); ++layer) {
    for (int h = 0; h < cache.n_kv_heads(); ++h) write_head(cache, layer, h, lists, out);
    if (cache.codec().layer_codec() == nullptr) continue;
    const KvCache::Head& head = cache.head(layer, 0);
    write_groups(fmt::format("key_groups.{}", layer), *head.key_groups, out);
    write_groups(fmt::format("value_groups.{}", layer), *head.value_groups, out);
  }
  lists.write(out);
  write_cuts(cache.cuts(), out);
  out.write(file);
}

SavedCache::SavedCache(const std::filesystem::path& file)
    : file_(file.string()), tensors_(Safetensors::open_file(file)) {
  const std::map<std::string, std::string>& about = tensors_.metadata();
  const auto value = [&](const char* key) {
    const auto found = about.find(key);
    return found == about.end() ? std::string() : found->second;
  };
  if (value("format") != kFormat) {
    throw_data("{}: is no saved cache; expected a file that `generate --save-cache` wrote", file_);
  }
  if (value("version") != kVersion) {
    throw_data("{}: is a saved cache of format {}, this build reads format {}; save it again",
               file_, value("version"), kVersion);
  }
  const std::string n_tokens = value("n_tokens");
  const bool is_number = !n_tokens.empty() && n_tokens.size() < 10 &&
                         n_tokens.find_first_not_of("0123456789") == std::string::npos;
  if (!is_number || std::stoi(n_tokens) < 1) {
    throw_data("{}: 'n_tokens' of a saved cache must be a whole number >= 1, found '{}'", file_,
               n_tokens);
  }
  info_ = {value("model"), value("compressor"), value("kv_dtype"), std::stoi(n_tokens)};
}

KvCache SavedCache::restore(const ModelConfig& config, const CompressionPlan& plan,
                            const CodecPtr& kv_dtype) const {
  KvCache cache(config, plan.codec ? plan.codec : kv_dtype, kv_dtype);
  if (plan.step != nullptr) {
    auto rows = make_empty_step_rows(config, cache.codec_ptr(), plan.step);
    if (!rows->remember(read_step(tensors_, cache), info_.n_tokens)) {
      throw_data("{}: the tensors 'step.*' do not fit {}; the file is damaged", file_,
                 info_.compressor);
    }
    cache.advance(info_.n_tokens);
    cache.set_step(std::move(rows));
    return cache;
  }
  HeadReader reader(file_, tensors_, plan, kv_dtype, cache, config.rotary_dim, info_.n_tokens);
  const LayerCodec* layers = cache.codec().layer_codec();
  for (int layer = 0; layer < config.n_layers; ++layer) {
    for (int h = 0; h < config.n_kv_heads; ++h) reader.read(layer, h);
    if (layers != nullptr) reader.read_groups(layer, *layers);
  }
  cache.advance(info_.n_tokens);
  if (plan.decode) {
    CutState cuts(config, within_budget(plan.decode, plan, config, cache.codec()),
                  positions_of(plan));
    if (!cuts.remember(read_cuts(tensors_))) {
      throw_data("{}: the tensors 'cut.*' do not fit {}; the file is damaged", file_,
                 info_.compressor);
    }
    cache.set_cuts(std::move(cuts));
  }
  return cache;
}

std::vector<float> SavedCache::last_logits(const ModelConfig& config) const {
  tensors_.get("last_logits", {config.vocab});
  return tensors_.floats("last_logits");
}

}  // namespace kv
