// The descriptions of all tasks, one function for each file; tasks/registry.cc lists them.
#pragma once

#include "tasks/task.h"

namespace kv {

TaskInfo perplexity_task();
TaskInfo passkey_task();
TaskInfo tool_call_task();
TaskInfo code_exec_task();
TaskInfo long_output_task();
TaskInfo continuation_task();
TaskInfo needles_task();
TaskInfo variable_tracking_task();
TaskInfo common_words_task();
TaskInfo frequent_words_task();
TaskInfo fact_qa_task();
TaskInfo longbench_task();

}  // namespace kv
