// How rows of the cache are stored: the codec seam.
//
// The cache keeps rows in tiles of kTile rows, one tile of keys and one of values for each (layer,
// KV head). A codec encodes rows into a tile and hands tiles to attention as float: keys transposed
// and (unless stored rotated) rotated at their positions on the way, values row-major. What is
// handed out lies in L1-sized scratch (or is the tile itself) and is never written back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/prefetch.h"

namespace kv {

class LayerCodec;

// cos and sin of the rows of one tile, (rotary_dim / 2, kTile) each; null cos: do not rotate.
struct RopeTile {
  const float* cos = nullptr;
  const float* sin = nullptr;
  int rotary_dim = 0;
};

// How many of a head's first rows are stored as codes; keys and values may differ.
struct CodedRows {
  int keys = 0, values = 0;
};

// Largest |x| over all tokens and KV heads of the rows that enter a layer together.
struct BlockRange {
  float keys = 0, values = 0;
};

// Of keys (head_dim, kTile) and values (n, padded(head_dim)) that are floats already.
void score_loaded_keys(const float* keys, int head_dim, const KeyProduct& product);
void weigh_loaded_values(const float* values, int n, int head_dim, const ValueProduct& product);

class KvCodec {
 public:
  virtual ~KvCodec() = default;

  virtual std::string spec() const = 0;  // canonical: "int4(group=32,keys=pre_rope,hadamard=false)"
  virtual double bits_per_value(int head_dim) const = 0;  // scales included; nominal, for people

  // Bytes of a tile of kTile rows; a multiple of kTile, so that one row takes tile_bytes / kTile.
  virtual size_t key_tile_bytes(int head_dim) const = 0;
  virtual size_t value_tile_bytes(int head_dim) const = 0;

  // Throws Error(kUsage) where this head size cannot be stored, with the reason.
  virtual void check_head_dim(int head_dim) const { (void)head_dim; }

  // What a codec may ask of the engine beyond coding rows; the defaults ask for nothing.

  // True: keys are rotated at their original position before encoding, and never again.
  virtual bool stores_rotated_keys() const { return false; }
  // True: the prompt's own attention reads codes, so the prompt is prefilled with this codec.
  virtual bool acts_on_prompt() const { return false; }
  // True: rows that enter together (a prompt, a suffix, one token) share their scales, so that they
  // must come in one pass; they are encoded by encode_block_*.
  virtual bool codes_blocks() const { return false; }
  // True: the newest rows stay in the prompt's codec until coded_rows() says otherwise, counted
  // after every single token: a pass holds one token of a sequence.
  virtual bool keeps_residual() const { return false; }
  virtual CodedRows coded_rows(int n_rows) const { return {n_rows, n_rows}; }
  // Not null: all rows of a layer are coded together, through this instead of the functions below.
  virtual const LayerCodec* layer_codec() const { return nullptr; }

  // Encodes n rows, row i at rows + i * stride (head_dim floats), as rows first .. first + n - 1 of
  // the tile. Rows are independent of each other: encoding one by one gives the same bytes (but for
  // codecs with residual rows, which code what coded_rows() adds at a time). Other rows of the tile
  // stay as they are.
  virtual void encode_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                           std::byte* tile) const = 0;
  virtual void encode_values(const float* rows, int64_t stride, int first, int n, int head_dim,
                             std::byte* tile) const = 0;

  // With codes_blocks().
  virtual void encode_block_keys(const float* rows, int64_t stride, int first, int n, int head_dim,
                                 float largest, std::byte* tile) const {
    (void)largest;
    encode_keys(rows, stride, first, n, head_dim, tile);
  }
  virtual void encode_block_values(const float* rows, int64_t stride, int first, int n,
                                   int head_dim, float largest, std::byte* tile) const {
    (void)largest;
    encode_values(rows, stride, first, n, head_dim, tile);
  }

  // Row `from` of one tile becomes row `to` of another or of the same, code for code. Not with
  // keeps_residual().
  virtual void copy_key(const std::byte* source, int from, int head_dim, std::byte* target,
                        int to) const {
    (void)source, (void)from, (void)head_dim, (void)target, (void)to;
  }
  virtual void copy_value(const std::byte* source, int from, int head_dim, std::byte* target,
                          int to) const {
    (void)source, (void)from, (void)head_dim, (void)target, (void)to;
  }

  // Rows 0 .. n - 1 as float. Keys: (head_dim, kTile), rotated by rope; columns >= n are finite but
  // meaningless. Values: (n, padded(head_dim)), padding columns 0. Returns scratch or a pointer
  // into the tile; scratch has padded(head_dim) * kTile floats.
  virtual const float* load_keys(const std::byte* tile, int n, int head_dim, const RopeTile& rope,
                                 float* scratch) const = 0;
  virtual const float* load_values(const std::byte* tile, int n, int head_dim,
                                   float* scratch) const = 0;

  // What attention takes of a tile; the same bits for any number of query rows. A codec that can
  // multiply its codes as it reads them says how.
  virtual void score_keys(const std::byte* tile, int n, int head_dim, const RopeTile& rope,
                          const KeyProduct& product, float* scratch) const {
    prefetch(product.next, key_tile_bytes(head_dim));
    score_loaded_keys(load_keys(tile, n, head_dim, rope, scratch), head_dim, product);
  }
  virtual void weigh_values(const std::byte* tile, int n, int head_dim, const ValueProduct& product,
                            float* scratch) const {
    prefetch(product.next, value_tile_bytes(head_dim));
    weigh_loaded_values(load_values(tile, n, head_dim, scratch), n, head_dim, product);
  }
  // True: weigh_values takes the values with their channels mixed, as they were coded. unmix(), which is
  // linear, then turns sums of such products over many tiles, (n_rows, padded(head_dim)), into sums of
  // what load_values gives.
  virtual bool mixes_values() const { return false; }
  virtual void unmix(float* sums, int n_rows, int head_dim) const {
    (void)sums, (void)n_rows, (void)head_dim;
  }
};

using CodecPtr = std::shared_ptr<const KvCodec>;

// Scale and offset of each group of one layer's keys or values; how they apply is the codec's.
struct LayerGroups {
  int64_t n_rows = 0;  // of all heads together
  std::vector<float> scales, offsets;
};

// A codec whose groups reach over the rows and KV heads of a layer. Rows of a layer are counted
// through its heads: all rows of head 0, then those of head 1, …; keys and values by themselves. The
// newest rows of every head stay in the prompt's codec until recodes() says that the whole layer is
// coded again: what was coded before, as it decodes, together with them.
class LayerCodec : public KvCodec {
 public:
  const LayerCodec* layer_codec() const override { return this; }
  bool keeps_residual() const override { return true; }

  // Of a head with n_rows rows of which n_coded are codes; asked after the prompt (n_coded = 0) and
  // after every token.
  virtual bool recodes(int n_coded, int n_rows) const = 0;
  // Throws Error(kUsage) where that many rows of a layer cannot be cut into groups, with what could.
  virtual void check_rows(int64_t n_rows, int n_kv_heads, int head_dim) const = 0;
  // Groups that so many rows make.
  virtual int64_t n_groups(int64_t n_rows, int head_dim) const = 0;
  // rows (n_rows, head_dim) to codes of the same shape, one byte each.
  virtual LayerGroups encode_layer(const float* rows, int64_t n_rows, int head_dim,
                                   uint8_t* codes) const = 0;
  // Codes (n, head_dim) as rows 0 .. n - 1 of a tile of keys or values.
  virtual void pack(const uint8_t* codes, int n, int head_dim, std::byte* tile) const = 0;

  // As load_keys and load_values; the tile's first row is row `first` of the layer.
  virtual const float* load_layer_keys(const std::byte* tile, const LayerGroups& groups,
                                       int64_t first, int n, int head_dim, const RopeTile& rope,
                                       float* scratch) const = 0;
  virtual const float* load_layer_values(const std::byte* tile, const LayerGroups& groups,
                                         int64_t first, int n, int head_dim,
                                         float* scratch) const = 0;
  // The bits of load_layer_values and weigh_loaded_values.
  virtual void weigh_layer_values(const std::byte* tile, const LayerGroups& groups, int64_t first,
                                  int n, int head_dim, const ValueProduct& product,
                                  float* scratch) const = 0;

 private:
  // Rows alone have no scales.
  void encode_keys(const float*, int64_t, int, int, int, std::byte*) const final { std::abort(); }
  void encode_values(const float*, int64_t, int, int, int, std::byte*) const final { std::abort(); }
  const float* load_keys(const std::byte*, int, int, const RopeTile&, float*) const final {
    std::abort();
  }
  const float* load_values(const std::byte*, int, int, float*) const final { std::abort(); }
};

}  // namespace kv
