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

std::span<const LayerGroupCodec::Part> LayerGroupCodec::parts_of(const std::byte* tile,
                                                                 const LayerGroups& groups,
                                                                 int64_t first, int n,
                                                                 int head_dim) const {
  const int64_t n_groups = this->n_groups(groups.n_rows, head_dim);
  thread_local std::vector<Part> parts;
  parts.clear();
  const auto add = [&](int row, int n_rows, int column, int n_columns, int row_step, int step) {
    const int64_t g = group_of((first + row) * head_dim + column, n_groups, head_dim);
    const auto* codes = reinterpret_cast<const uint8_t*>(tile) + row * row_bytes(head_dim);
    parts.push_back({row, n_rows, column, n_columns,
                     CodeRows{.bits = o_.bits,
                              .value = o_.value,
                              .codes = codes + column * o_.bits / 8,
                              .row_bytes = static_cast<int64_t>(row_bytes(head_dim)),
                              .scales = groups.scales.data() + g,
                              .offsets = groups.offsets.data() + g,
                              .row_step = row_step,
                              .step = step}});
  };
  // Parts of up to `rows` rows each, beginning at multiples of so many.
  const auto add_rows = [&](int64_t rows, int row_step, int step) {
    for (int row = 0; row < n;) {
      const auto n_rows = static_cast<int>(std::min<int64_t>(rows - (first + row) % rows, n - row));
      add(row, n_rows, 0, head_dim, row_step, step);
      row += n_rows;
    }
  };
  if (o_.shape == GroupShape::kChannels) {
    add_rows(o_.group, 0, 1);
  } else if (o_.shape == GroupShape::kColumns) {
    if (n_groups % head_dim == 0) add_rows(n_groups / head_dim, head_dim, 1);
  } else if (o_.group % head_dim == 0) {
    const int rows = o_.group / head_dim;
    if (rows == 1) {
      add(0, n, 0, head_dim, 1, 0);
    } else {
      add_rows(rows, 0, 0);
    }
  } else if (head_dim % o_.group == 0 && o_.group * o_.bits % 8 == 0) {
    for (int column = 0; column < head_dim; column += o_.group)
      add(0, n, column, o_.group, head_dim / o_.group, 0);
  }
  return parts;
}

void LayerGroupCodec::decode_odd(const std::byte* tile, const LayerGroups& groups, int64_t first,
                                 int n, int head_dim, float* out) const {
  const int64_t n_groups = this->n_groups(groups.n_rows, head_dim);
  const int size = n * head_dim;
  std::vector<float> scales(size), offsets(size);
  for (int i = 0; i < size; ++i) {
    const int64_t g = group_of(first * head_dim + i, n_groups, head_dim);
    scales[i] = groups.scales[g];
    offsets[i] = groups.offsets[g];
  }
  const CodeRows rows{.bits = o_.bits,
                      .value = o_.value,
                      .codes = reinterpret_cast<const uint8_t*>(tile),
                      .row_bytes = static_cast<int64_t>(row_bytes(head_dim)),
                      .scales = scales.data(),
                      .offsets = offsets.data(),
                      .row_step = head_dim,
                      .step = 1};
  kernels().decode_rows(rows, n, head_dim, out, padded(head_dim));
}

const float* LayerGroupCodec::load_layer_values(const std::byte* tile, const LayerGroups& groups,
                                                int64_t first, int n, int head_dim,
                                                float* scratch) const {
  const int width = padded(head_dim);
  const std::span<const Part> parts = parts_of(tile, groups, first, n, head_dim);
  if (parts.empty()) decode_odd(tile, groups, first, n, head_dim, scratch);
  for (const Part& part : parts) {
    kernels().decode_rows(part.codes, part.n_rows, part.n_columns,
                          scratch + part.row * width + part.column, width);
  }
  for (int r = 0; r < n && width > head_dim; ++r)
    std::fill(scratch + r * width + head_dim, scratch + (r + 1) * width, 0.0f);
  return scratch;
}

void LayerGroupCodec::weigh_layer_values(const std::byte* tile, const LayerGroups& groups,
                                         int64_t first, int n, int head_dim,
                                         const ValueProduct& product, float* scratch) const {
  const std::span<const Part> parts = parts_of(tile, groups, first, n, head_dim);
  const bool whole_panels = std::all_of(
      parts.begin(), parts.end(), [](const Part& part) { return part.n_columns % kPanel == 0; });
  if (parts.empty() || !whole_panels || product.n_rows > kFewRows) {
    load_layer_values(tile, groups, first, n, head_dim, scratch);
    return weigh_loaded_values(scratch, n, head_dim, product);
  }
  for (const Part& part : parts) {
    kernels().weigh_rows(part.codes, part.n_rows, part.n_columns, product.weights + part.row,
                         product.stride, product.n_rows, product.out + part.column, head_dim,
                         product.accumulate || part.row > 0);
  }
}

const float* LayerGroupCodec::load_layer_keys(const std::byte* tile, const LayerGroups& groups,
                                              int64_t first, int n, int head_dim,
                                              const RopeTile& rope, float* scratch) const {
  const std::span<const Part> parts = parts_of(tile, groups, first, n, head_dim);
  if (!parts.empty() && parts.front().n_rows == n) {
    for (const Part& part : parts) {
      kernels().decode_transposed(part.codes, n, part.n_columns, scratch + part.column * kTile);
    }
  } else {
    thread_local std::vector<float> rows;
    const int width = padded(head_dim);
    rows.resize(static_cast<size_t>(width) * kTile);
    load_layer_values(tile, groups, first, n, head_dim, rows.data());
    const float* of[kTile];
    for (int r = 0; r < kTile; ++r) of[r] = rows.data() + std::min(r, n - 1) * width;
    kernels().transpose_rows(of, head_dim, scratch);
  }
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
