// Group-wise asymmetric integers, in the manner of KIVI (arXiv 2402.02750) but with groups along the
// channels of one row for keys and values alike, so that every row is encoded alone.
//
// The channels of a row are cut into groups of `group` (the last one may be shorter). For a group x
// of floats, with a minimum m and a scale s,
//
//   c_i = clamp(round_half_even((x_i - m) / s), 0, 2^bits - 1), taken in float; 0 where s = 0
//   stored value: fma(c_i, s, m) (kFloat: c_i * s + m, twice rounded)
//
// GroupScales::kCovering, our own rule, first cuts x to [-65504, 65504] and takes
//
//   m   = largest half <= min(x)
//   s   = smallest half >= (max(x) - m) / (2^bits - 1), taken in double
//
// Rounding m down and s up keeps all of [min, max] inside [m, m + (2^bits - 1) s], so no value is
// cut off and
//
//   |stored - clamp(x)| <= s / 2   but for float rounding (1e-6 of the largest |x| of the group)
//
// also where the spread of the values is far below their size, or below the smallest half. kHalf and
// kFloat are what the published codecs do: m = min(x), s = (max(x) - min(x)) / (2^bits - 1) in float,
// then both rounded to the nearest half, or not. A group that holds a NaN is stored as NaN
// throughout: a broken row stays visible.
//
// hadamard: a row is multiplied by the orthonormal Walsh-Hadamard matrix, in blocks of the largest
// power of two that divides head_dim, which spreads a channel's outlier over its block (QuaRot, arXiv
// 2404.00456); loading multiplies again, which undoes it: keys mostly while they are still codes
// (load_keys_int in kernels/kernels.h). Attention weighs the values as they are coded and multiplies their
// sum over all rows instead.
//
// A tile: codes, then scales, then minima (layouts at load_keys_int and load_values_int in
// kernels/kernels.h). Codes take kTile * ceil(head_dim * bits / 8) bytes for keys too, so that a
// row's share of a tile is a whole number of bytes. Where group divides head_dim and codes fill
// their bytes this is bits + 32 / group bits for each value (kFloat: bits + 64 / group).
#include "compress/group_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "compress/codes.h"
#include "compress/value_range.h"
#include "engine/error.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

constexpr float kLargestF16 = 65504.0f;
constexpr uint16_t kNanF16 = 0x7e00;

// |x| <= 65504.
uint16_t half_at_most(float x) {
  const uint16_t h = float_to_f16(x);
  if (f16_to_float(h) <= x) return h;
  if ((h & 0x7fff) == 0) return 0x8001;  // below zero: the smallest negative
  return static_cast<uint16_t>((h & 0x8000) != 0 ? h + 1 : h - 1);
}

// 0 <= x <= 65504.
uint16_t half_at_least(double x) {
  const uint16_t h = float_to_f16(static_cast<float>(x));
  return f16_to_float(h) >= x ? h : static_cast<uint16_t>(h + 1);
}

// A group's range, cut to what a half holds.
ValueRange range_of(const float* x, int n) {
  ValueRange range = value_range(x, n);
  range.lo = std::clamp(range.lo, -kLargestF16, kLargestF16);
  range.hi = std::clamp(range.hi, -kLargestF16, kLargestF16);
  return range;
}

// How one scale or minimum lies in a tile.
struct Half {
  using Stored = uint16_t;
  static float widen(uint16_t x) { return f16_to_float(x); }
  static uint16_t nan() { return kNanF16; }
};
struct Full {
  using Stored = float;
  static float widen(float x) { return x; }
  static float nan() { return std::nanf(""); }
};

template <typename S>
struct Group {
  typename S::Stored scale = 0, minimum = 0;
  std::array<uint8_t, kMaxGroup> codes;
};

void choose_scale(const ValueRange& range, float largest_code, GroupScales rule, Group<Half>& out) {
  if (rule == GroupScales::kCovering) {
    out.minimum = half_at_most(range.lo);
    out.scale =
        half_at_least((static_cast<double>(range.hi) - f16_to_float(out.minimum)) / largest_code);
  } else {
    out.minimum = float_to_f16(range.lo);
    out.scale = float_to_f16((range.hi - range.lo) / largest_code);
  }
}

void choose_scale(const ValueRange& range, float largest_code, GroupScales, Group<Full>& out) {
  out.minimum = range.lo;
  out.scale = (range.hi - range.lo) / largest_code;
}

// n values of one group.
template <typename S>
void encode_group(const float* x, int n, int bits, GroupScales rule, Group<S>& out) {
  const ValueRange range = range_of(x, n);
  const auto largest_code = static_cast<float>((1 << bits) - 1);
  if (std::isnan(range.lo)) {
    out.minimum = out.scale = S::nan();
  } else {
    choose_scale(range, largest_code, rule, out);
  }
  const float minimum = S::widen(out.minimum), scale = S::widen(out.scale);
  if (!(scale > 0)) {
    std::fill_n(out.codes.begin(), n, uint8_t{0});
    return;
  }
  // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the lowest
  // bits. Values beyond a half's range are cut here, as codes, instead of before: the codes are the
  // same.
  constexpr float kRound = 12582912.0f;
  for (int i = 0; i < n; ++i) {
    float code = (x[i] - minimum) / scale;
    code = code < largest_code ? code : largest_code;
    code = code > 0 ? code : 0;
    out.codes[i] = static_cast<uint8_t>(std::bit_cast<uint32_t>(code + kRound));
  }
}

// Columns from head_dim on of n rows of values.
void clear_padding(int n, int head_dim, float* out) {
  const int width = padded(head_dim);
  if (width == head_dim) return;
  for (int r = 0; r < n; ++r) std::fill(out + r * width + head_dim, out + (r + 1) * width, 0.0f);
}

// It divides padded(head_dim) too.
int hadamard_block(int head_dim) {
  return head_dim & -head_dim;
}

template <typename S>
class GroupCodec : public KvCodec {
 public:
  explicit GroupCodec(const GroupCodecOptions& options)
      : o_(options), bits_(options.bits), group_(options.group) {}

  std::string spec() const override { return o_.spec; }
  double bits_per_value(int head_dim) const override {
    return 8.0 * static_cast<double>(key_tile_bytes(head_dim)) / (kTile * head_dim);
  }
  bool stores_rotated_keys() const override { return o_.rotated_keys; }
  bool acts_on_prompt() const override { return o_.acts_on_prompt; }
  void check_head_dim(int head_dim) const override {
    if (o_.whole_groups && head_dim % group_ != 0) {
      throw_usage("{}: a head of {} channels cannot be cut into groups of {}; expected a divisor",
                  o_.spec, head_dim, group_);
    }
  }

  size_t key_tile_bytes(int head_dim) const override {
    return code_bytes(head_dim) + 2 * n_groups(head_dim) * kTile * sizeof(Stored);
  }
  size_t value_tile_bytes(int head_dim) const override { return key_tile_bytes(head_dim); }

  void encode_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                   std::byte* tile) const override {
    const auto parts = split<uint8_t, Stored>(tile, head_dim);
    Group<S> group;
    std::vector<float> mixed;
    for (int i = 0; i < n; ++i) {
      const int r = first + i;
      const float* row = mix(rows + i * stride, head_dim, mixed);
      for (int g = 0; g * group_ < head_dim; ++g) {
        const int begin = g * group_, size = std::min(group_, head_dim - begin);
        encode_group(row + begin, size, bits_, o_.scales, group);
        for (int c = 0; c < size; ++c)
          put_code(parts.codes + (begin + c) * column_bytes(), r, bits_, group.codes[c]);
        parts.scales[g * kTile + r] = group.scale;
        parts.minima[g * kTile + r] = group.minimum;
      }
    }
  }

  void encode_values(const float* rows, int64_t stride, int first, int n, int head_dim,
                     std::byte* tile) const override {
    const auto parts = split<uint8_t, Stored>(tile, head_dim);
    const int groups = static_cast<int>(n_groups(head_dim));
    Group<S> group;
    std::vector<float> mixed;
    for (int i = 0; i < n; ++i) {
      const int r = first + i;
      const float* row = mix(rows + i * stride, head_dim, mixed);
      uint8_t* row_codes = parts.codes + r * row_bytes(head_dim);
      for (int g = 0; g < groups; ++g) {
        const int begin = g * group_, size = std::min(group_, head_dim - begin);
        encode_group(row + begin, size, bits_, o_.scales, group);
        for (int c = 0; c < size; ++c) put_code(row_codes, begin + c, bits_, group.codes[c]);
        parts.scales[r * groups + g] = group.scale;
        parts.minima[r * groups + g] = group.minimum;
      }
    }
  }

  void copy_key(const std::byte* source, int from, int head_dim, std::byte* target,
                int to) const override {
    const auto a = split<const uint8_t, const Stored>(source, head_dim);
    const auto b = split<uint8_t, Stored>(target, head_dim);
    for (int d = 0; d < head_dim; ++d) {
      const int64_t column = d * column_bytes();
      put_code(b.codes + column, to, bits_, get_code(a.codes + column, from, bits_));
    }
    for (int g = 0; g < static_cast<int>(n_groups(head_dim)); ++g) {
      b.scales[g * kTile + to] = a.scales[g * kTile + from];
      b.minima[g * kTile + to] = a.minima[g * kTile + from];
    }
  }

  void copy_value(const std::byte* source, int from, int head_dim, std::byte* target,
                  int to) const override {
    const auto a = split<const uint8_t, const Stored>(source, head_dim);
    const auto b = split<uint8_t, Stored>(target, head_dim);
    const size_t row = row_bytes(head_dim), groups = n_groups(head_dim);
    std::memcpy(b.codes + to * row, a.codes + from * row, row);
    std::copy_n(a.scales + from * groups, groups, b.scales + to * groups);
    std::copy_n(a.minima + from * groups, groups, b.minima + to * groups);
  }

  const float* load_keys(const std::byte* tile, int, int head_dim, const RopeTile& rope,
                         float* scratch) const override {
    const auto parts = split<const uint8_t, const Stored>(tile, head_dim);
    unpack_keys(parts, head_dim, rope, scratch);
    return scratch;
  }

  void score_keys(const std::byte* tile, int n, int head_dim, const RopeTile& rope,
                  const KeyProduct& product, float* scratch) const override {
    if constexpr (std::is_same_v<Stored, uint16_t>) {
      if (!o_.hadamard && product.n_rows <= kFewRows && rope.rotary_dim <= kMaxScoredRotary) {
        const auto parts = split<const uint8_t, const Stored>(tile, head_dim);
        return kernels().score_keys_int(bits_, parts.codes, parts.scales, parts.minima, group_,
                                        head_dim, rope.cos, rope.sin, rope.rotary_dim, product);
      }
    }
    KvCodec::score_keys(tile, n, head_dim, rope, product, scratch);
  }

  const float* load_values(const std::byte* tile, int n, int head_dim,
                           float* scratch) const override {
    const auto parts = split<const uint8_t, const Stored>(tile, head_dim);
    unpack_values(parts, n, head_dim, scratch);
    if (o_.hadamard) unmix(scratch, n, head_dim);
    return scratch;
  }

  bool mixes_values() const override { return o_.hadamard; }
  void unmix(float* sums, int n_rows, int head_dim) const override {
    kernels().hadamard(sums, n_rows * padded(head_dim), hadamard_block(head_dim));
  }

  void weigh_values(const std::byte* tile, int n, int head_dim, const ValueProduct& product,
                    float* scratch) const override {
    const int groups = static_cast<int>(n_groups(head_dim));
    const bool whole_panels = head_dim % kPanel == 0 && (group_ % kPanel == 0 || groups == 1);
    const auto parts = split<const uint8_t, const Stored>(tile, head_dim);
    if (!whole_panels || groups > kMaxGroups || product.n_rows > kFewRows) {
      prefetch(product.next, value_tile_bytes(head_dim));
      unpack_values(parts, n, head_dim, scratch);
      return weigh_loaded_values(scratch, n, head_dim, product);
    }
    float scales[kTile * kMaxGroups], minima[kTile * kMaxGroups];
    CodeRows rows{
        .bits = bits_,
        .value = std::is_same_v<Stored, float> ? CodeValue::kScaleThenAdd : CodeValue::kFused,
        .codes = parts.codes,
        .row_bytes = static_cast<int64_t>(row_bytes(head_dim)),
        .scales = as_floats(parts.scales, n * groups, scales),
        .offsets = as_floats(parts.minima, n * groups, minima),
        .row_step = groups,
        .step = 0};
    if (product.next != nullptr) {
      rows.ahead = reinterpret_cast<intptr_t>(product.next) - reinterpret_cast<intptr_t>(tile);
      prefetch(product.next + code_bytes(head_dim),
               value_tile_bytes(head_dim) - code_bytes(head_dim));
    }
    for (int begin = 0; begin < head_dim; begin += group_) {
      kernels().weigh_rows(rows, n, std::min(group_, head_dim - begin), product.weights,
                           product.stride, product.n_rows, product.out + begin, head_dim,
                           product.accumulate);
      rows.codes += group_ * bits_ / 8;
      ++rows.scales, ++rows.offsets;
    }
  }

 private:
  static constexpr int kMaxGroups = 8;
  static const float* as_floats(const float* x, int, float*) { return x; }
  static const float* as_floats(const uint16_t* x, int n, float* out) {
    kernels().from_f16(x, n, out);
    return out;
  }

  using Stored = typename S::Stored;
  template <typename Code, typename Scale>
  struct Parts {
    Code* codes;
    Scale* scales;
    Scale* minima;
  };
  template <typename Code, typename Scale, typename Byte>
  Parts<Code, Scale> split(Byte* tile, int head_dim) const {
    auto* codes = reinterpret_cast<Code*>(tile);
    auto* scales = reinterpret_cast<Scale*>(tile + code_bytes(head_dim));
    return {codes, scales, scales + n_groups(head_dim) * kTile};
  }

  // The row as it is coded.
  const float* mix(const float* row, int head_dim, std::vector<float>& mixed) const {
    if (!o_.hadamard) return row;
    mixed.assign(row, row + head_dim);
    kernels().hadamard(mixed.data(), head_dim, hadamard_block(head_dim));
    return mixed.data();
  }

  void unpack_keys(const Parts<const uint8_t, const uint16_t>& parts, int head_dim,
                   const RopeTile& rope, float* out) const {
    kernels().load_keys_int(bits_, parts.codes, parts.scales, parts.minima, group_, head_dim,
                            o_.hadamard ? hadamard_block(head_dim) : 1, rope.cos, rope.sin,
                            rope.rotary_dim, out);
  }
  // With float scales products are not fused: the published codecs round twice.
  void unpack_keys(const Parts<const uint8_t, const float>& parts, int head_dim,
                   const RopeTile& rope, float* out) const {
    for (int g = 0; g * group_ < head_dim; ++g) {
      const int begin = g * group_;
      const CodeRows columns{.bits = bits_,
                             .value = CodeValue::kScaleThenAdd,
                             .codes = parts.codes + begin * column_bytes(),
                             .row_bytes = column_bytes(),
                             .scales = parts.scales + g * kTile,
                             .offsets = parts.minima + g * kTile,
                             .row_step = 0,
                             .step = 1};
      kernels().decode_rows(columns, std::min(group_, head_dim - begin), kTile, out + begin * kTile,
                            kTile);
    }
    if (rope.cos != nullptr)
      kernels().load_keys_f32(out, head_dim, rope.cos, rope.sin, rope.rotary_dim, out);
  }

  void unpack_values(const Parts<const uint8_t, const uint16_t>& parts, int n, int head_dim,
                     float* out) const {
    kernels().load_values_int(bits_, parts.codes, parts.scales, parts.minima, group_, n, head_dim,
                              out);
  }
  void unpack_values(const Parts<const uint8_t, const float>& parts, int n, int head_dim,
                     float* out) const {
    const int groups = static_cast<int>(n_groups(head_dim)), width = padded(head_dim);
    if (group_ * bits_ % 8 != 0) return unpack_odd_values(parts, n, head_dim, out);
    for (int g = 0; g < groups; ++g) {
      const int begin = g * group_;
      const CodeRows rows{.bits = bits_,
                          .value = CodeValue::kScaleThenAdd,
                          .codes = parts.codes + begin * bits_ / 8,
                          .row_bytes = static_cast<int64_t>(row_bytes(head_dim)),
                          .scales = parts.scales + g,
                          .offsets = parts.minima + g,
                          .row_step = groups,
                          .step = 0};
      kernels().decode_rows(rows, n, std::min(group_, head_dim - begin), out + begin, width);
    }
    clear_padding(n, head_dim, out);
  }

  // Groups that begin within a byte: the scales of a row are written out for every channel.
  void unpack_odd_values(const Parts<const uint8_t, const float>& parts, int n, int head_dim,
                         float* out) const {
    const int groups = static_cast<int>(n_groups(head_dim)), width = padded(head_dim);
    std::vector<float> scales(head_dim), minima(head_dim);
    for (int r = 0; r < n; ++r) {
      for (int d = 0; d < head_dim; ++d) {
        scales[d] = parts.scales[r * groups + d / group_];
        minima[d] = parts.minima[r * groups + d / group_];
      }
      const CodeRows row{.bits = bits_,
                         .value = CodeValue::kScaleThenAdd,
                         .codes = parts.codes + r * row_bytes(head_dim),
                         .scales = scales.data(),
                         .offsets = minima.data(),
                         .step = 1};
      kernels().decode_rows(row, 1, head_dim, out + r * width, width);
    }
    clear_padding(n, head_dim, out);
  }

  int64_t column_bytes() const { return int64_t{bits_} * kTile / 8; }
  size_t row_bytes(int head_dim) const { return (static_cast<size_t>(head_dim) * bits_ + 7) / 8; }
  // A whole number of the scales' bytes.
  size_t code_bytes(int head_dim) const { return row_bytes(head_dim) * kTile; }
  size_t n_groups(int head_dim) const {
    return static_cast<size_t>((head_dim + group_ - 1) / group_);
  }

  GroupCodecOptions o_;
  int bits_, group_;
};

}  // namespace

CodecPtr make_group_codec(const GroupCodecOptions& options) {
  KV_CHECK(options.group >= 1 && options.group <= kMaxGroup, "group {}", options.group);
  if (options.scales == GroupScales::kFloat) return std::make_shared<GroupCodec<Full>>(options);
  return std::make_shared<GroupCodec<Half>>(options);
}

}  // namespace kv
