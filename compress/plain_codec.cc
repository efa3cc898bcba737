// f32, f16, bf16: rows as they are, rounded to the type (to nearest, ties to even).
//
// Keys lie transposed, (head_dim, kTile), values row-major, (kTile, head_dim). f16 ends at +-65504:
// larger values, and infinities, are stored as that and not as infinity, which would turn whole
// attention rows into NaN. NaN stays NaN.
#include <algorithm>
#include <array>
#include <cstring>

#include "compress/method.h"
#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

constexpr float kLargestF16 = 65504.0f;
constexpr int kChunk = 64;  // channels converted at a time

class PlainCodec : public KvCodec {
 public:
  explicit PlainCodec(DType dtype) : dtype_(dtype) {}

  std::string spec() const override { return dtype_name(dtype_); }
  double bits_per_value(int) const override {
    return 8.0 * static_cast<double>(dtype_bytes(dtype_));
  }
  size_t key_tile_bytes(int head_dim) const override {
    return static_cast<size_t>(head_dim) * kTile * dtype_bytes(dtype_);
  }
  size_t value_tile_bytes(int head_dim) const override { return key_tile_bytes(head_dim); }

  void encode_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                   std::byte* tile) const override {
    for (int i = 0; i < n; ++i) {
      const float* row = rows + i * stride;
      if (dtype_ == DType::kF32) {
        float* column = reinterpret_cast<float*>(tile) + first + i;
        for (int d = 0; d < head_dim; ++d) column[d * kTile] = row[d];
        continue;
      }
      uint16_t* column = reinterpret_cast<uint16_t*>(tile) + first + i;
      std::array<uint16_t, kChunk> half;
      for (int d = 0; d < head_dim; d += kChunk) {
        const int m = std::min(kChunk, head_dim - d);
        convert(row + d, m, half.data());
        for (int c = 0; c < m; ++c) column[(d + c) * kTile] = half[c];
      }
    }
  }

  void encode_values(const float* rows, int64_t stride, int first, int n, int head_dim,
                     std::byte* tile) const override {
    for (int i = 0; i < n; ++i) {
      const float* row = rows + i * stride;
      const int64_t start = static_cast<int64_t>(first + i) * head_dim;
      if (dtype_ == DType::kF32) {
        std::memcpy(reinterpret_cast<float*>(tile) + start, row, head_dim * sizeof(float));
        continue;
      }
      uint16_t* out = reinterpret_cast<uint16_t*>(tile) + start;
      for (int d = 0; d < head_dim; d += kChunk) {
        convert(row + d, std::min(kChunk, head_dim - d), out + d);
      }
    }
  }

  void copy_key(const std::byte* source, int from, int head_dim, std::byte* target,
                int to) const override {
    if (dtype_ == DType::kF32) {
      copy_column<float>(source, from, head_dim, target, to);
    } else {
      copy_column<uint16_t>(source, from, head_dim, target, to);
    }
  }

  void copy_value(const std::byte* source, int from, int head_dim, std::byte* target,
                  int to) const override {
    const size_t row = head_dim * dtype_bytes(dtype_);
    std::memcpy(target + to * row, source + from * row, row);
  }

  const float* load_keys(const std::byte* tile, int, int head_dim, const RopeTile& rope,
                         float* scratch) const override {
    if (dtype_ == DType::kF32 && rope.cos == nullptr) return reinterpret_cast<const float*>(tile);
    const Kernels& k = kernels();
    call(k.load_keys_f32, k.load_keys_f16, k.load_keys_bf16, tile, head_dim, rope.cos, rope.sin,
         rope.rotary_dim, scratch);
    return scratch;
  }

  void score_keys(const std::byte* tile, int n, int head_dim, const RopeTile& rope,
                  const KeyProduct& product, float* scratch) const override {
    const bool is_loaded = dtype_ == DType::kF32 && rope.cos == nullptr;
    if (is_loaded || product.n_rows > kFewRows || rope.rotary_dim > kMaxScoredRotary)
      return KvCodec::score_keys(tile, n, head_dim, rope, product, scratch);
    const Kernels& k = kernels();
    call(k.score_keys_f32, k.score_keys_f16, k.score_keys_bf16, tile, head_dim, rope.cos, rope.sin,
         rope.rotary_dim, product);
  }

  void weigh_values(const std::byte* tile, int n, int head_dim, const ValueProduct& product,
                    float* scratch) const override {
    if (product.n_rows > kFewRows || head_dim % kPanel != 0)
      return KvCodec::weigh_values(tile, n, head_dim, product, scratch);
    const Kernels& k = kernels();
    call(k.weigh_values_f32, k.weigh_values_f16, k.weigh_values_bf16, tile, n, head_dim, product);
  }

  const float* load_values(const std::byte* tile, int n, int head_dim,
                           float* scratch) const override {
    if (dtype_ == DType::kF32 && head_dim % kPanel == 0)
      return reinterpret_cast<const float*>(tile);
    const Kernels& k = kernels();
    call(k.load_values_f32, k.load_values_f16, k.load_values_bf16, tile, n, head_dim, scratch);
    return scratch;
  }

 private:
  // The kernel of this type, on a tile.
  template <typename Floats, typename Halves, typename... Args>
  void call(Floats* f32, Halves* f16, Halves* bf16, const std::byte* tile,
            const Args&... args) const {
    if (dtype_ == DType::kF32) {
      f32(reinterpret_cast<const float*>(tile), args...);
    } else {
      (dtype_ == DType::kF16 ? f16 : bf16)(reinterpret_cast<const uint16_t*>(tile), args...);
    }
  }

  template <typename T>
  static void copy_column(const std::byte* source, int from, int head_dim, std::byte* target,
                          int to) {
    const T* in = reinterpret_cast<const T*>(source) + from;
    T* out = reinterpret_cast<T*>(target) + to;
    for (int d = 0; d < head_dim; ++d) out[d * kTile] = in[d * kTile];
  }

  // n <= kChunk.
  void convert(const float* x, int n, uint16_t* out) const {
    if (dtype_ == DType::kBF16) return kernels().to_bf16(x, n, out);
    std::array<float, kChunk> limited;
    // Compared in this order NaN passes, and each line is one instruction for several values.
    for (int i = 0; i < n; ++i) limited[i] = kLargestF16 < x[i] ? kLargestF16 : x[i];
    for (int i = 0; i < n; ++i) limited[i] = -kLargestF16 > limited[i] ? -kLargestF16 : limited[i];
    kernels().to_f16(limited.data(), n, out);
  }

  DType dtype_;
};

Method plain_method(DType dtype, const std::string& doc) {
  Method method;
  method.info.name = dtype_name(dtype);
  method.info.kind = "codec";
  method.info.doc = doc;
  method.make_codec = [dtype](const Params&, const std::string&) -> CodecPtr {
    return std::make_shared<PlainCodec>(dtype);
  };
  return method;
}

}  // namespace

Method f32_method() {
  return plain_method(DType::kF32, "rows in 32-bit floats");
}
Method f16_method() {
  return plain_method(DType::kF16, "rows in IEEE half floats");
}
Method bf16_method() {
  return plain_method(DType::kBF16, "rows in bfloat16");
}

CodecPtr plain_codec(const std::string& dtype) {
  for (const DType t : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (dtype == dtype_name(t)) return std::make_shared<PlainCodec>(t);
  }
  throw_usage("kv_dtype must be one of f32, f16, bf16, found '{}'{}", dtype,
              did_you_mean(dtype, {"f32", "f16", "bf16"}));
}

}  // namespace kv
