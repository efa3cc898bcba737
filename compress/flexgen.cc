// flexgen4: FlexGen's 4-bit cache (Sheng et al. 2023, arXiv 2303.06865) as longctx_bench runs it:
// every row in groups of channels, keys after RoPE, and the prompt's own attention reads the codes.
#include "compress/group_codec.h"
#include "compress/method.h"

namespace kv {

ParamSpec scales_param() {
  return choice_param("scales", "f16", "how scale and minimum are stored, rounded before the codes",
                      {"f16", "f32"});
}

Method flexgen4_method() {
  Method method;
  method.info.name = "flexgen4";
  method.info.kind = "codec";
  method.info.doc = "4-bit groups of channels, keys after RoPE; the prompt sees the codes too";
  method.info.paper = "arXiv 2303.06865";
  method.info.params = {
      integer_param("group", "32", "channels that share a scale and a minimum", 1, kMaxGroup),
      scales_param()};
  method.make_codec = [](const Params& params, const std::string& spec) {
    GroupCodecOptions options;
    options.bits = 4;
    options.group = params.integer("group");
    options.scales = params.string("scales") == "f32" ? GroupScales::kFloat : GroupScales::kHalf;
    options.rotated_keys = options.acts_on_prompt = options.whole_groups = true;
    options.spec = spec;
    return make_group_codec(options);
  };
  return method;
}

}  // namespace kv
