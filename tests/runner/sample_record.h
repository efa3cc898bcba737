// Records for tests of reports.
#pragma once

#include <string>

#include "runner/results.h"

namespace kv {

// Sample s0 of "tiny" under a spec in a task's spelling: names follow from what stands before '('.
inline SampleRecord sample_record(const std::string& task_spec, const std::string& spec,
                                  double ratio) {
  SampleRecord r;
  r.model = "tiny";
  r.task_spec = task_spec;
  r.task = task_spec.substr(0, task_spec.find('('));
  r.spec = spec;
  r.method = spec.substr(0, spec.find('('));
  r.compression_ratio = ratio;
  r.fingerprint = spec + task_spec;
  r.sample_id = "s0";
  return r;
}

}  // namespace kv
