"""The harness's own command line with the model class; skipped where lm_eval is not installed."""

import importlib.util
import os
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@unittest.skipUnless(importlib.util.find_spec("lm_eval"), "lm_eval is not installed")
class CommandLine(unittest.TestCase):
    def test_a_task_runs_with_a_compressor(self):
        done = subprocess.run(
            [sys.executable, "-m", "kvengine.lm_eval", "--model", "kvengine",
             "--model_args", f"pretrained={ROOT / 'models' / 'canary'},compressor=streamingllm(ratio=0.5)",
             "--tasks", "kv_places", "--include_path", str(ROOT / "examples" / "lm_eval"), "--limit", "2"],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        self.assertRegex(done.stdout, r"\|kv_places\|.*\|acc ")


if __name__ == "__main__":
    unittest.main()
