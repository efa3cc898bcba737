#include "tasks/sandbox_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "engine/error.h"
#include "tasks/sandbox_supervisor.h"

namespace kv {
namespace {

using Clock = std::chrono::steady_clock;

// The supervisor ends by itself at the wall limit; this is for one that was killed or stopped.
constexpr int kGraceSeconds = 10;

[[noreturn]] void fail(const char* what) {
  throw_usage("sandbox: {} failed: {}; a program could not be run", what, std::strerror(errno));
}

// A descriptor that is closed with its owner. From 10 on: the child puts its own at 0 to 3.
class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(int fd, const char* what) {
    if (fd < 0) fail(what);
    fd_ = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    const int error = errno;
    ::close(fd);
    errno = error;
    if (fd_ < 0) fail(what);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

struct Ends {
  Descriptor ours, theirs;
};

// A socket for the input: it can be written without a signal where nobody reads any more, and a
// reader's /proc cannot open it a second time.
Ends socket_ends() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) fail("socketpair");
  Ends ends;
  ends.theirs = Descriptor(fds[1], "socketpair");
  ends.ours = Descriptor(fds[0], "socketpair");
  return ends;
}

Ends pipe_ends() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) fail("pipe");
  Ends ends;
  ends.theirs = Descriptor(fds[1], "pipe");
  ends.ours = Descriptor(fds[0], "pipe");
  fcntl(ends.ours.get(), F_SETFL, O_NONBLOCK);
  return ends;
}

// Takes what is there; closes `from` at its end.
void drain(Descriptor& from, std::string& to, size_t most) {
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(from.get(), buffer, sizeof(buffer));
    if (n > 0) {
      to.append(buffer, std::min(static_cast<size_t>(n), most - std::min(most, to.size())));
      return;  // one piece at a time: endless output must not keep us from the clock
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    from.close();
    return;
  }
}

void feed(Descriptor& to, const std::string& text, size_t& sent) {
  const ssize_t n =
      send(to.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0) sent += static_cast<size_t>(n);
  const bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
  if (sent == text.size() || (n < 0 && !again)) to.close();
}

// Feeds and drains until the supervisor has ended. False where it had to be killed.
bool converse(const ProcessRequest& request, Descriptor& input, Descriptor& output,
              Descriptor& channel, const Descriptor& supervisor, ProcessResult& result) {
  constexpr size_t kChannelBytes = 256;
  const auto end = Clock::now() + std::chrono::seconds(request.wall_seconds + kGraceSeconds);
  size_t sent = 0;
  bool running = true;
  while (running && Clock::now() < end) {
    pollfd watched[] = {{supervisor.get(), POLLIN, 0},
                        {output.get(), POLLIN, 0},
                        {channel.get(), POLLIN, 0},
                        {input.get(), POLLOUT, 0}};
    if (poll(watched, 4, 1000) < 0 && errno != EINTR) fail("poll");
    running = watched[0].revents == 0;
    if (watched[1].revents != 0) drain(output, result.output, request.output_bytes);
    if (watched[2].revents != 0) drain(channel, result.channel, kChannelBytes);
    if (watched[3].revents != 0) feed(input, request.input, sent);
  }
  // What still lies in the pipes; no writer is left, but bound it all the same.
  for (int i = 0; i < 64 && output.get() >= 0; ++i)
    drain(output, result.output, request.output_bytes);
  for (int i = 0; i < 4 && channel.get() >= 0; ++i) drain(channel, result.channel, kChannelBytes);
  return !running;
}

// All signals are blocked while the process forks, so that no handler of ours runs in the child.
pid_t fork_quietly(const SupervisedProgram& program) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) supervise(program);
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  if (pid < 0) fail("fork");
  return pid;
}

}  // namespace

ProcessResult run_process(const ProcessRequest& request) {
  Ends input = socket_ends(), output = pipe_ends(), channel = pipe_ends();
  // Everything that would allocate is done before the fork: other threads may hold locks.
  std::vector<char*> arguments;
  for (const std::string& argument : request.arguments)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  SupervisedProgram program;
  program.arguments = arguments.data();
  program.folder = request.folder.c_str();
  program.fds[0] = input.theirs.get();
  program.fds[1] = program.fds[2] = output.theirs.get();
  program.fds[3] = channel.theirs.get();
  program.wall_seconds = request.wall_seconds;
  program.drop_to = geteuid() == 0 ? kNobody : 0;
  program.parent = getpid();

  const auto start = Clock::now();
  const pid_t pid = fork_quietly(program);
  input.theirs.close();
  output.theirs.close();
  channel.theirs.close();
  const auto reap = [pid](bool ended) {
    int status = 0;
    if (!ended) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  };
  ProcessResult result;
  bool ended = false;
  try {
    const Descriptor supervisor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), "pidfd_open");
    ended = converse(request, input.ours, output.ours, channel.ours, supervisor, result);
  } catch (...) {
    reap(false);
    throw;
  }
  result.status = reap(ended);
  const auto elapsed = Clock::now() - start;
  result.timed_out = elapsed >= std::chrono::seconds(request.wall_seconds) &&
                     (!ended || result.status == kTimeoutStatus);
  return result;
}

}  // namespace kv
