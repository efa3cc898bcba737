// The rows of one sequence whose method acts at every step: what they are, which of them a query
// sees, what leaves after a token. A KvCache holds one of these in the place of rows that only grow.
//
// Within a pass each layer's rows are appended, then attended to; advance() ends the pass.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/kv_codec.h"
#include "engine/step_rules.h"

namespace kv {

struct AttentionInput;
struct ModelConfig;
class PageRef;
class RopeTable;

// All that the tokens of a sequence changed in its rows, as flat numbers, for files. What each of them
// means is the method's.
struct StepMemory {
  struct Part {  // of one (layer, KV head); what a layer has lies with its first head
    std::vector<int32_t> numbers;
    std::vector<float> floats;
    std::vector<PageRef> pages;
  };
  std::vector<int32_t> sizes;  // of the whole sequence
  std::vector<Part> parts;     // (n_layers, n_kv_heads)
};

class StepRows {
 public:
  virtual ~StepRows() = default;

  virtual std::unique_ptr<StepRows> copy() const = 0;  // pages are shared until one of both writes
  virtual const StepRules& rules() const = 0;

  // The most tokens that a pass of the prompt may hold where the session would take `wanted`, and of
  // any pass after the prompt. So far and no further the cut into passes does not show.
  virtual int prompt_pass(int wanted) const = 0;
  virtual bool single_tokens() const = 0;  // after the prompt a pass holds one token
  // RoPE positions that queries and keys can stand at in a pass of n tokens: 0 .. this - 1.
  virtual int positions(int n) const = 0;

  // n rows of one head: keys before RoPE and values, row i at keys + i * stride.
  virtual void append(int layer, int kv_head, const float* keys, const float* values,
                      int64_t stride, int n) = 0;
  // The attention of the rows just appended, as attend() for other caches. Uses all threads.
  virtual void attend(const ModelConfig& config, const RopeTable& rope, int layer,
                      const AttentionInput& input) = 0;
  virtual void advance() = 0;

  // Tokens whose rows are still held, by any query head of the group, rising.
  virtual std::vector<int32_t> held(int layer, int kv_head) const = 0;
  // Rows that one query sees at most, over all layers and KV heads.
  virtual int64_t rows_seen() const = 0;
  virtual size_t bytes_in_use() const = 0;     // rows held and what the method remembers of them
  virtual size_t bytes_allocated() const = 0;  // the same with whole pages

  virtual StepMemory memory() const = 0;
  // Takes over what memory() of rows under the same rules gave, after n_tokens tokens; false where it
  // does not fit. Pages are as large as the codec's.
  virtual bool remember(StepMemory memory, int n_tokens) = 0;
};

// StepRows as a value: a copy has rows of its own.
class StepRowsPtr {
 public:
  StepRowsPtr() = default;
  explicit StepRowsPtr(std::unique_ptr<StepRows> rows) : rows_(std::move(rows)) {}
  StepRowsPtr(const StepRowsPtr& other) : rows_(other.rows_ ? other.rows_->copy() : nullptr) {}
  StepRowsPtr(StepRowsPtr&&) noexcept = default;
  StepRowsPtr& operator=(StepRowsPtr other) noexcept {
    rows_.swap(other.rows_);
    return *this;
  }
  StepRows* get() const { return rows_.get(); }

 private:
  std::unique_ptr<StepRows> rows_;
};

// For rules that act on the prompt: no rows yet, of a prompt of n_prompt tokens. Throws Error(kUsage)
// where the rules cannot work on this model.
std::unique_ptr<StepRows> make_step_rows(const ModelConfig& config, const CodecPtr& codec,
                                         const StepPtr& rules, int n_prompt);

// Rows of any rules, to be filled by remember().
std::unique_ptr<StepRows> make_empty_step_rows(const ModelConfig& config, const CodecPtr& codec,
                                               const StepPtr& rules);

}  // namespace kv
