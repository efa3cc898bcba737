// none: the full cache, the baseline of every comparison. No policy and no codec: the plan stays
// empty.
#include "compress/method.h"

namespace kv {

Method none_method() {
  Method method;
  method.info.name = "none";
  method.info.kind = "policy";
  method.info.doc = "the full cache";
  return method;
}

}  // namespace kv
