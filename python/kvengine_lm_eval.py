"""Lets `lm_eval --model kvengine` find its class.

The harness has a registry of model names but no entry point for other packages. kvengine_lm_eval.pth imports this
module when Python starts; it waits for `lm_eval.models`, which fills that registry, and adds one name to it. Nothing is
imported or done in a process that does not use the harness.
"""

import sys


class _AfterModels:
    """A finder that only wraps the loader of `lm_eval.models`."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "lm_eval.models":
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(cls)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _register()

            spec.loader.exec_module = exec_module
        return spec


def _register():
    try:
        from lm_eval.api.registry import model_registry
    except ImportError:  # older than the lazy registry: `python -m kvengine.lm_eval` registers by importing
        return
    if "kvengine" not in model_registry:
        model_registry.register("kvengine", target="kvengine.lm_eval:KvengineLM")


sys.meta_path.insert(0, _AfterModels)
