// Codecs whose rows are coded alone, in groups of channels with a scale and a minimum each: our
// int8, int4 and int2, FlexGen's 4-bit cache, and the values of KIVI.
#pragma once

#include <string>

#include "engine/kv_codec.h"

namespace kv {

// How a group's scale and minimum are stored and rounded.
enum class GroupScales {
  kCovering,  // half bits; the minimum rounded down and the scale up, so that no value is cut off
  kHalf,      // half bits, each rounded to nearest before the codes are taken
  kFloat      // float32, not rounded
};

struct GroupCodecOptions {
  int bits = 4;  // 8, 4 or 2
  int group = 32;
  GroupScales scales = GroupScales::kCovering;
  bool rotated_keys = false;    // keys are coded after RoPE
  bool hadamard = false;        // channels are mixed first, see group_codec.cc
  bool acts_on_prompt = false;  // the prompt's own attention reads the codes
  bool whole_groups = false;    // head_dim must be a multiple of group
  std::string spec;             // canonical
};

inline constexpr int kMaxGroup = 1024;

CodecPtr make_group_codec(const GroupCodecOptions& options);

}  // namespace kv
