// Programs that try to harm the machine, to stay behind, or to pass without being right. The test
// that belongs to them expects f(2) == 4.
#pragma once

#include <string>
#include <vector>

namespace kv {

struct HostileProgram {
  const char* name;
  std::string candidate;
  std::string test = {};  // instead of the usual one
};

// Statements that must fail with an OSError or ValueError inside of bubblewrap.
inline std::vector<const char*> impossible_deeds() {
  return {
      "socket.create_connection(('127.0.0.1', 22), 1)",
      "socket.create_connection(('1.1.1.1', 53), 1)",
      "socket.getaddrinfo('example.org', 80)",
      "os.listdir('/home')",
      "os.listdir('/root')",
      "open('/etc/passwd').read()",
      "open('/etc/shadow').read()",
      "open('/usr/hostile', 'w')",
      "open('/hostile', 'w')",
      "open('/dev/hostile', 'w')",
      "open('/proc/sys/kernel/hostname', 'w').write('hostile')",
      "open('/proc/sysrq-trigger', 'w').write('b')",
      "os.chroot('/tmp')",
      "os.setuid(0)",
      "os.mknod('/tmp/disk', 0o60666, 0x0fd00)",
      "os.kill(2**22 - 1, signal.SIGKILL)",
      "open('/dev/mem', 'rb')",
      "os.symlink('/root', 'x'); os.listdir('x')",
      "os.symlink('/usr', 'y'); open('y/hostile', 'w')",
      "os.nice(-5)",
      "__import__('resource').setrlimit(__import__('resource').RLIMIT_AS, (-1, -1))",
      "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
      "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))",
      "os.truncate('/usr/bin/python3', 0)",
      "open('/proc/1/environ').read() == '' and open('/proc/1/root/etc/shadow')",
  };
}

inline std::vector<HostileProgram> harmful_programs() {
  return {
      {"fork_bomb",
       "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n"
       "        pass\n"},
      {"fork_bomb_of_sessions",
       "import os\nwhile True:\n    try:\n        if os.fork() == 0:\n            os.setsid()\n"
       "    except OSError:\n        pass\n"},
      {"thread_bomb",
       "import threading, time\nwhile True:\n"
       "    threading.Thread(target=time.sleep, args=(100,)).start()\n"},
      {"memory", "x = []\nwhile True:\n    x.append(bytearray(1 << 24))\n"},
      {"memory_in_children",
       "import os\nfor i in range(8):\n    os.fork()\nx = []\nwhile True:\n"
       "    x.append(bytes(1 << 22))\n"},
      {"disk_fill",
       "import itertools\nfor i in itertools.count():\n"
       "    open(f'hostile{i}', 'wb').write(bytes(1 << 20))\n"},
      {"huge_file",
       "with open('hostile', 'wb') as f:\n    f.truncate(1 << 40)\n"
       "    f.write(b'x' * (1 << 28))\n"},
      // Paths get longer than any system call takes. More of them would only time the disk.
      {"many_folders", "import os\nfor i in range(5000):\n    os.mkdir('d')\n    os.chdir('d')\n"},
      {"locked_folders",
       "import os\nos.makedirs('a/b/c')\nopen('a/b/c/f', 'w').close()\n"
       "os.chmod('a/b', 0)\nos.chmod('a', 0)\nos.chmod('.', 0)\n"},
      {"network", "import socket\ns = socket.create_connection(('192.0.2.1', 80), 1)\n"},
      {"server", "import socket\ns = socket.socket()\ns.bind(('', 0))\ns.listen()\ns.accept()\n"},
      {"reads_home",
       "import os, glob\nprint(os.listdir('/root'))\n"
       "print(open('/root/.bashrc').read(), open('/etc/shadow').read())\n"},
      {"writes_system", "open('/usr/lib/hostile', 'w').write('x')\n"},
      {"kills_parent",
       "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"
       "while True:\n    pass\n"},
      {"kills_all",
       "import os, signal\nfor pid in range(1, 2):\n    os.kill(pid, signal.SIGKILL)\n"
       "os.kill(os.getpid(), signal.SIGKILL)\n"},
      {"stops_parent",
       "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n"
       "while True:\n    pass\n"},
      {"links_out",
       "import os\nos.symlink('/usr', 'out')\nos.symlink('/etc/passwd', 'file')\n"
       "open('out/hostile', 'w').write('x')\n"},
      {"hidden_daemon",
       "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
       "        for fd in range(64):\n            try:\n                os.close(fd)\n"
       "            except OSError:\n                pass\n        time.sleep(1000)\n"
       "    os._exit(0)\nraise SystemExit\n"},
      {"exec_shell_daemon",
       "import os\nif os.fork() == 0:\n    os.setsid()\n"
       "    os.execv('/bin/sleep', ['hostile', '1000'])\nos._exit(0)\n"},
      {"endless_loop", "while True:\n    pass\n"},
      {"endless_sleep", "import time\nwhile True:\n    time.sleep(100)\n"},
      {"endless_output", "while True:\n    print('hostile' * 1000)\n"},
      {"endless_errors", "import os\nwhile True:\n    os.write(2, b'x' * 65536)\n"},
      {"ignores_signals",
       "import signal, time\nfor s in range(1, 65):\n    try:\n"
       "        signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\n"
       "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True:\n    time.sleep(1)\n"},
      {"deep_recursion",
       "import sys\nsys.setrecursionlimit(10**9)\ndef g(n): return g(n + 1)\n"
       "g(0)\n"},
      {"reads_input", "while True:\n    input()\n"},
      {"waits_for_children", "import os\nif os.fork() == 0:\n    while True: pass\nos.wait()\n"},
      {"big_number", "x = 9 ** 9 ** 9\n"},
      {"crash", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"},
      {"namespaces", "import os\nos.execv('/usr/bin/unshare', ['unshare', '-Ur', 'sleep', '9'])\n"},
  };
}

// They want to be counted as passed.
inline std::vector<HostileProgram> cheating_programs() {
  const std::string wrong = "def f(x):\n    return 0\n";
  return {
      {"os_exit", "import os\nos._exit(0)\n"},
      {"sys_exit", "import sys\nsys.exit(0)\n"},
      {"exit", "exit()\n"},
      {"quit_in_call", "def f(x):\n    quit(0)\n"},
      {"os_exit_in_call", "import os\ndef f(x):\n    os._exit(0)\n"},
      {"exec_true", "import os\nos.execv('/bin/true', ['true'])\n"},
      {"exit_in_handler", "import atexit, os\natexit.register(os._exit, 0)\n" + wrong},
      {"patched_builtins",
       "import builtins\nbuiltins.AssertionError = type('E', (BaseException,), {})\n"
       "builtins.exec = lambda *a: None\nbuiltins.compile = lambda *a, **k: None\n"
       "builtins.print = lambda *a: None\n" +
           wrong},
      {"patched_all",
       "import builtins\nbuiltins.all = lambda x: True\ndef all(x): return True\n" + wrong,
       "assert all([f(2) == 4])\n"},
      {"own_check", "def check(candidate): pass\n" + wrong},
      {"excepthook", "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\n" + wrong},
      {"forged_words",
       "import os\nfor fd in range(16):\n    try:\n"
       "        os.write(fd, b'ready\\n0123456789abcdef')\n    except OSError:\n"
       "        pass\nos._exit(0)\n"},
      {"audit_event", "import sys, os\nsys.audit('kvengine.end')\nos._exit(0)\n"},
      {"frames",
       "import sys, os\nframe = sys._getframe()\nwhile frame:\n"
       "    for value in list(frame.f_locals.values()):\n        text = value\n"
       "        for part in (value if isinstance(value, (list, tuple)) else [value]):\n"
       "            if isinstance(part, bytes): os.write(3, part)\n    frame = frame.f_back\n"
       "os._exit(0)\n"},
      {"searches_memory",
       "import gc, os\nfor x in gc.get_objects():\n"
       "    if isinstance(x, tuple):\n        for y in x:\n"
       "            if isinstance(y, bytes): os.write(3, y)\nos._exit(0)\n"},
      {"frame_of_main",
       "import sys, os\nframe = sys._getframe().f_back\nsys.settrace(lambda *a: None)\n"
       "frame.f_trace = lambda *a: None\nframe.f_lineno += 12\n"},
      {"native_code", "import ctypes, os\nctypes.string_at(id(0), 100)\nos._exit(0)\n"},
      {"reads_source",
       "import sys, os, glob\nfor name in ['/proc/self/cmdline', '/proc/1/environ',"
       " '/proc/self/environ', '/proc/self/fd/0', '/proc/1/fd/0']:\n    try:\n"
       "        os.write(3, open(name, 'rb').read())\n    except OSError:\n"
       "        pass\nos._exit(0)\n"},
      {"main_module",
       "import sys, os\nfor v in vars(sys.modules['__main__']).values():\n"
       "    os.write(3, str(v).encode())\nos._exit(0)\n"},
      {"removes_main", "import sys\nsys.modules.clear()\n" + wrong},
      {"child_passes_on", "import os\nif os.fork():\n    os._exit(0)\n" + wrong},
  };
}

inline std::vector<HostileProgram> hostile_programs() {
  std::vector<HostileProgram> all = harmful_programs();
  for (HostileProgram& program : cheating_programs()) all.push_back(std::move(program));
  return all;
}

}  // namespace kv
