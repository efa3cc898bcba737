#include "compress/layer_group_codec.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "compress/codes.h"
#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {
double LayerGroupCodec::bits_per_value(int head_dim) const {
  return 8.0 * static_cast<double>(row_bytes(head_dim)) / head_dim + 64.0 / o_.group;
}

bool LayerGroupCodec::recodes(int n_coded, int n_rows) const {
  // A first new row is never coded by itself, whatever `residual` says.
  return n_coded == 0 || n_rows - n_coded >= std::max(2, o_.residual);
}

void LayerGroupCodec::check_rows(int64_t n_rows, int n_kv_heads, int head_dim) const {
  const bool by_rows = o_.shape == GroupShape::kChannels;
  const int64_t n = by_rows ? n_rows : n_rows * head_dim;
  if (n % o_.group == 0) return;
  const int64_t step =
      o_.group / std::gcd<int64_t>(o_.group, int64_t{n_kv_heads} * (by_rows ? 1 : head_dim));
  throw_usage(
      "{}: the {} {} of a layer ({} rows in {} KV heads) cannot be cut into groups of {}; equal "
      "heads fit with a multiple of {} rows each, or take a group that divides {}",
      o_.spec, n, by_rows ? "rows" : "values", n_rows, n_kv_heads, o_.group, step, n);
}

int64_t LayerGroupCodec::flat_index(int64_t g, int i, int64_t n, int head_dim) const {
  switch (o_.shape) {
    case GroupShape::kChannels:
      return (g / head_dim * o_.group + i) * head_dim + g % head_dim;
    case GroupShape::kColumns:
      return i * (n / o_.group) + g;
    default:
      return g * o_.group + i;
  }
}

LayerGroups LayerGroupCodec::encode_layer(const float* rows, int64_t n_rows, int head_dim,
                                          uint8_t* codes) const {
  const int64_t n = n_rows * head_dim, n_groups = this->n_groups(n_rows, head_dim);
  std::vector<float> x(static_cast<size_t>(n));
  for (int64_t g = 0; g < n_groups; ++g) {
    for (int i = 0; i < o_.group; ++i) x[g * o_.group + i] = rows[flat_index(g, i, n, head_dim)];
  }
  LayerGroups groups;
  groups.n_rows = n_rows;
  groups.scales.resize(static_cast<size_t>(n_groups));
  groups.offsets.resize(static_cast<size_t>(n_groups));
  std::vector<uint8_t> grouped_codes(x.size());
  encode_groups({x, o_.group, o_.bits}, grouped_codes.data(), groups.scales.data(),
                groups.offsets.data());
  for (int64_t g = 0; g < n_groups; ++g) {
    for (int i = 0; i < o_.group; ++i)
      codes[flat_index(g, i, n, head_dim)] = grouped_codes[g * o_.group + i];
  }
  return groups;
}

void LayerGroupCodec::pack(const uint8_t* codes, int n, int head_dim, std::byte* tile) const {
  auto* row = reinterpret_cast<uint8_t*>(tile);
  for (int r = 0; r < n; ++r, row += row_bytes(head_dim), codes += head_dim) {
    for (int d = 0; d < head_dim; ++d) put_code(row, d, o_.bits, codes[d]);
  }
}

int64_t LayerGroupCodec::group_of(int64_t at, int64_t n_groups, int head_dim) const {
  switch (o_.shape) {
    case GroupShape::kChannels:
      return at / head_dim / o_.group * head_dim + at % head_dim;
    case GroupShape::kColumns:
      return at % n_groups;
    default:
      return at / o_.group;
  }
}

LayerGroupCodec::Runs LayerGroupCodec::runs_at(int64_t at, int64_t n, int64_t n_groups,
                                               int head_dim) const {
  const int64_t row = at / head_dim, column = at % head_dim;
  int64_t length, count = 1;
  if (o_.shape == GroupShape::kRuns) {
    length = o_.group - at % o_.group;
    if (length == o_.group) count = std::max<int64_t>(1, n / length);
  } else if (o_.shape == GroupShape::kColumns) {
    length = n_groups - at % n_groups;
  } else {
    length = head_dim - column;
    if (column == 0) count = std::clamp<int64_t>(n / head_dim, 1, o_.group - row % o_.group);
  }
  return {static_cast<int>(std::min(length, n)), static_cast<int>(count)};
}

void LayerGroupCodec::decode_odd(const LayerGroups& groups, const uint8_t* codes, int64_t first,
                                 int n, int head_dim, float* x) const {
  const int64_t n_groups = this->n_groups(groups.n_rows, head_dim);
  std::vector<float> scales(n), offsets(n);
  for (int i = 0; i < n; ++i) {
    const int64_t g = group_of(first + i, n_groups, head_dim);
    scales[i] = groups.scales[g];
    offsets[i] = groups.offsets[g];
  }
  const CodeRows row{.bits = o_.bits,
                     .value = o_.value,
                     .codes = codes,
                     .scales = scales.data(),
                     .offsets = offsets.data(),
                     .step = 1};
  kernels().decode_rows(row, 1, n, x, n);
}

void LayerGroupCodec::decode_values(const LayerGroups& groups, const uint8_t* codes, int64_t first,
                                    int n, int head_dim, float* x) const {
  const int64_t n_groups = this->n_groups(groups.n_rows, head_dim);
  for (int i = 0; i < n;) {
    const int64_t at = first + i, g = group_of(at, n_groups, head_dim);
    const auto [length, count] = runs_at(at, n - i, n_groups, head_dim);
    const uint8_t* from = codes + i * o_.bits / 8;
    if (i + length < n && length * o_.bits % 8 != 0)
      return decode_odd(groups, from, at, n - i, head_dim, x + i);
    const CodeRows runs{.bits = o_.bits,
                        .value = o_.value,
                        .codes = from,
                        .row_bytes = length * o_.bits / 8,
                        .scales = groups.scales.data() + g,
                        .offsets = groups.offsets.data() + g,
                        .row_step = o_.shape == GroupShape::kRuns ? 1 : 0,
                        .step = o_.shape == GroupShape::kRuns ? 0 : 1};
    kernels().decode_rows(runs, count, length, x + i, length);
    i += count * length;
  }
}

const float* LayerGroupCodec::load_layer_values(const std::byte* tile, const LayerGroups& groups,
                                                int64_t first, int n, int head_dim,
                                                float* scratch) const {
  const auto* codes = reinterpret_cast<const uint8_t*>(tile);
  const int width = padded(head_dim);
  if (width == head_dim) {  // rows lie side by side, as codes and as values
    decode_values(groups, codes, first * head_dim, n * head_dim, head_dim, scratch);
    return scratch;
  }
  for (int r = 0; r < n; ++r, codes += row_bytes(head_dim)) {
    float* out = scratch + r * width;
    decode_values(groups, codes, (first + r) * head_dim, head_dim, head_dim, out);
    std::fill(out + head_dim, out + width, 0.0f);
  }
  return scratch;
}

const float* LayerGroupCodec::load_layer_keys(const std::byte* tile, const LayerGroups& groups,
                                              int64_t first, int n, int head_dim,
                                              const RopeTile& rope, float* scratch) const {
  thread_local std::vector<float> rows;
  const int width = padded(head_dim);
  rows.resize(static_cast<size_t>(width) * kTile);
  load_layer_values(tile, groups, first, n, head_dim, rows.data());
  const float* of[kTile];
  for (int r = 0; r < kTile; ++r) of[r] = rows.data() + std::min(r, n - 1) * width;
  kernels().transpose_rows(of, head_dim, scratch);
  if (rope.cos != nullptr)
    kernels().load_keys_f32(scratch, head_dim, rope.cos, rope.sin, rope.rotary_dim, scratch);
  return scratch;
}

Method layer_group_method(const LayerGroupMethod& about) {
  Method method;
  method.info.name = about.name;
  method.info.kind = "codec";
  method.info.doc = about.doc;
  method.info.params = {
      integer_param("group", "64", fmt::format("values that share a scale and a {}", about.offset),
                    2),
      integer_param("residual", "128", "new rows that stay in full until all is coded again", 1),
      integer_param("axis", "0", about.axis_doc, std::min(0, about.other_axis),
                    std::max(0, about.other_axis))};
  method.make_codec = [about](const Params& params, const std::string& spec) {
    LayerGroupOptions options;
    options.bits = about.bits;
    options.group = params.integer("group");
    options.residual = params.integer("residual");
    options.shape = params.integer("axis") == 0 ? about.first_axis : about.second_axis;
    options.value = about.value;
    options.spec = spec;
    return about.make(options);
  };
  return method;
}

}  // namespace kv
