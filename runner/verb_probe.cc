#include "runner/probe.h"
#include "runner/verbs.h"

namespace kv {

int verb_probe(const ProbeFlags& flags) {
  run_probe(flags.request, flags.out, flags.heatmap);
  return 0;
}

}  // namespace kv
