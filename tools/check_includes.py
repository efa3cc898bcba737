#!/usr/bin/env python3
"""Checks who includes whom: kernels <- engine <- compress <- runner -> tasks, and python on engine and compress.

Usage: check_includes.py [SOURCE_DIR]. Prints one file:line message for each offence; exit 1 if there is any.
"""

import os
import re
import sys

FOLDERS = ("kernels", "engine", "compress", "tasks", "runner", "bench", "python", "tests")

# Which folders of the project a folder may include; its own always.
MAY_INCLUDE = {
    "kernels": set(),
    "engine": {"kernels"},
    "compress": {"kernels"},
    "tasks": set(),
    "runner": {"kernels", "engine", "compress", "tasks"},
    "bench": {"kernels", "engine", "compress"},
    "python": {"kernels", "engine", "compress"},
    "tests": {"kernels", "engine", "compress", "tasks", "runner"},
}

# Single headers beyond that: the seams.
ALSO_HEADERS = {
    "compress": {
        "engine/kv_policy.h",
        "engine/kv_codec.h",
        "engine/kv_plan.h",
        "engine/step_rules.h",
        "engine/error.h",
        "engine/safetensors.h",
        "engine/value.h",
    },
    "tasks": {"engine/error.h", "engine/value.h"},
}

# Libraries that stay in few files: a pattern for the header, a pattern for the files that may include it, the reason.
# tests and bench are free to use any library.
LIBRARIES = (
    (r"(tbb|oneapi/tbb)/", r"kernels/parallel\.cc", "TBB only in kernels/parallel.cc"),
    (r"yaml-cpp/", r"runner/(config|yaml[^/]*)\.cc", "yaml-cpp only in runner/config.cc and runner/yaml*.cc"),
    (r"CLI/", r"runner/main\.cc", "CLI11 only in runner/main.cc"),
    (r"nlohmann/json\.hpp", r".*\.cc", "nlohmann/json.hpp never in a header"),
    (r"librsvg/|cairo", r"runner/svg_png\.cc", "librsvg and cairo only in runner/svg_png.cc"),
    (r"pybind11/", r"python/module\.cc", "pybind11 only in python/module.cc"),
    (r"cblas", r"engine/linear\.cc", "cblas.h only in engine/linear.cc"),
)

# Besides these, kernels take nothing but the standard library and, for huge pages, mmap: no .h of another library.
KERNEL_SYSTEM_HEADERS = re.compile(r"[a-z_0-9]+$|immintrin\.h$|sys/mman\.h$|tbb/")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def offence(path, quote, header):
    """The reason why the file at `path` may not include `header`, or None."""
    folder = path.split("/")[0]
    target = header.split("/")[0]
    if target in FOLDERS:
        if quote == "<":
            return "headers of the project are included with quotes"
        if target == folder or target in MAY_INCLUDE[folder]:
            return None
        if header in ALSO_HEADERS.get(folder, ()):
            return None
        return f"{folder} may not include {header}"
    if quote == '"':
        return f'"{header}": give the path from the source folder'
    if folder == "kernels" and not KERNEL_SYSTEM_HEADERS.match(header):
        return f"kernels use the standard library only, not <{header}>"
    for pattern, allowed, reason in LIBRARIES:
        if re.match(pattern, header) and not re.fullmatch(allowed, path):
            return None if folder in ("tests", "bench") else reason
    return None


def check_file(root, path):
    offences = []
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            reason = offence(path, *match.groups()) if match else None
            if reason:
                offences.append(f"{path}:{number}: {reason}")
    return offences


def sources(root):
    for folder in FOLDERS:
        for directory, _, names in sorted(os.walk(os.path.join(root, folder))):
            for name in sorted(names):
                if name.endswith((".h", ".cc", ".inc")):
                    path = os.path.relpath(os.path.join(directory, name), root)
                    yield path.replace(os.sep, "/")


def main():
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    root = sys.argv[1] if len(sys.argv) > 1 else default
    paths = list(sources(root))
    if not paths:
        print(f"{root}: no sources found", file=sys.stderr)
        return 2
    offences = [message for path in paths for message in check_file(root, path)]
    for message in offences:
        print(message)
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
