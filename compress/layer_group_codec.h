// Codecs in the manner of Hugging Face's QuantizedCache: the values of a whole layer (all KV heads,
// all rows, keys or values), read flat in the order head, row, channel, are cut into groups of
// `group` values with one scale and one offset each. What a group is and how codes decode is here;
// a codec adds how codes, scale and offset are found.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "compress/method.h"
#include "engine/kv_codec.h"
#include "kernels/kernels.h"

namespace kv {

enum class GroupShape {
  kRuns,      // consecutive values
  kChannels,  // one channel of consecutive rows
  kColumns    // of n values, those n / group apart
};

struct LayerGroupOptions {
  int bits = 4;  // 1 … 8
  int group = 64;
  int residual = 128;
  GroupShape shape = GroupShape::kRuns;
  CodeValue value = CodeValue::kScaleThenAdd;
  std::string spec;  // canonical
};

// Groups side by side: group g has the values x[g * group], …, x[(g + 1) * group - 1].
struct Grouped {
  std::span<const float> x;
  int group = 0, bits = 0;

  int64_t n_groups() const { return static_cast<int64_t>(x.size()) / group; }
  const float* of(int64_t g) const { return x.data() + g * group; }
};

class LayerGroupCodec : public LayerCodec {
 public:
  explicit LayerGroupCodec(LayerGroupOptions options) : o_(std::move(options)) {}

  std::string spec() const override { return o_.spec; }
  // Of the coded rows; scale and offset are floats.
  double bits_per_value(int head_dim) const override;
  bool stores_rotated_keys() const override { return true; }
  size_t key_tile_bytes(int head_dim) const override { return row_bytes(head_dim) * kTile; }
  size_t value_tile_bytes(int head_dim) const override { return row_bytes(head_dim) * kTile; }

  // The prompt at once; then whenever `residual` rows have come.
  bool recodes(int n_coded, int n_rows) const override;
  void check_rows(int64_t n_rows, int n_kv_heads, int head_dim) const override;
  int64_t n_groups(int64_t n_rows, int head_dim) const override {
    return n_rows * head_dim / o_.group;
  }
  LayerGroups encode_layer(const float* rows, int64_t n_rows, int head_dim,
                           uint8_t* codes) const override;
  void pack(const uint8_t* codes, int n, int head_dim, std::byte* tile) const override;
  const float* load_layer_keys(const std::byte* tile, const LayerGroups& groups, int64_t first,
                               int n, int head_dim, const RopeTile& rope,
                               float* scratch) const override;
  const float* load_layer_values(const std::byte* tile, const LayerGroups& groups, int64_t first,
                                 int n, int head_dim, float* scratch) const override;
  void weigh_layer_values(const std::byte* tile, const LayerGroups& groups, int64_t first, int n,
                          int head_dim, const ValueProduct& product, float* scratch) const override;

 protected:
  // Codes (as x lies), scales and offsets (n_groups each).
  virtual void encode_groups(const Grouped& groups, uint8_t* codes, float* scales,
                             float* offsets) const = 0;

 private:
  size_t row_bytes(int head_dim) const { return (static_cast<size_t>(head_dim) * o_.bits + 7) / 8; }
  // The place in the flat order of value i of group g, of n values.
  int64_t flat_index(int64_t g, int i, int64_t n, int head_dim) const;
  int64_t group_of(int64_t at, int64_t n_groups, int head_dim) const;

  // n_rows rows and n_columns columns of a tile, the first one at (row, column).
  struct Part {
    int row, n_rows, column, n_columns;
    CodeRows codes;
  };
  // Rows 0 .. n - 1 of a tile, which are rows `first` .. of the layer, as parts whose scales lie at even
  // distances, in rising order of row, then column; empty where groups or codes do not fall into place.
  // Valid until the thread's next call.
  std::span<const Part> parts_of(const std::byte* tile, const LayerGroups& groups, int64_t first,
                                 int n, int head_dim) const;
  // Any rows: the scales are written out for every value.
  void decode_odd(const std::byte* tile, const LayerGroups& groups, int64_t first, int n,
                  int head_dim, float* out) const;

  LayerGroupOptions o_;
};

// What sets one such method apart from another.
struct LayerGroupMethod {
  std::string name, doc;
  int bits = 4;
  CodeValue value = CodeValue::kScaleThenAdd;
  const char* offset = "";                    // what stands beside the scale
  GroupShape first_axis = GroupShape::kRuns;  // axis=0
  int other_axis = 1;                         // the other number that `axis` takes
  GroupShape second_axis = GroupShape::kRuns;
  const char* axis_doc = "";
  std::function<CodecPtr(LayerGroupOptions options)> make;
};
Method layer_group_method(const LayerGroupMethod& about);

}  // namespace kv
