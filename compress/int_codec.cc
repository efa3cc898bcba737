// int8, int4, int2: group-wise asymmetric integers; our own codec, in the manner of KIVI (arXiv
// 2402.02750) but with groups along the channels of one row for keys and values alike, so that
// every row is encoded alone.
//
// The channels of a row are cut into groups of `group` (the last one may be shorter). For a group x
// of floats:
//
//   x   = clamp(x, -65504, 65504)
//   m   = largest half <= min(x)                        minimum
//   s   = smallest half >= (max(x) - m) / (2^bits - 1)  scale, taken in double
//   c_i = clamp(round_half_even((x_i - m) / s), 0, 2^bits - 1), taken in float; 0 where s = 0
//   stored value: fma(c_i, s, m)
//
// Rounding m down and s up keeps all of [min, max] inside [m, m + (2^bits - 1) s], so no value is
// cut off and
//
//   |stored - clamp(x)| <= s / 2   but for float rounding (1e-6 of the largest |x| of the group)
//
// also where the spread of the values is far below their size, or below the smallest half. A group
// that holds a NaN is stored as NaN throughout: a broken row stays visible.
//
// A tile: codes, then scales, then minima (layouts at load_keys_int and load_values_int in
// kernels/kernels.h). Codes take kTile * ceil(head_dim * bits / 8) bytes for keys too, so that a
// row's share of a tile is a whole number of bytes. Where group divides head_dim and codes fill
// their bytes this is bits + 32 / group bits for each value.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "compress/method.h"
#include "engine/error.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

constexpr float kLargestF16 = 65504.0f;
constexpr uint16_t kNanF16 = 0x7e00;
constexpr int kMaxGroup = 1024;

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

struct Group {
  uint16_t scale = 0, minimum = 0;  // half bits
  std::array<uint8_t, kMaxGroup> codes;
};

struct Range {
  float lo, hi;
  bool has_nan;
};

// Smallest and largest of n values, cut to what a half holds. The lanes only save time: the result
// is the same in any order.
Range range_of(const float* x, int n) {
  constexpr int kWidth = 8;
  float lo[kWidth], hi[kWidth];
  int nan[kWidth] = {};
  std::fill_n(lo, kWidth, kLargestF16);
  std::fill_n(hi, kWidth, -kLargestF16);
  const auto take = [&](int lane, float v) {
    lo[lane] = v < lo[lane] ? v : lo[lane];
    hi[lane] = v > hi[lane] ? v : hi[lane];
    nan[lane] |= static_cast<int>(v != v);
  };
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    for (int lane = 0; lane < kWidth; ++lane) take(lane, x[i + lane]);
  }
  for (; i < n; ++i) take(i % kWidth, x[i]);
  return {std::max(*std::min_element(lo, lo + kWidth), -kLargestF16),
          std::min(*std::max_element(hi, hi + kWidth), kLargestF16),
          std::any_of(nan, nan + kWidth, [](int found) { return found != 0; })};
}

// n values of one group.
void encode_group(const float* x, int n, int bits, Group& out) {
  const Range range = range_of(x, n);
  const auto largest_code = static_cast<float>((1 << bits) - 1);
  out.minimum = range.has_nan ? kNanF16 : half_at_most(range.lo);
  const float minimum = f16_to_float(out.minimum);
  out.scale = range.has_nan
                  ? uint16_t{0}
                  : half_at_least((static_cast<double>(range.hi) - minimum) / largest_code);
  const float scale = f16_to_float(out.scale);
  if (scale == 0) {
    for (int i = 0; i < n; ++i) out.codes[i] = 0;
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

// The code with index `index` of a little-endian bit string; the bits around it stay.
void put_code(uint8_t* string, int index, int bits, uint8_t code) {
  uint8_t& byte = string[index * bits / 8];
  const int shift = index * bits % 8;
  const int mask = ((1 << bits) - 1) << shift;
  byte = static_cast<uint8_t>((byte & ~mask) | (code << shift));
}

class IntCodec : public KvCodec {
 public:
  IntCodec(int bits, int group, std::string spec)
      : bits_(bits), group_(group), spec_(std::move(spec)) {}

  std::string spec() const override { return spec_; }
  double bits_per_value(int head_dim) const override {
    return 8.0 * static_cast<double>(key_tile_bytes(head_dim)) / (kTile * head_dim);
  }
  size_t key_tile_bytes(int head_dim) const override {
    return code_bytes(head_dim) + 2 * n_groups(head_dim) * kTile * sizeof(uint16_t);
  }
  size_t value_tile_bytes(int head_dim) const override { return key_tile_bytes(head_dim); }

  void encode_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                   std::byte* tile) const override {
    const Parts<uint8_t, uint16_t> parts = split<uint8_t, uint16_t>(tile, head_dim);
    const int column_bytes = bits_ * kTile / 8;
    Group group;
    for (int i = 0; i < n; ++i) {
      const int r = first + i;
      for (int g = 0; g * group_ < head_dim; ++g) {
        const int begin = g * group_, size = std::min(group_, head_dim - begin);
        encode_group(rows + i * stride + begin, size, bits_, group);
        for (int c = 0; c < size; ++c) {
          put_code(parts.codes + static_cast<int64_t>(begin + c) * column_bytes, r, bits_,
                   group.codes[c]);
        }
        parts.scales[g * kTile + r] = group.scale;
        parts.minima[g * kTile + r] = group.minimum;
      }
    }
  }

  void encode_values(const float* rows, int64_t stride, int first, int n, int head_dim,
                     std::byte* tile) const override {
    const Parts<uint8_t, uint16_t> parts = split<uint8_t, uint16_t>(tile, head_dim);
    const int groups = static_cast<int>(n_groups(head_dim));
    Group group;
    for (int i = 0; i < n; ++i) {
      const int r = first + i;
      uint8_t* row_codes = parts.codes + r * row_bytes(head_dim);
      for (int g = 0; g < groups; ++g) {
        const int begin = g * group_, size = std::min(group_, head_dim - begin);
        encode_group(rows + i * stride + begin, size, bits_, group);
        for (int c = 0; c < size; ++c) put_code(row_codes, begin + c, bits_, group.codes[c]);
        parts.scales[r * groups + g] = group.scale;
        parts.minima[r * groups + g] = group.minimum;
      }
    }
  }

  const float* load_keys(const std::byte* tile, int, int head_dim, const RopeTile& rope,
                         float* scratch) const override {
    const auto parts = split<const uint8_t, const uint16_t>(tile, head_dim);
    kernels().load_keys_int(bits_, parts.codes, parts.scales, parts.minima, group_, head_dim,
                            rope.cos, rope.sin, rope.rotary_dim, scratch);
    return scratch;
  }

  const float* load_values(const std::byte* tile, int n, int head_dim,
                           float* scratch) const override {
    const auto parts = split<const uint8_t, const uint16_t>(tile, head_dim);
    kernels().load_values_int(bits_, parts.codes, parts.scales, parts.minima, group_, n, head_dim,
                              scratch);
    return scratch;
  }

 private:
  template <typename Code, typename Half>
  struct Parts {
    Code* codes;
    Half* scales;
    Half* minima;
  };
  template <typename Code, typename Half, typename Byte>
  Parts<Code, Half> split(Byte* tile, int head_dim) const {
    auto* codes = reinterpret_cast<Code*>(tile);
    auto* scales = reinterpret_cast<Half*>(tile + code_bytes(head_dim));
    return {codes, scales, scales + n_groups(head_dim) * kTile};
  }

  size_t row_bytes(int head_dim) const { return (static_cast<size_t>(head_dim) * bits_ + 7) / 8; }
  size_t code_bytes(int head_dim) const { return row_bytes(head_dim) * kTile; }
  size_t n_groups(int head_dim) const {
    return static_cast<size_t>((head_dim + group_ - 1) / group_);
  }

  int bits_, group_;
  std::string spec_;
};

void refuse_planned(const Params& params, const std::string& name) {
  const auto refuse = [&](const char* key, const char* instead) {
    const Value& value = params.value(key);
    throw_usage("{}{}{}: {}={} is not in this build; leave the key out or write {}", value.place,
                value.place.empty() ? "" : ": ", name, key, format_value(value), instead);
  };
  if (params.string("keys") != "pre_rope") refuse("keys", "keys=pre_rope");
  if (params.boolean("hadamard")) refuse("hadamard", "hadamard=false");
}

Method int_method(int bits) {
  Method method;
  method.info.name = fmt::format("int{}", bits);
  method.info.kind = "codec";
  method.info.doc =
      fmt::format("rows in {}-bit integers, half scale and minimum for each group", bits);
  method.info.params = {
      integer_param("group", "32", "channels that share a scale and a minimum", 1, kMaxGroup),
      choice_param("keys", "pre_rope", "keys are stored before or after rotation",
                   {"pre_rope", "post_rope"}),
      bool_param("hadamard", "false", "mix the channels by a Hadamard transform first")};
  method.make_codec = [bits, name = method.info.name](const Params& params,
                                                      const std::string& spec) -> CodecPtr {
    refuse_planned(params, name);
    return std::make_shared<IntCodec>(bits, params.integer("group"), spec);
  };
  return method;
}

}  // namespace

Method int8_method() {
  return int_method(8);
}
Method int4_method() {
  return int_method(4);
}
Method int2_method() {
  return int_method(2);
}

}  // namespace kv
