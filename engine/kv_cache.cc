#include "engine/kv_cache.h"

#include <algorithm>
#include <set>

#include "engine/error.h"
#include "kernels/parallel.h"
#include "kernels/prefetch.h"

namespace kv {

KvCache::KvCache(const ModelConfig& config, CodecPtr codec, CodecPtr residual_codec)
    : n_layers_(config.n_layers),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      codec_(std::move(codec)),
      residual_codec_(codec_->keeps_residual() ? std::move(residual_codec) : nullptr),
      heads_(static_cast<size_t>(n_layers_) * n_kv_heads_) {
  KV_CHECK(!codec_->keeps_residual() || residual_codec_ != nullptr);
  for (int l = 0; l < n_layers_; ++l) windows_.push_back(config.layer(l).window);
  codec_->check_head_dim(head_dim_);
}

void KvCache::reserve(int layer, int n) {
  if (step() != nullptr) return;  // each head takes what it needs
  const KvCodec& codec = later_codec();
  for (int h = 0; h < n_kv_heads_; ++h) {
    Head& rows = head(layer, h);
    std::vector<PageRef>& pages = split(rows) ? rows.plain : rows.pages;
    // Unshares the page that grows.
    if (n > 0 && rows.n_rows % kTile != 0 && pages.back()) pages.back().writable_keys();
    const size_t n_pages = (static_cast<size_t>(rows.n_rows) + n + kTile - 1) / kTile;
    if (pages.size() < n_pages) pages.resize(n_pages);
    for (size_t p = static_cast<size_t>(rows.n_rows) / kTile; p < n_pages; ++p) {
      if (!pages[p]) {
        pages[p] =
            PageRef::allocate(codec.key_tile_bytes(head_dim_), codec.value_tile_bytes(head_dim_));
      }
    }
  }
}

void KvCache::append(int layer, int kv_head, const float* keys, const float* values, int64_t stride,
                     int n, const BlockRange& block) {
  if (step() != nullptr) return step()->append(layer, kv_head, keys, values, stride, n);
  Head& rows = head(layer, kv_head);
  KV_CHECK(rows.n_rows + rows.run_offset == n_tokens_ + rows.shift,
           "rows {} offset {} tokens {} shift {}", rows.n_rows, rows.run_offset, n_tokens_,
           rows.shift);
  const KvCodec& codec = later_codec();
  for (int done = 0; done < n;) {
    PageRef& page = (split(rows) ? rows.plain : rows.pages)[rows.n_rows / kTile];
    const int first = rows.n_rows % kTile, count = std::min(kTile - first, n - done);
    const float *k = keys + done * stride, *v = values + done * stride;
    if (codec.codes_blocks()) {
      codec.encode_block_keys(k, stride, first, count, head_dim_, block.keys, page.writable_keys());
      codec.encode_block_values(v, stride, first, count, head_dim_, block.values,
                                page.writable_values());
    } else {
      codec.encode_keys(k, stride, first, count, head_dim_, page.writable_keys());
      codec.encode_values(v, stride, first, count, head_dim_, page.writable_values());
    }
    rows.n_rows += count;
    done += count;
  }
}

void KvCache::keep_rows(int layer, int kv_head, const std::vector<int32_t>& kept) {
  KV_CHECK(!residual_codec_ && !kept.empty());
  Head& rows = head(layer, kv_head);
  for (size_t i = 0; i < kept.size(); ++i) {
    const int32_t from = kept[i];
    KV_CHECK(from >= static_cast<int32_t>(i) && from < rows.n_rows, "row {} to {} of {}", from, i,
             rows.n_rows);
    if (from == static_cast<int32_t>(i)) continue;
    PageRef& target = rows.pages[i / kTile];
    std::byte *keys = target.writable_keys(), *values = target.writable_values();
    const PageRef& source = rows.pages[from / kTile];
    const int to = static_cast<int>(i % kTile);
    codec_->copy_key(source.keys(), from % kTile, head_dim_, keys, to);
    codec_->copy_value(source.values(), from % kTile, head_dim_, values, to);
  }
  rows.n_rows = static_cast<int>(kept.size());
  rows.pages.resize((kept.size() + kTile - 1) / kTile);
}

void KvCache::advance(int n_tokens) {
  n_tokens_ += n_tokens;
  if (step() != nullptr) step()->advance();
  if (residual_codec_) code_rows();
  drop_unseen();
}

void KvCache::drop_unseen() {
  for (size_t i = 0; i < heads_.size(); ++i) {
    const int window = windows_[i / static_cast<size_t>(n_kv_heads_)];
    Head& rows = heads_[i];
    if (window == 0 || rows.n_rows < window) continue;
    const int first = rows.n_rows - window + 1;
    for (int t = rows.first_row / kTile; t < first / kTile; ++t) {
      for (std::vector<PageRef>* pages : {&rows.pages, &rows.plain}) {
        if (t < static_cast<int>(pages->size())) (*pages)[t] = {};
      }
    }
    rows.first_row = first;
  }
}

void KvCache::code_rows() {
  if (codec_->layer_codec() != nullptr) return recode_layers();
  for (Head& rows : heads_) {
    const CodedRows want = codec_->coded_rows(rows.n_rows);
    if (want.keys == rows.coded.keys && want.values == rows.coded.values) continue;
    const size_t n_pages =
        (static_cast<size_t>(std::max(want.keys, want.values)) + kTile - 1) / kTile;
    while (rows.pages.size() < n_pages) {
      const bool gone = !rows.plain[rows.pages.size()];
      rows.pages.push_back(gone ? PageRef()
                                : PageRef::allocate(codec_->key_tile_bytes(head_dim_),
                                                    codec_->value_tile_bytes(head_dim_)));
    }
    code_keys(rows, want.keys);
    code_values(rows, want.values);
    // Plain pages of which nothing is left.
    for (int t = 0; t < std::min(want.keys, want.values) / kTile; ++t) rows.plain[t] = {};
  }
}

void KvCache::code_keys(Head& rows, int until) {
  std::vector<float> scratch(static_cast<size_t>(padded(head_dim_)) * kTile),
      keys(static_cast<size_t>(head_dim_) * kTile);
  while (rows.coded.keys < until) {
    const int tile = rows.coded.keys / kTile, first = rows.coded.keys % kTile;
    const int n = std::min(kTile - first, until - rows.coded.keys);
    rows.coded.keys += n;
    if (!rows.plain[tile]) continue;  // gone
    const float* from = residual_codec_->load_keys(rows.plain[tile].keys(), first + n, head_dim_,
                                                   {}, scratch.data());
    for (int r = 0; r < n; ++r) {
      for (int d = 0; d < head_dim_; ++d) keys[r * head_dim_ + d] = from[d * kTile + first + r];
    }
    codec_->encode_keys(keys.data(), head_dim_, first, n, head_dim_,
                        rows.pages[tile].writable_keys());
  }
}

void KvCache::code_values(Head& rows, int until) {
  const int width = padded(head_dim_);
  std::vector<float> scratch(static_cast<size_t>(width) * kTile);
  while (rows.coded.values < until) {
    const int tile = rows.coded.values / kTile, first = rows.coded.values % kTile;
    const int n = std::min(kTile - first, until - rows.coded.values);
    rows.coded.values += n;
    if (!rows.plain[tile]) continue;  // gone
    const float* from = residual_codec_->load_values(rows.plain[tile].values(), first + n,
                                                     head_dim_, scratch.data());
    codec_->encode_values(from + first * width, width, first, n, head_dim_,
                          rows.pages[tile].writable_values());
  }
}

void KvCache::recode_layers() {
  const LayerCodec& codec = *codec_->layer_codec();
  std::vector<int> due;
  for (int layer = 0; layer < n_layers_; ++layer) {
    if (!codec.recodes(head(layer, 0).coded.keys, head(layer, 0).n_rows)) continue;
    int64_t n_rows = 0;
    for (int h = 0; h < n_kv_heads_; ++h) n_rows += head(layer, h).n_rows;
    codec.check_rows(n_rows, n_kv_heads_, head_dim_);
    due.push_back(layer);
  }
  parallel_for(static_cast<int64_t>(due.size()), [&](int64_t i) { recode_layer(due[i]); });
}

void KvCache::recode_layer(int layer) {
  const LayerCodec& codec = *codec_->layer_codec();
  int64_t n_rows = 0;
  std::vector<std::vector<PageRef>> pages(n_kv_heads_);
  for (int h = 0; h < n_kv_heads_; ++h) {
    const int n = head(layer, h).n_rows;
    n_rows += n;
    for (int first = 0; first < n; first += kTile) {
      pages[h].push_back(
          PageRef::allocate(codec.key_tile_bytes(head_dim_), codec.value_tile_bytes(head_dim_)));
    }
  }
  std::vector<float> rows(static_cast<size_t>(n_rows) * head_dim_),
      scratch(static_cast<size_t>(padded(head_dim_)) * kTile);
  std::vector<uint8_t> codes(rows.size());
  // fetch: rows 0 .. n - 1 of a tile to (n, head_dim); tile_of: where their codes go.
  const auto recode = [&](const auto& fetch, const auto& tile_of) {
    float* to = rows.data();
    for (int h = 0; h < n_kv_heads_; ++h) {
      const Head& from = head(layer, h);
      for (int t = 0; t * kTile < from.n_rows; ++t) {
        const int n = std::min(kTile, from.n_rows - t * kTile);
        fetch(from, t, n, to);
        to += static_cast<int64_t>(n) * head_dim_;
      }
    }
    auto groups = std::make_shared<const LayerGroups>(
        codec.encode_layer(rows.data(), n_rows, head_dim_, codes.data()));
    const uint8_t* next = codes.data();
    for (int h = 0; h < n_kv_heads_; ++h) {
      for (size_t t = 0; t < pages[h].size(); ++t) {
        const int n = std::min(kTile, head(layer, h).n_rows - static_cast<int>(t) * kTile);
        codec.pack(next, n, head_dim_, tile_of(pages[h][t]));
        next += static_cast<int64_t>(n) * head_dim_;
      }
    }
    return groups;
  };
  const auto key_groups = recode(
      [&](const Head& from, int tile, int n, float* to) {
        const float* keys = load_keys(from, tile, n, {}, scratch.data());
        for (int r = 0; r < n; ++r) {
          for (int d = 0; d < head_dim_; ++d) to[r * head_dim_ + d] = keys[d * kTile + r];
        }
      },
      [](PageRef& page) { return page.writable_keys(); });
  const auto value_groups = recode(
      [&](const Head& from, int tile, int n, float* to) {
        const float* values = load_values(from, tile, n, scratch.data());
        for (int r = 0; r < n; ++r)
          std::copy_n(values + r * padded(head_dim_), head_dim_, to + r * head_dim_);
      },
      [](PageRef& page) { return page.writable_values(); });
  int64_t layer_row = 0;
  for (int h = 0; h < n_kv_heads_; ++h) {
    Head& to = head(layer, h);
    to.plain.assign(pages[h].size(), {});
    to.pages = std::move(pages[h]);
    to.coded = {to.n_rows, to.n_rows};
    to.key_groups = key_groups;
    to.value_groups = value_groups;
    to.layer_row = layer_row;
    layer_row += to.n_rows;
  }
}

const float* KvCache::load_coded_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                                      float* scratch) const {
  const std::byte* codes = head.pages[tile].keys();
  const LayerCodec* layers = codec_->layer_codec();
  if (head.key_channels) return widen_keys(head, tile, n, rope, scratch);
  if (layers == nullptr) return codec_->load_keys(codes, n, head_dim_, rope, scratch);
  return layers->load_layer_keys(codes, *head.key_groups, head.layer_row + tile * kTile, n,
                                 head_dim_, rope, scratch);
}

const float* KvCache::widen_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                                 float* scratch) const {
  thread_local std::vector<float> memory;
  memory.resize(static_cast<size_t>(padded(head_dim_)) * kTile);
  const float* narrow_keys = load_narrow_keys(head, tile, n, rope, memory.data());
  std::fill_n(scratch, head_dim_ * kTile, 0.0f);
  for (size_t i = 0; i < head.key_channels->size(); ++i)
    std::copy_n(narrow_keys + i * kTile, kTile, scratch + (*head.key_channels)[i] * kTile);
  return scratch;
}

const float* KvCache::load_narrow_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                                       float* scratch) const {
  const std::vector<int32_t>& channels = *head.key_channels;
  RopeTile turn;
  thread_local std::vector<float> angles;
  if (rope.cos != nullptr) {
    const auto first_partner = std::find_if(channels.begin(), channels.end(), [&](int32_t channel) {
      return channel >= rope.rotary_dim / 2;
    });
    const auto n_pairs = static_cast<int>(first_partner - channels.begin());
    angles.resize(static_cast<size_t>(2) * n_pairs * kTile);
    float *cos = angles.data(), *sin = cos + n_pairs * kTile;
    for (int i = 0; i < n_pairs; ++i) {
      std::copy_n(rope.cos + channels[i] * kTile, kTile, cos + i * kTile);
      std::copy_n(rope.sin + channels[i] * kTile, kTile, sin + i * kTile);
    }
    turn = {cos, sin, 2 * n_pairs};
  }
  return codec_->load_keys(head.pages[tile].keys(), n, key_width(head), turn, scratch);
}

const float* KvCache::load_coded_values(const HeadCache& head, int tile, int n,
                                        float* scratch) const {
  const std::byte* codes = head.pages[tile].values();
  const LayerCodec* layers = codec_->layer_codec();
  if (layers == nullptr) return codec_->load_values(codes, n, head_dim_, scratch);
  return layers->load_layer_values(codes, *head.value_groups, head.layer_row + tile * kTile, n,
                                   head_dim_, scratch);
}

const float* KvCache::load_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                                float* scratch) const {
  if (!split(head)) return codec_->load_keys(head.pages[tile].keys(), n, head_dim_, rope, scratch);
  const int coded = std::clamp(head.coded.keys - tile * kTile, 0, n);
  if (coded == 0)
    return later_codec().load_keys(head.plain[tile].keys(), n, head_dim_, rope, scratch);
  const float* codes = load_coded_keys(head, tile, coded, rope, scratch);
  if (coded == n) return codes;
  thread_local std::vector<float> others;
  others.resize(static_cast<size_t>(padded(head_dim_)) * kTile);
  const float* plain =
      later_codec().load_keys(head.plain[tile].keys(), n, head_dim_, rope, others.data());
  for (int d = 0; d < head_dim_; ++d) {
    if (codes != scratch) std::copy_n(codes + d * kTile, coded, scratch + d * kTile);
    std::copy_n(plain + d * kTile + coded, kTile - coded, scratch + d * kTile + coded);
  }
  return scratch;
}

const float* KvCache::load_values(const HeadCache& head, int tile, int n, float* scratch) const {
  if (!split(head)) return codec_->load_values(head.pages[tile].values(), n, head_dim_, scratch);
  const int coded = std::clamp(head.coded.values - tile * kTile, 0, n), width = padded(head_dim_);
  if (coded == 0)
    return later_codec().load_values(head.plain[tile].values(), n, head_dim_, scratch);
  const float* codes = load_coded_values(head, tile, coded, scratch);
  if (coded == n) return codes;
  thread_local std::vector<float> others;
  others.resize(static_cast<size_t>(width) * kTile);
  const float* plain =
      later_codec().load_values(head.plain[tile].values(), n, head_dim_, others.data());
  if (codes != scratch) std::copy_n(codes, coded * width, scratch);
  std::copy_n(plain + coded * width, (n - coded) * width, scratch + coded * width);
  return scratch;
}

const PageRef* KvCache::page_of(const HeadCache& head, int tile) {
  for (const std::vector<PageRef>* pages : {&head.pages, &head.plain}) {
    if (tile < static_cast<int>(pages->size()) && (*pages)[tile]) return &(*pages)[tile];
  }
  return nullptr;
}

const std::byte* KvCache::stored_keys(const HeadCache& head, int tile) {
  const PageRef* page = page_of(head, tile);
  return page == nullptr ? nullptr : page->keys();
}

const std::byte* KvCache::stored_values(const HeadCache& head, int tile) {
  const PageRef* page = page_of(head, tile);
  return page == nullptr ? nullptr : page->values();
}

void KvCache::score_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                         const KeyProduct& product, float* scratch) const {
  if (!split(head)) {
    codec_->score_keys(head.pages[tile].keys(), n, head_dim_, rope, product, scratch);
  } else {
    prefetch(product.next, codec_->key_tile_bytes(head_dim_));
    score_loaded_keys(load_keys(head, tile, n, rope, scratch), head_dim_, product);
  }
}

void KvCache::weigh_values(const HeadCache& head, int tile, int n, const ValueProduct& product,
                           float* scratch) const {
  const bool only_codes = head.coded.values >= tile * kTile + n;
  const LayerCodec* layers = codec_->layer_codec();
  if (!split(head) || (only_codes && layers == nullptr && !codec_->mixes_values())) {
    codec_->weigh_values(head.pages[tile].values(), n, head_dim_, product, scratch);
  } else if (only_codes && layers != nullptr) {
    prefetch(product.next, codec_->value_tile_bytes(head_dim_));
    layers->weigh_layer_values(head.pages[tile].values(), *head.value_groups,
                               head.layer_row + tile * kTile, n, head_dim_, product, scratch);
  } else {
    prefetch(product.next, codec_->value_tile_bytes(head_dim_));
    weigh_loaded_values(load_values(head, tile, n, scratch), n, head_dim_, product);
  }
}

void KvCache::finish_weighing(const HeadCache& head, float* sum) const {
  if (codec_->mixes_values() && !split(head)) codec_->unmix(sum, 1, head_dim_);
}

size_t KvCache::bytes_in_use() const {
  if (step() != nullptr) return step()->bytes_in_use();
  const auto row_bytes = [&](const KvCodec& codec, int width, int n_keys, int n_values) {
    return (codec.key_tile_bytes(width) * n_keys + codec.value_tile_bytes(head_dim_) * n_values) /
           kTile;
  };
  size_t total = cuts_.bytes();
  std::set<const void*> counted;
  for (const Head& rows : heads_) {
    if (split(rows)) {
      const int keys = std::max(rows.coded.keys, rows.first_row);
      const int values = std::max(rows.coded.values, rows.first_row);
      total += row_bytes(*codec_, key_width(rows), keys - rows.first_row, values - rows.first_row) +
               row_bytes(later_codec(), head_dim_, rows.n_rows - keys, rows.n_rows - values);
      if (rows.key_channels) total += (static_cast<size_t>(head_dim_) + 7) / 8;  // as a bit mask
    } else {
      const int n = rows.n_rows - rows.first_row;
      total += row_bytes(*codec_, head_dim_, n, n);
    }
    for (const auto* list : {rows.listed.get(), rows.originals.get()}) {
      if (list != nullptr && counted.insert(list).second) total += list->size() * sizeof(int32_t);
    }
    for (const LayerGroups* groups : {rows.key_groups.get(), rows.value_groups.get()}) {
      if (groups != nullptr && counted.insert(groups).second)
        total += (groups->scales.size() + groups->offsets.size()) * sizeof(float);
    }
    if (rows.dropped_channels) total += (rows.dropped_channels->size() + 7) / 8;  // as a bit mask
  }
  return total;
}

size_t KvCache::bytes_allocated() const {
  if (step() != nullptr) return step()->bytes_allocated();
  size_t total = cuts_.bytes();
  std::set<const void*> counted;
  for (const Head& rows : heads_) {
    for (const PageRef& page : rows.pages) total += page.bytes();
    for (const PageRef& page : rows.plain) total += page.bytes();
    for (const auto* list : {rows.listed.get(), rows.originals.get()}) {
      if (list != nullptr && counted.insert(list).second)
        total += list->capacity() * sizeof(int32_t);
    }
    for (const LayerGroups* groups : {rows.key_groups.get(), rows.value_groups.get()}) {
      if (groups != nullptr && counted.insert(groups).second)
        total += (groups->scales.capacity() + groups->offsets.capacity()) * sizeof(float);
    }
    if (rows.dropped_channels) total += rows.dropped_channels->capacity();
    if (rows.key_channels) total += rows.key_channels->capacity() * sizeof(int32_t);
  }
  return total;
}

}  // namespace kv
