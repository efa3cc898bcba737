#include "engine/error.h"
#include "kernels/parallel.h"
#include "runner/prepare.h"
#include "runner/run.h"
#include "runner/verbs.h"

namespace kv {

int verb_run(const RunFlags& flags) {
  return run_sweep(load_config(flags), flags);
}

int verb_validate(const RunFlags& flags) {
  const RunConfig config = load_config(flags);
  set_threads(config.run.threads);
  const Preparation preparation = prepare(config);
  for (const std::string& note : config.notes) fmt::print(stderr, "note: {}\n", note);
  print_validation(config, preparation);
  return 0;
}

}  // namespace kv
