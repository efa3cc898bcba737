// SIGINT and SIGTERM ask the work to stop at the next point where its state is saved.
#pragma once

namespace kv {

// Installs the handlers. A second signal ends the process at once.
void catch_stop_signals();
bool stop_requested();

inline constexpr int kInterruptedStatus = 130;

}  // namespace kv
