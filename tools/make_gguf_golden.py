"""Make the golden file of the GGUF formats: random blocks of every type that the engine reads, each beside the values
that the Python package `gguf` gives for them.

  make_gguf_golden.py            writes tests/data/gguf_formats.gguf

Tensor "Q4_K" holds blocks, tensor "Q4_K.f32" the values. Needs the packages gguf (0.19.0 made the committed file) and numpy; the tests
themselves need no Python.
"""
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, GGUFWriter
from gguf.quants import dequantize

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "gguf_formats.gguf"
ROWS, BLOCKS = 2, {32: 4, 256: 1}  # blocks of a row
# Type -> where the half-precision scales lie in a block.
TYPES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.IQ4_NL: [0],
         Type.MXFP4: [], Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
         Type.IQ4_XS: [0], Type.TQ1_0: [52], Type.TQ2_0: [64]}


def main():
    rng = np.random.default_rng(5)
    writer = GGUFWriter(OUT, "golden")
    for kind, halves in TYPES.items():
        values, size = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (ROWS * BLOCKS[values], size), dtype=np.uint8)
        for at in halves:  # scales of either sign, normal and subnormal, never inf or NaN
            blocks[:, at + 1] &= 0xBB
        data = blocks.reshape(ROWS, -1)
        expected = dequantize(data, kind)
        assert expected.shape == (ROWS, BLOCKS[values] * values) and expected.dtype == np.float32
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        writer.add_tensor(kind.name + ".f32", expected)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{OUT}: {len(TYPES)} types, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
