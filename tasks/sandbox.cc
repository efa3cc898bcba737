#include "tasks/sandbox.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <vector>

#include "engine/error.h"
#include "tasks/sandbox_driver.h"
#include "tasks/sandbox_folder.h"
#include "tasks/sandbox_process.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

constexpr const char* kReady = "ready\n";

// Never through PATH: it may lead to a program of the user's own.
std::string find_program(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/local/bin/"}) {
    if (access((folder + name).c_str(), X_OK) == 0) return folder + name;
  }
  return "";
}

std::string random_word() {
  unsigned char bytes[16];
  if (getrandom(bytes, sizeof(bytes), 0) != static_cast<ssize_t>(sizeof(bytes))) {
    throw_usage("sandbox: the system gives no random numbers");
  }
  std::string word;
  for (unsigned char byte : bytes) word += fmt::format("{:02x}", byte);
  return word;
}

// Processes and threads of our user: limits count per user, so a plain user's own ones come on top.
// Inside a user namespace only those of the namespace count.
int64_t own_tasks() {
  int64_t count = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
    struct stat info {};
    if (stat(entry.path().c_str(), &info) != 0 || info.st_uid != geteuid()) continue;
    std::ifstream status(entry.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("Threads:", 0) == 0) count += std::stoll(line.substr(8));
    }
  }
  return count;
}

// The system as far as Python needs it, read-only; everything else is absent.
void add_system(std::vector<std::string>& arguments) {
  const auto add = [&](std::initializer_list<std::string> more) {
    arguments.insert(arguments.end(), more);
  };
  add({"--ro-bind", "/usr", "/usr"});
  for (const char* folder : {"/bin", "/sbin", "/lib", "/lib32", "/lib64"}) {
    std::error_code error;
    if (fs::is_symlink(folder, error)) {
      add({"--symlink", fs::read_symlink(folder, error).string(), folder});
    } else if (fs::is_directory(folder, error)) {
      add({"--ro-bind", folder, folder});
    }
  }
  for (const char* file : {"/etc/ld.so.cache", "/etc/alternatives"})
    add({"--ro-bind-try", file, file});
}

std::vector<std::string> bubblewrap_arguments(const std::string& bubblewrap,
                                              const SandboxLimits& limits) {
  std::vector<std::string> arguments = {bubblewrap,
                                        "--unshare-user",
                                        "--unshare-ipc",
                                        "--unshare-pid",
                                        "--unshare-net",
                                        "--unshare-uts",
                                        "--unshare-cgroup-try",
                                        "--disable-userns",
                                        "--die-with-parent",
                                        "--new-session",
                                        "--clearenv",
                                        "--cap-drop",
                                        "ALL",
                                        "--uid",
                                        "65534",
                                        "--gid",
                                        "65534",
                                        "--hostname",
                                        "sandbox"};
  add_system(arguments);
  const std::string size = std::to_string(limits.folder_bytes);
  // Devices and the root are in memory too: read-only, or they could be filled.
  for (const std::string& argument : std::initializer_list<std::string>{
           "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--size", size, "--tmpfs",
           "/dev/shm", "--size", size, "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp",
           "--"}) {
    arguments.push_back(argument);
  }
  return arguments;
}

// Fails where a promise of this file's header does not hold.
std::string trial_test(SandboxKind kind) {
  std::string test =
      "import os\n"
      "assert os.getuid() != 0, 'runs as root'\n"
      "assert not os.environ, 'the environment is not empty'\n"
      "open('written', 'w').close()\n";
  if (kind == SandboxKind::kRlimits) return test;
  return test +
         "import socket\n"
         "others = [p for p in os.listdir('/proc') if p.isdigit() and int(p) not in (1, "
         "os.getpid())]\n"
         "assert not others, f'sees the processes {others}'\n"
         "names = [name for _, name in socket.if_nameindex()]\n"
         "assert set(names) <= {'lo'}, f'sees the network interfaces {names}'\n"
         "for folder in ('/', '/usr', '/dev', '/proc/sys/kernel'):\n"
         "    assert not os.access(folder, os.W_OK), f'may write {folder}'\n";
}

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "no message";
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

}  // namespace

SandboxKind sandbox_kind(const std::string& name) {
  KV_CHECK(name == "bubblewrap" || name == "rlimits", "{}", name);
  return name == "rlimits" ? SandboxKind::kRlimits : SandboxKind::kBubblewrap;
}

Sandbox::Sandbox(SandboxKind kind, const SandboxLimits& limits, const std::string& bubblewrap)
    : kind_(kind),
      limits_(limits),
      bubblewrap_(bubblewrap.empty() ? find_program("bwrap") : bubblewrap),
      python_(find_program("python3")) {}

std::string Sandbox::problem() const {
  if (python_.empty()) return "there is no /usr/bin/python3 or /usr/local/bin/python3";
  if (kind_ == SandboxKind::kBubblewrap && bubblewrap_.empty()) {
    return "bubblewrap is not installed (no /usr/bin/bwrap or /usr/local/bin/bwrap)";
  }
  std::string trouble;
  const SandboxResult result = run_unchecked({"", trial_test(kind_), ""}, trouble);
  if (!trouble.empty()) return trouble;
  if (!result.passed) return "the trial program failed: " + last_line(result.output);
  return "";
}

SandboxResult Sandbox::run(const SandboxProgram& program) const {
  std::string trouble;
  SandboxResult result = run_unchecked(program, trouble);
  if (!trouble.empty()) throw_usage("sandbox: {}", trouble);
  return result;
}

SandboxResult Sandbox::run_unchecked(const SandboxProgram& program, std::string& trouble) const {
  const bool isolated = kind_ == SandboxKind::kBubblewrap;
  const std::string secret = random_word();
  const int64_t tasks = limits_.processes + (isolated || geteuid() == 0 ? 0 : own_tasks());
  ProcessRequest request;
  if (isolated) request.arguments = bubblewrap_arguments(bubblewrap_, limits_);
  for (const char* argument : {python_.c_str(), "-I", "-B", "-c", kSandboxDriver})
    request.arguments.push_back(argument);
  request.input =
      fmt::format("{} {} {} {} {} {} {}\n", secret,
                  program.entry_point.empty() ? "-" : program.entry_point, program.candidate.size(),
                  limits_.cpu_seconds, limits_.address_space_bytes, limits_.file_bytes, tasks) +
      program.candidate + program.test;
  request.wall_seconds = limits_.wall_seconds;
  request.output_bytes = limits_.output_bytes;
  std::optional<SandboxFolder> folder;
  if (!isolated) {
    folder.emplace(geteuid() == 0 ? static_cast<int>(kNobody) : -1);
    request.folder = folder->path();
  }
  const ProcessResult process = run_process(request);
  SandboxResult result;
  result.output = process.output;
  result.timed_out = process.timed_out;
  result.passed = process.status == 0 && process.channel == kReady + secret;
  // Without this word the candidate never started: that is no failure of the candidate.
  if (process.channel.rfind(kReady, 0) != 0) {
    trouble = fmt::format("{} did not start the program (status {}): {}",
                          isolated ? bubblewrap_ : python_, process.status,
                          process.timed_out ? "no answer in time" : last_line(process.output));
  }
  return result;
}

}  // namespace kv
