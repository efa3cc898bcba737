#include "tasks/sandbox_supervisor.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <initializer_list>

namespace kv {
namespace {

constexpr int kMostDescendants = 1024;  // of one round; more are found in the next

[[noreturn]] void refuse(const char* step) {
  const char* reason = strerrordesc_np(errno);
  for (const char* part : {"sandbox: ", step, ": ", reason == nullptr ? "failed" : reason, "\n"}) {
    if (write(2, part, std::strlen(part)) < 0) break;
  }
  _exit(kStartStatus);
}

// In the child: root's rights, descriptors, signals and environment are left behind.
[[noreturn]] void become_program(const SupervisedProgram& program) {
  for (int i = 0; i < 4; ++i) {
    if (dup2(program.fds[i], i) < 0) refuse("dup2");
  }
  syscall(SYS_close_range, 4U, ~0U, 0U);
  setsid();
  // When memory ends, this goes before the runner does.
  const int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (oom >= 0) {
    if (write(oom, "1000", 4) < 0) refuse("oom_score_adj");
    close(oom);
  }
  if (chdir(program.folder) != 0) refuse("chdir");
  umask(077);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (program.drop_to != 0) {
    const unsigned id = program.drop_to;
    // The system calls themselves: the library's functions talk to threads that are not here.
    if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, id, id, id) != 0 ||
        syscall(SYS_setresuid, id, id, id) != 0) {
      refuse("becoming an unprivileged user");
    }
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // after the change of user, which clears it
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t nothing;
  sigemptyset(&nothing);
  sigprocmask(SIG_SETMASK, &nothing, nullptr);
  char* const no_environment[] = {nullptr};
  execve(program.arguments[0], program.arguments, no_environment);
  refuse(program.arguments[0]);
}

// The parent of a process; 0 where it is gone. "PID (NAME) STATE PPID ...": the name may hold ')'.
pid_t parent_of(const char* number) {
  char path[64] = "/proc/", text[512];
  std::strncat(path, number, 20);
  std::strncat(path, "/stat", 6);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = '\0';
  const char* at = std::strrchr(text, ')');
  if (at == nullptr || std::strlen(at) < 5) return 0;
  pid_t parent = 0;
  for (at += 4; *at >= '0' && *at <= '9'; ++at) parent = parent * 10 + (*at - '0');
  return parent;
}

struct Process {
  pid_t pid, parent;
};

// All processes that this /proc shows, as far as there is room.
int list_processes(Process* out, int room) {
  struct Entry {  // linux_dirent64
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[1];
  };
  alignas(Entry) static char buffer[1 << 15];
  const int folder = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return 0;
  int count = 0;
  long n = 0;
  while ((n = syscall(SYS_getdents64, folder, buffer, sizeof(buffer))) > 0) {
    for (long at = 0; at < n;) {
      const char* entry = buffer + at;
      unsigned short length = 0;
      std::memcpy(&length, entry + offsetof(Entry, length), sizeof(length));
      const char* name = entry + offsetof(Entry, name);
      at += length;
      if (*name < '1' || *name > '9' || count == room) continue;
      pid_t pid = 0;
      for (const char* c = name; *c >= '0' && *c <= '9'; ++c) pid = pid * 10 + (*c - '0');
      out[count++] = {pid, parent_of(name)};
    }
  }
  close(folder);
  return count;
}

// Signals every descendant of this process. Returns how many there were.
int signal_descendants(int number) {
  static Process all[1 << 15];
  static pid_t ours[kMostDescendants];
  const int n_all = list_processes(all, 1 << 15);
  int n_ours = 1;
  ours[0] = getpid();
  for (int k = 0; k < n_ours; ++k) {
    for (int i = 0; i < n_all && n_ours < kMostDescendants; ++i) {
      if (all[i].parent == ours[k] && all[i].pid != ours[0]) ours[n_ours++] = all[i].pid;
    }
  }
  for (int k = 1; k < n_ours; ++k) kill(ours[k], number);
  return n_ours - 1;
}

// Stops all first, so that a bomb cannot fork faster than it is killed.
void kill_descendants() {
  for (int round = 0; round < 2000; ++round) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD) return;
    for (int before = -1, now = signal_descendants(SIGSTOP), tries = 0; now != before && tries < 20;
         ++tries) {
      before = now;
      now = signal_descendants(SIGSTOP);
    }
    signal_descendants(SIGKILL);
    const timespec pause{0, 1000000};
    nanosleep(&pause, nullptr);
  }
}

timespec remaining_until(const timespec& end) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  timespec left{end.tv_sec - now.tv_sec, end.tv_nsec - now.tv_nsec};
  if (left.tv_nsec < 0) {
    left.tv_nsec += 1000000000;
    --left.tv_sec;
  }
  return left;
}

// The status of the child, or kTimeoutStatus once `end` is past.
int wait_for(pid_t child, const timespec& end, const sigset_t& child_signal) {
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    const timespec left = remaining_until(end);
    if (left.tv_sec < 0) return kTimeoutStatus;
    sigtimedwait(&child_signal, nullptr, &left);
  }
}

}  // namespace

void supervise(const SupervisedProgram& program) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != program.parent) _exit(kStartStatus);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);  // orphans come to us, so none is missed
  setsid();
  signal(SIGCHLD, SIG_DFL);
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  timespec end{};
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += program.wall_seconds;
  const pid_t child = fork();
  if (child == 0) become_program(program);
  syscall(SYS_close_range, 0U, ~0U, 0U);  // the pipes must end with the program
  if (child < 0) _exit(kStartStatus);
  const int status = wait_for(child, end, child_signal);
  kill_descendants();
  _exit(status);
}

}  // namespace kv
