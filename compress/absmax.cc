// absmax8, absmax4, absmax2: kv-canary's quantised cache. Everything that enters a layer together (the
// prompt, a suffix, one token) is a block with one scale for its keys and one for its values, over
// all tokens and KV heads:
//
//   qmax = 2^(bits-1) - 1,  s = max(max|x|, 1e-8) / qmax,  q = clamp(round_half_even(x / s), -qmax-1, qmax)
//   stored value: q * s
//
// Keys are coded after RoPE, and the prompt's own attention reads the codes already. Coarse on
// purpose: it is here to reproduce kv-canary's numbers.
//
// A tile: the codes q + qmax + 1, then the scale of each row's block in float32, once for each row, so
// that rows can be evicted and moved alone; these bytes are counted. Keys: (head_dim) columns of kTile
// codes; values: kTile rows of codes.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "compress/codes.h"
#include "compress/method.h"
#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

class AbsmaxCodec : public KvCodec {
 public:
  AbsmaxCodec(int bits, std::string spec) : bits_(bits), spec_(std::move(spec)) {}

  std::string spec() const override { return spec_; }
  double bits_per_value(int head_dim) const override {
    return 8.0 * static_cast<double>(key_tile_bytes(head_dim)) / (kTile * head_dim);
  }
  bool stores_rotated_keys() const override { return true; }
  bool acts_on_prompt() const override { return true; }
  bool codes_blocks() const override { return true; }

  size_t key_tile_bytes(int head_dim) const override {
    return (row_bytes(head_dim) + sizeof(float)) * kTile;
  }
  size_t value_tile_bytes(int head_dim) const override { return key_tile_bytes(head_dim); }

  void encode_block_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                         float largest, std::byte* tile) const override {
    auto* codes = reinterpret_cast<uint8_t*>(tile);
    const float scale = scale_of(largest);
    for (int i = 0; i < n; ++i) {
      for (int d = 0; d < head_dim; ++d)
        put_code(codes + d * column_bytes(), first + i, bits_,
                 code_of(rows[i * stride + d], scale));
    }
    std::fill_n(scales(tile, head_dim) + first, n, scale);
  }
  void encode_block_values(const float* rows, int64_t stride, int first, int n, int head_dim,
                           float largest, std::byte* tile) const override {
    auto* codes = reinterpret_cast<uint8_t*>(tile) + first * row_bytes(head_dim);
    const float scale = scale_of(largest);
    for (int i = 0; i < n; ++i, codes += row_bytes(head_dim)) {
      for (int d = 0; d < head_dim; ++d)
        put_code(codes, d, bits_, code_of(rows[i * stride + d], scale));
    }
    std::fill_n(scales(tile, head_dim) + first, n, scale);
  }
  // Rows alone are a block of one head.
  void encode_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                   std::byte* tile) const override {
    encode_block_keys(rows, stride, first, n, head_dim, largest_of(rows, stride, n, head_dim),
                      tile);
  }
  void encode_values(const float* rows, int64_t stride, int first, int n, int head_dim,
                     std::byte* tile) const override {
    encode_block_values(rows, stride, first, n, head_dim, largest_of(rows, stride, n, head_dim),
                        tile);
  }

  void copy_key(const std::byte* source, int from, int head_dim, std::byte* target,
                int to) const override {
    const auto* codes = reinterpret_cast<const uint8_t*>(source);
    auto* copied = reinterpret_cast<uint8_t*>(target);
    for (int d = 0; d < head_dim; ++d) {
      const int64_t column = d * column_bytes();
      put_code(copied + column, to, bits_, get_code(codes + column, from, bits_));
    }
    scales(target, head_dim)[to] = scales(source, head_dim)[from];
  }
  void copy_value(const std::byte* source, int from, int head_dim, std::byte* target,
                  int to) const override {
    const size_t bytes = row_bytes(head_dim);
    std::memcpy(target + to * bytes, source + from * bytes, bytes);
    scales(target, head_dim)[to] = scales(source, head_dim)[from];
  }

  const float* load_keys(const std::byte* tile, int, int head_dim, const RopeTile& rope,
                         float* scratch) const override {
    const auto* codes = reinterpret_cast<const uint8_t*>(tile);
    const Middles middles = all_middles();
    const CodeRows columns{.bits = bits_,
                           .value = CodeValue::kSubtractThenScale,
                           .codes = codes,
                           .row_bytes = column_bytes(),
                           .scales = scales(tile, head_dim),
                           .offsets = middles.data(),
                           .row_step = 0,
                           .step = 1};
    kernels().decode_rows(columns, head_dim, kTile, scratch, kTile);
    if (rope.cos != nullptr)
      kernels().load_keys_f32(scratch, head_dim, rope.cos, rope.sin, rope.rotary_dim, scratch);
    return scratch;
  }
  const float* load_values(const std::byte* tile, int n, int head_dim,
                           float* scratch) const override {
    const int width = padded(head_dim);
    const Middles middles = all_middles();
    kernels().decode_rows(value_rows(tile, head_dim, middles), n, head_dim, scratch, width);
    for (int r = 0; r < n && head_dim < width; ++r)
      std::fill(scratch + r * width + head_dim, scratch + (r + 1) * width, 0.0f);
    return scratch;
  }
  void weigh_values(const std::byte* tile, int n, int head_dim, const ValueProduct& product,
                    float* scratch) const override {
    if (head_dim % kPanel != 0 || product.n_rows > kFewRows)
      return KvCodec::weigh_values(tile, n, head_dim, product, scratch);
    prefetch(product.next, value_tile_bytes(head_dim));
    const Middles middles = all_middles();
    kernels().weigh_rows(value_rows(tile, head_dim, middles), n, head_dim, product.weights,
                         product.stride, product.n_rows, product.out, head_dim, product.accumulate);
  }

 private:
  int largest_code() const { return (1 << (bits_ - 1)) - 1; }
  float scale_of(float largest) const {
    return std::max(largest, 1e-8f) / static_cast<float>(largest_code());
  }
  uint8_t code_of(float x, float scale) const {
    const auto top = static_cast<float>(largest_code());
    const float q = std::clamp(std::nearbyint(x / scale), -top - 1, top);
    return static_cast<uint8_t>(static_cast<int>(q) + largest_code() + 1);
  }
  static float largest_of(const float* rows, int64_t stride, int n, int head_dim) {
    float largest = 0;
    for (int i = 0; i < n; ++i) {
      for (int d = 0; d < head_dim; ++d)
        largest = std::max(largest, std::abs(rows[i * stride + d]));
    }
    return largest;
  }
  // The code of 0.
  float middle() const { return static_cast<float>(largest_code() + 1); }
  using Middles = std::array<float, kTile>;
  Middles all_middles() const {
    Middles middles;
    middles.fill(middle());
    return middles;
  }
  CodeRows value_rows(const std::byte* tile, int head_dim, const Middles& middles) const {
    return {.bits = bits_,
            .value = CodeValue::kSubtractThenScale,
            .codes = reinterpret_cast<const uint8_t*>(tile),
            .row_bytes = static_cast<int64_t>(row_bytes(head_dim)),
            .scales = scales(tile, head_dim),
            .offsets = middles.data(),
            .row_step = 1,
            .step = 0};
  }

  int64_t column_bytes() const { return int64_t{bits_} * kTile / 8; }
  // Rounded up so that the scales behind the codes stay aligned.
  size_t row_bytes(int head_dim) const { return (static_cast<size_t>(head_dim) * bits_ + 7) / 8; }
  float* scales(std::byte* tile, int head_dim) const {
    return reinterpret_cast<float*>(tile + row_bytes(head_dim) * kTile);
  }
  const float* scales(const std::byte* tile, int head_dim) const {
    return reinterpret_cast<const float*>(tile + row_bytes(head_dim) * kTile);
  }

  int bits_;
  std::string spec_;
};

Method absmax_method(int bits) {
  Method method;
  method.info.name = fmt::format("absmax{}", bits);
  method.info.kind = "codec";
  method.info.doc = fmt::format(
      "kv-canary's {}-bit cache: one scale for a whole block of a layer; the prompt sees it too",
      bits);
  method.make_codec = [bits](const Params&, const std::string& spec) -> CodecPtr {
    return std::make_shared<AbsmaxCodec>(bits, spec);
  };
  return method;
}

}  // namespace

Method absmax8_method() {
  return absmax_method(8);
}
Method absmax4_method() {
  return absmax_method(4);
}
Method absmax2_method() {
  return absmax_method(2);
}

}  // namespace kv
