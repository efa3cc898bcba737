// Which rows of the cache stay after the prompt, or while tokens come: the policy seam.
//
// A policy declares what it needs and is shown just that, one layer at a time, after the prompt's
// exact prefill. It answers with the rows that stay, in each KV head; the engine then moves them
// (engine/compression.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kv {

// The model repeats the prompt piece by piece over its own cache, and every row's largest attention
// from the repeating tokens is noted (engine/repeat.h).
struct RepeatNeeds {
  int sinks = 0;      // first rows that compete in the softmax beside the piece
  int chunk = 0;      // tokens of a piece
  bool plus = false;  // weights times ||V_j W_O||_2 / ||attention input of the repeating token||_2
  // Tokens: what the prompt begins with and is not repeated, what ends the user's turn, what asks for
  // the first and for a later piece. from_model: all four come from tokenizer and chat template.
  bool from_model = true;
  std::vector<int32_t> prefix_ids = {}, suffix_ids = {}, first_ids = {}, next_ids = {};

  bool operator==(const RepeatNeeds&) const = default;
};

// The prompt's queries before RoPE, summed up over the tokens from first_token on.
struct QueryStatisticsNeeds {
  int first_token = 0;
  bool covariance = false;  // besides the mean

  bool operator==(const QueryStatisticsNeeds&) const = default;
};

// What the prefill must record or the view must contain for this policy.
struct KvNeeds {
  int window_queries = 0;  // rotated queries of the last that many prompt tokens
  bool keys = false;       // LayerView::HeadRows::keys
  bool raw_keys = false;   // LayerView::HeadRows::raw_keys
  bool values = false;     // LayerView::HeadRows::values
  // LayerView::query_mean and query_covariance; a policy asks for one such, a union of needs may hold
  // several with different first tokens.
  std::vector<QueryStatisticsNeeds> query_statistics = {};
  bool attention_received = false;        // LayerView::attention_received
  bool output_norms = false;              // LayerView::output_norms
  std::vector<RepeatNeeds> repeats = {};  // LayerView::repeat_scores; at most one of one policy

  void join(const KvNeeds& other);  // what serves both
  bool operator==(const KvNeeds&) const = default;
};

// Of the prompt's queries before RoPE, over the tokens from first_token on.
struct QueryStatistics {
  int first_token = 0;
  std::vector<double> mean;  // (n_layers, n_heads, head_dim)
  // (n_layers, n_heads, head_dim, head_dim), divided by the count; empty unless asked for.
  std::vector<double> covariance;
};

// Where kept keys stand and where decoding goes on (interface: `positions`).
enum class Positions { kOriginal, kContiguous, kCanary };
const char* positions_name(Positions p);

// Rows of one head that do not compete by score.
struct Protection {
  std::vector<bool> always;  // (n_rows) or empty: never removed, the user's `protect`
  int first = 0;             // sinks: the first that many rows
  int newest = 0;            // window: the last that many rows
};

// Scores of one layer and the rows that do not compete, for each KV head.
struct LayerScores {
  std::vector<std::vector<float>> scores;  // (n_kv_heads, n_rows), larger stays
  std::vector<Protection> protection;      // (n_kv_heads), or empty: none
};

// Scores of one layer that several policies of a grid can use, such as one method's at several ratios; by a
// name that says all that they depend on beside the view.
using KnownScores = std::map<std::string, LayerScores>;

// The rows that a layer holds before the policy acts. L rows for each head, in rising original
// position.
struct LayerView {
  struct HeadRows {
    int n_rows = 0;
    std::span<const int32_t> positions;  // (n_rows) original positions
    // Tiles of (head_dim, kTile): row r, channel d at [r / kTile][d][r % kTile]; columns beyond
    // n_rows are finite. keys are rotated at the original positions, raw_keys are as the projection
    // gave them. Null unless asked for.
    const float* keys = nullptr;
    const float* raw_keys = nullptr;
    const float* values = nullptr;  // (n_rows, padded(head_dim)); null unless asked for
  };
  int layer = 0;
  int n_layers = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  int n_tokens = 0;       // length of the prompt; while decoding: tokens so far
  int keep_rows = 0;      // rows that stay of each KV head; 0: the policy's own ratio says
  float rope_factor = 1;  // what RoPE multiplies keys by besides turning them (yarn)
  // (rotary_dim / 2) radians by which one position turns the channels i and i + rotary_dim / 2.
  std::span<const float> inv_freq;
  std::vector<HeadRows> heads;  // (n_kv_heads)
  int n_window = 0;             // queries in window_queries: min(needs.window_queries, n_tokens)
  const float* window_queries = nullptr;  // (n_heads, n_window, head_dim), rotated at their
                                          // positions n_tokens - n_window ..; null unless asked for
  const double* query_mean = nullptr;     // (n_heads, head_dim); null unless asked for
  const double* query_covariance = nullptr;  // (n_heads, head_dim, head_dim); likewise
  // (n_heads, n_tokens), by original position: the sum of the attention that all prompt queries of a
  // head paid to a row; null unless asked for.
  const double* attention_received = nullptr;
  // (n_heads)(n_rows of the KV head) the 1-norm of V_row times the head's part of the output
  // projection; empty unless asked for.
  std::vector<std::span<const float>> output_norms;
  // (n_kv_heads, n_tokens), by original position; 0 for rows that no piece has; null unless asked for.
  const float* repeat_scores = nullptr;
  // Of views that show the same: what policies scored before, and where others may leave theirs; null: nobody
  // shares this view. Whoever changes a view's rows takes it away.
  KnownScores* known_scores = nullptr;
};

// Rows that stay: indices into HeadRows, rising. One list for each KV head; lengths may differ.
struct LayerKeep {
  std::vector<std::vector<int32_t>> rows;  // (n_kv_heads)
  std::vector<std::vector<float>>
      scores;  // (n_kv_heads, n_rows) what was compared; empty where there is no score
  // (n_kv_heads)(rows that stay, head_dim) what stands in the place of their values; empty: they
  // stay as they are.
  std::vector<std::vector<float>> values;
  // (n_kv_heads)(head_dim) 1: attention takes this channel of the head's rotated prompt keys as 0;
  // empty: none.
  std::vector<std::vector<uint8_t>> dropped_channels;
  // The same, of whole RoPE pairs only, which are not stored either.
  std::vector<std::vector<uint8_t>> removed_channels;
};

// What a policy may want to know of a model before any work.
struct ModelShape {
  int n_layers = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0;
  int rotary_dim = 0;              // channels of a head that RoPE turns
  int n_sliding_layers = 0;        // layers with a window, which policies leave alone
  bool learned_positions = false;  // positions are in the hidden states, not in the keys
};

class KvPolicy {
 public:
  virtual ~KvPolicy() = default;

  virtual std::string spec() const = 0;  // canonical, e.g. "snapkv(ratio=0.5,...)"
  virtual KvNeeds needs(int n_tokens) const {
    (void)n_tokens;
    return {};
  }
  virtual Positions positions() const { return Positions::kOriginal; }

  // Throws Error where the policy does not fit a model of this shape (a list with one number for
  // each layer, a file of tensors).
  virtual void check_model(const ModelShape& shape) const { (void)shape; }

  // Whether select() may remove channels of keys.
  virtual bool narrows_keys() const { return false; }

  // Whether the policy must be told how many tokens the question has at the prompt's end, by
  // with_question(), which gives the policy for prompts that end with n question tokens.
  virtual bool needs_question() const { return false; }
  virtual std::shared_ptr<const KvPolicy> with_question(int n_tokens) const {
    (void)n_tokens;
    return nullptr;
  }

  // Decides for one layer. Same answer for any number of threads.
  virtual LayerKeep select(const LayerView& view) const = 0;

  // Called once all layers are known: budgets across layers are settled here.
  virtual void settle(std::vector<LayerKeep>& layers) const { (void)layers; }

  // A remark for the record when the prompt forces the method out of its defaults ("window 64
  // shrunk to 15"), else "".
  virtual std::string note(int n_tokens) const {
    (void)n_tokens;
    return {};
  }
};

using PolicyPtr = std::shared_ptr<const KvPolicy>;

}  // namespace kv
