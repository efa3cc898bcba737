// int8, int4, int2: our own group-wise integer codec (group_codec.cc), before or after RoPE, with or
// without a Hadamard transform of the channels.
#include "compress/group_codec.h"
#include "compress/method.h"
#include "engine/error.h"

namespace kv {
namespace {

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
  method.make_codec = [bits](const Params& params, const std::string& spec) {
    GroupCodecOptions options;
    options.bits = bits;
    options.group = params.integer("group");
    options.rotated_keys = params.string("keys") == "post_rope";
    options.hadamard = params.boolean("hadamard");
    options.spec = spec;
    return make_group_codec(options);
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
