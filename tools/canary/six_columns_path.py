"""Makes `tools/six_columns.py` importable from this folder: import this module first."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
