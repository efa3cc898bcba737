#include "runner/log.h"

#include <cerrno>
#include <cstring>
#include <ctime>

#include "engine/error.h"

namespace kv {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

RunLog::RunLog(const std::filesystem::path& file, bool quiet)
    : file_(std::fopen(file.c_str(), "a")), quiet_(quiet) {
  if (file_ == nullptr)
    throw_data("{}: cannot be opened for writing: {}", file.string(), std::strerror(errno));
}

RunLog::~RunLog() {
  std::fclose(file_);
}

void RunLog::note(const std::string& line) {
  std::fprintf(file_, "%s %s\n", utc_now().c_str(), line.c_str());
  std::fflush(file_);
}

void RunLog::say(const std::string& line) {
  note(line);
  if (!quiet_) std::fprintf(stderr, "%s\n", line.c_str());
}

void RunLog::error(const std::string& line) {
  note(line);
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace kv
