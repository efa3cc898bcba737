// The lists of policies and codecs, and specs: what a user writes for a compressor.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/kv_plan.h"
#include "engine/value.h"

namespace kv {

// One line of `kvengine list compressors`.
struct MethodInfo {
  std::string name;
  std::string kind;               // "policy" | "codec"
  std::string kvpress_name;       // "SnapKV"; "" where kvpress has none
  std::string doc;                // one line
  std::string paper;              // "arXiv 2404.14469"; "" for our own
  std::vector<ParamSpec> params;  // after ratio and positions, in canonical order
};
const std::vector<MethodInfo>& all_methods();  // registry order

// Every parameter that specs of this method take, with defaults, in canonical order: `ratio`,
// `positions` and `decode`, the method's own, `protect` and `ties` for eviction policies; its own for the
// others.
std::vector<ParamSpec> all_params(const MethodInfo& method);

// One compressor of one cell, in canonical form.
struct CompressorSpec {
  std::string canonical;   // "snapkv(ratio=0.5,positions=original,window=32,...)+int4(...)"
  std::string short_name;  // "snapkv+int4"; "none"
  double ratio = 0;        // share of rows removed by all policies together: 1 - prod(1 - ratio_i)
  CompressionPlan plan;

  bool is_none() const { return canonical == "none"; }
};

// A spec string, an object, kv-canary's {method, budget}, kvpress class names. Lists under ratio or
// budget make one spec each, in order. Throws Error(kUsage) with value.place. base_folder: what
// file names in the spec are relative to.
std::vector<CompressorSpec> read_compressors(const Value& value,
                                             const std::string& base_folder = ".");

// A spec string alone; place is for messages ("--compressor").
std::vector<CompressorSpec> parse_compressors(const std::string& text, const std::string& place,
                                              const std::string& base_folder = ".");

// The codec that stores rows as they are: "f32", "f16", "bf16" (kv_dtype).
CodecPtr plain_codec(const std::string& dtype);

}  // namespace kv
