// kivi4, kivi2: KIVI (Liu et al. 2024, arXiv 2402.02750). Keys after RoPE in groups of `group` tokens
// of one channel, values in groups of `group` channels of one token, each with
//
//   m = min, s = (max - min) / (2^bits - 1), q = round_half_even(clamp((x - m) / s, 0, 2^bits - 1))
//   stored value: q * s + m;  0 for q where s = 0
//
// and the newest rows in full: with n rows in a head, the first n - n mod residual keys and the first
// n - residual values are codes, settled after the prompt's exact attention and again after every
// token. Nothing is ever coded twice.
//
// A tile of keys: (head_dim) columns of kTile codes, then scales and minima (head_dim, kTile /
// group). Values: as group_codec.cc lays them out.
#include <algorithm>
#include <cmath>

#include "compress/codes.h"
#include "compress/group_codec.h"
#include "compress/method.h"
#include "engine/error.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

struct KiviOptions {
  int bits = 2, group = 32, residual = 128;
  bool float_scales = false;
  std::string spec;
};

class KiviCodec : public KvCodec {
 public:
  explicit KiviCodec(const KiviOptions& options) : o_(options) {
    GroupCodecOptions values;
    values.bits = o_.bits;
    values.group = o_.group;
    values.scales = o_.float_scales ? GroupScales::kFloat : GroupScales::kHalf;
    values.whole_groups = true;
    values.spec = o_.spec;
    values_ = make_group_codec(values);
  }

  std::string spec() const override { return o_.spec; }
  // Of the coded rows.
  double bits_per_value(int head_dim) const override {
    return 8.0 * static_cast<double>(value_tile_bytes(head_dim)) / (kTile * head_dim);
  }
  bool stores_rotated_keys() const override { return true; }
  bool keeps_residual() const override { return true; }
  CodedRows coded_rows(int n_rows) const override {
    return {n_rows - n_rows % o_.residual, std::max(0, n_rows - o_.residual)};
  }
  void check_head_dim(int head_dim) const override { values_->check_head_dim(head_dim); }

  size_t key_tile_bytes(int head_dim) const override {
    return code_bytes(head_dim) + 2 * n_scales(head_dim) * scale_bytes();
  }
  size_t value_tile_bytes(int head_dim) const override {
    return values_->value_tile_bytes(head_dim);
  }

  // Whole groups of rows only.
  void encode_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                   std::byte* tile) const override {
    KV_CHECK(first % o_.group == 0 && n % o_.group == 0, "rows {}+{} in groups of {}", first, n,
             o_.group);
    for (int g = 0; g < n; g += o_.group) {
      for (int d = 0; d < head_dim; ++d)
        encode_channel(rows + g * stride + d, stride, first + g, d, head_dim, tile);
    }
  }
  void encode_values(const float* rows, int64_t stride, int first, int n, int head_dim,
                     std::byte* tile) const override {
    values_->encode_values(rows, stride, first, n, head_dim, tile);
  }

  const float* load_keys(const std::byte* tile, int, int head_dim, const RopeTile& rope,
                         float* scratch) const override {
    const auto* codes = reinterpret_cast<const uint8_t*>(tile);
    if (o_.float_scales) {
      load_float_keys(tile, head_dim, scratch);
    } else {
      const auto* scales = reinterpret_cast<const uint16_t*>(tile + code_bytes(head_dim));
      kernels().load_keys_channels(o_.bits, codes, scales, scales + n_scales(head_dim), o_.group,
                                   head_dim, scratch);
    }
    if (rope.cos != nullptr)
      kernels().load_keys_f32(scratch, head_dim, rope.cos, rope.sin, rope.rotary_dim, scratch);
    return scratch;
  }
  const float* load_values(const std::byte* tile, int n, int head_dim,
                           float* scratch) const override {
    return values_->load_values(tile, n, head_dim, scratch);
  }
  void weigh_values(const std::byte* tile, int n, int head_dim, const ValueProduct& product,
                    float* scratch) const override {
    values_->weigh_values(tile, n, head_dim, product, scratch);
  }

 private:
  // One group of rows of channel d: x[i * stride], from row `first` of the tile.
  void encode_channel(const float* x, int64_t stride, int first, int d, int head_dim,
                      std::byte* tile) const {
    float lo = x[0], hi = x[0];
    for (int i = 1; i < o_.group; ++i) {
      lo = std::min(lo, x[i * stride]);
      hi = std::max(hi, x[i * stride]);
    }
    const auto top = static_cast<float>((1 << o_.bits) - 1);
    float scale = (hi - lo) / top, minimum = lo;
    const int at = d * (kTile / o_.group) + first / o_.group;
    std::byte* stored = tile + code_bytes(head_dim);
    if (o_.float_scales) {
      reinterpret_cast<float*>(stored)[at] = scale;
      reinterpret_cast<float*>(stored)[n_scales(head_dim) + at] = minimum;
    } else {
      const uint16_t half_scale = float_to_f16(scale), half_minimum = float_to_f16(minimum);
      reinterpret_cast<uint16_t*>(stored)[at] = half_scale;
      reinterpret_cast<uint16_t*>(stored)[n_scales(head_dim) + at] = half_minimum;
      scale = f16_to_float(half_scale);
      minimum = f16_to_float(half_minimum);
    }
    auto* column = reinterpret_cast<uint8_t*>(tile) + d * column_bytes();
    for (int i = 0; i < o_.group; ++i) {
      const float code =
          scale > 0 ? std::nearbyint(std::clamp((x[i * stride] - minimum) / scale, 0.0f, top)) : 0;
      put_code(column, first + i, o_.bits, static_cast<uint8_t>(code));
    }
  }

  void load_float_keys(const std::byte* tile, int head_dim, float* out) const {
    const auto* codes = reinterpret_cast<const uint8_t*>(tile);
    const auto* scales = reinterpret_cast<const float*>(tile + code_bytes(head_dim));
    const float* minima = scales + n_scales(head_dim);
    const int groups = kTile / o_.group;
    for (int g = 0; g < groups; ++g) {
      const int r = g * o_.group;
      const CodeRows columns{.bits = o_.bits,
                             .value = CodeValue::kScaleThenAdd,
                             .codes = codes + r * o_.bits / 8,
                             .row_bytes = column_bytes(),
                             .scales = scales + g,
                             .offsets = minima + g,
                             .row_step = groups,
                             .step = 0};
      kernels().decode_rows(columns, head_dim, o_.group, out + r, kTile);
    }
  }

  int64_t column_bytes() const { return int64_t{o_.bits} * kTile / 8; }
  size_t code_bytes(int head_dim) const { return static_cast<size_t>(head_dim * column_bytes()); }
  size_t n_scales(int head_dim) const { return static_cast<size_t>(head_dim) * (kTile / o_.group); }
  size_t scale_bytes() const { return o_.float_scales ? sizeof(float) : sizeof(uint16_t); }

  KiviOptions o_;
  CodecPtr values_;
};

void check_options(const KiviOptions& o, const Params& params) {
  if (kTile % o.group != 0 || o.group < 4) {
    throw_usage("{}: group={}: expected 4, 8, 16 or 32 (keys are grouped inside tiles of {} rows)",
                params.value("group").place, o.group, kTile);
  }
  if (o.residual % o.group != 0) {
    throw_usage("{}: residual={}: expected a multiple of group={}", params.value("residual").place,
                o.residual, o.group);
  }
}

Method kivi_method(int bits) {
  Method method;
  method.info.name = fmt::format("kivi{}", bits);
  method.info.kind = "codec";
  method.info.doc = fmt::format(
      "{}-bit keys by channel and values by token, after RoPE; the newest rows in full", bits);
  method.info.paper = "arXiv 2402.02750";
  method.info.params = {
      integer_param("group", "32", "tokens (keys) or channels (values) that share a scale", 4,
                    kTile),
      integer_param("residual", "128", "rows that stay in full", 4), scales_param()};
  method.make_codec = [bits](const Params& params, const std::string& spec) -> CodecPtr {
    KiviOptions options;
    options.bits = bits;
    options.group = params.integer("group");
    options.residual = params.integer("residual");
    options.float_scales = params.string("scales") == "f32";
    options.spec = spec;
    check_options(options, params);
    return std::make_shared<KiviCodec>(options);
  };
  return method;
}

}  // namespace

Method kivi4_method() {
  return kivi_method(4);
}
Method kivi2_method() {
  return kivi_method(2);
}

}  // namespace kv
