#include "tasks/sandbox_driver.h"

namespace kv {

// Candidate and test run in the interpreter of this harness, as the reference scorers do it, so the
// harness has to keep its word to itself:
// - The secret lives only in the closure of an audit hook. No frame, module or file has it, and the
//   ways to look for unreferenced objects (gc, other threads' frames, ctypes) end the process.
// - The hook writes it only for the frame of main(), which asks for it when the test has returned.
//   Tracing, which could move that frame to another line, ends the process too.
// - What main() needs after the candidate is bound and compiled before it, since the candidate may
//   replace every builtin; builtins are put back before the test, and the test does not see names
//   of the candidate that hide a builtin.
const char kSandboxDriver[] = R"python(
import builtins, os, resource, sys, types

def read_input():
    data = b""
    while True:
        chunk = os.read(0, 1 << 16)
        if not chunk:
            break
        data += chunk
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    head, _, body = data.partition(b"\n")
    secret, entry, size, *limits = head.split()
    size = int(size)
    return secret, entry.decode(), body[:size], body[size:], [int(limit) for limit in limits]

def set_limits(limits):
    kinds = (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC)
    for kind, limit in zip(kinds, limits):
        resource.setrlimit(kind, (limit, limit))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

def guard(secret, frame, getframe=sys._getframe, write=os.write, leave=os._exit):
    ends = frozenset(("gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys.settrace",
                      "sys.setprofile", "sys._current_frames", "sys._current_exceptions"))
    def hook(event, arguments):
        if event == "kvengine.end":
            if getframe(1) is frame:
                write(3, secret)
        elif event in ends or (event.startswith("ctypes.") and event != "ctypes.dlopen"):
            write(2, b"not allowed here: " + event.encode() + b"\n")
            leave(1)
    return hook

def main():
    run, audit, leave, put, names = exec, sys.audit, os._exit, dict.update, list
    remove, failure = dict.__delitem__, BaseException
    secret, entry, candidate, test, limits = read_input()
    sys.argv = ["candidate.py"]
    os.environ.clear()
    module = types.ModuleType("__main__")
    module.__file__ = "candidate.py"
    module.__builtins__ = builtins
    sys.modules["__main__"] = module
    space, pristine, current = module.__dict__, dict(vars(builtins)), vars(builtins)
    test = compile(test, "test.py", "exec", dont_inherit=True)
    set_limits(limits)
    os.write(3, b"ready\n")
    sys.addaudithook(guard(secret, sys._getframe(0)))
    del secret, limits
    run(compile(candidate, "candidate.py", "exec", dont_inherit=True), space)
    for name in names(current):
        if name not in pristine:
            remove(current, name)
    put(current, pristine)
    scope = {name: value for name, value in space.items()
             if name not in pristine or name == entry or name.startswith("__")}
    scope["__builtins__"] = pristine
    run(test, scope)
    audit("kvengine.end")
    try:
        sys.stdout.flush()
    except failure:
        pass
    leave(0)

main()
)python";

}  // namespace kv
