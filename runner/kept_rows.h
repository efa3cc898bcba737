// Which rows of a context a policy kept, in the compact form of samples.jsonl.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kv {

constexpr int kKeptBins = 64;

// (n_layers)(n_kv_heads) of everything; right after compression.
struct KeptRows {
  std::vector<std::vector<int64_t>> rows;  // how many stayed
  // Where they stood: the context's positions in min(kKeptBins, n_context) equal ranges, a hex
  // digit for each: '0' none of its rows stayed, 'f' all did, else the nearest of 1 .. e fifteenths.
  std::vector<std::vector<std::string>> share;

  // Whether some layer or head kept another number of rows than the others.
  bool ragged() const;
};

// positions: original positions of the rows that stayed, (n_layers)(n_kv_heads), rising;
// n_context > 0 rows were there before.
KeptRows kept_rows(const std::vector<std::vector<std::vector<int32_t>>>& positions,
                   int64_t n_context);

// The share that a digit stands for, 0 .. 1. Throws Error(kData) for anything but a hex digit.
double kept_share(char digit);

}  // namespace kv
