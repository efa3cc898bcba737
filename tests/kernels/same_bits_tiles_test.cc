// The tile loaders of every instruction set against their scalar definitions, bit by bit.
#include "tests/kernels/harness.h"

namespace kv::test {
namespace {

struct KeyShape {
  int head_dim, rotary_dim;  // rotary_dim 0: cos is null
};
const KeyShape kKeyShapes[] = {{1, 0},   {2, 2},   {7, 4},    {48, 0},    {64, 64},
                               {80, 32}, {96, 96}, {128, 64}, {128, 128}, {256, 256}};
const int kHeadDims[] = {1, 3, 8, 15, 16, 17, 31, 32, 33, 48, 64, 72, 80, 96, 100, 128, 256};

// cos and sin tables of one shape, null where there is no rotation.
struct Rotation {
  Rotation(Rng& rng, int rotary_dim)
      : cos_(random_floats(rng, rotary_dim / 2 * kTile), 1),
        sin_(random_floats(rng, rotary_dim / 2 * kTile), 2),
        rotary_dim_(rotary_dim) {}
  const float* cos() { return rotary_dim_ == 0 ? nullptr : cos_.data(); }
  const float* sin() { return rotary_dim_ == 0 ? nullptr : sin_.data(); }

 private:
  Guarded<float> cos_, sin_;
  int rotary_dim_;
};

template <typename T, typename Make, typename Loader>
void check_load_keys(const std::string& name, const Make& make, Loader loader) {
  for (const KeyShape& s : kKeyShapes) {
    Rng rng(static_cast<unsigned>(s.head_dim));
    const std::vector<T> tile = make(rng, s.head_dim * kTile);
    Rotation rotation(rng, s.rotary_dim);
    expect_same_bits(name, describe("head_dim", s.head_dim, "rotary_dim", s.rotary_dim),
                     [&](const Kernels& table) {
                       Guarded<T> in(tile, 1);
                       Guarded<float> out(s.head_dim * kTile, 3);
                       (table.*loader)(in.data(), s.head_dim, rotation.cos(), rotation.sin(),
                                       s.rotary_dim, out.data());
                       Output output;
                       output.add(out);
                       return output;
                     });
  }
}

std::vector<float> make_floats(Rng& rng, int64_t n) {
  return random_floats(rng, n);
}

void check_load_keys_f32() {
  check_load_keys<float>("load_keys_f32", make_floats, &Kernels::load_keys_f32);
}
void check_load_keys_f16() {
  check_load_keys<uint16_t>("load_keys_f16", random_f16, &Kernels::load_keys_f16);
}
void check_load_keys_bf16() {
  check_load_keys<uint16_t>("load_keys_bf16", random_bf16, &Kernels::load_keys_bf16);
}

TEST(SameBitsTiles, LoadKeysInPlaceIsTheSame) {
  for (const auto& [isa, table] : all_tables()) {
    Rng rng(5);
    Guarded<float> tile(random_floats(rng, 64 * kTile), 1), out(64 * kTile, 1);
    Rotation rotation(rng, 48);
    table->load_keys_f32(tile.data(), 64, rotation.cos(), rotation.sin(), 48, out.data());
    table->load_keys_f32(tile.data(), 64, rotation.cos(), rotation.sin(), 48, tile.data());
    EXPECT_EQ(tile.values(), out.values()) << isa;
  }
}

void check_load_keys_int(const KeyShape& s, int bits, int group, int block) {
  Rng rng(static_cast<unsigned>(s.head_dim * bits));
  const int n_groups = (s.head_dim + group - 1) / group;
  const auto codes = random_bytes(rng, s.head_dim * kTile * bits / 8);
  const auto scale = random_f16(rng, n_groups * kTile);
  const auto minimum = random_f16(rng, n_groups * kTile);
  Rotation rotation(rng, s.rotary_dim);
  const std::string parameters = describe("bits", bits, "group", group, "head_dim", s.head_dim,
                                          "block", block, "rotary_dim", s.rotary_dim);
  expect_same_bits("load_keys_int", parameters, [&](const Kernels& table) {
    Guarded<uint8_t> c(codes, 3);
    Guarded<uint16_t> f(scale, 1), o(minimum, 1);
    Guarded<float> out(s.head_dim * kTile, 1);
    table.load_keys_int(bits, c.data(), f.data(), o.data(), group, s.head_dim, block,
                        rotation.cos(), rotation.sin(), s.rotary_dim, out.data());
    Output output;
    output.add(out);
    return output;
  });
}

void check_load_keys_int() {
  for (int bits : {8, 4, 2}) {
    for (const KeyShape& s : kKeyShapes) {
      for (int group : {1, 8, 32, 100, 128}) check_load_keys_int(s, bits, group, 1);
    }
    for (int head_dim : {2, 4, 8, 16, 48, 64, 80, 96, 128, 256, 512}) {
      for (int rotary_dim : {0, head_dim / 4 * 2, head_dim}) {
        for (int group : {1, 8, 12, 16, 32, 64, 128, 256})
          check_load_keys_int({head_dim, rotary_dim}, bits, group, head_dim & -head_dim);
      }
    }
    check_load_keys_int({64, 64}, bits, 32, 16);  // several blocks
  }
}

// product(table, scores): what a table makes of m query rows (m, s.head_dim + 1).
template <typename Product>
void expect_same_scores(const std::string& name, const std::string& parameters, const KeyShape& s,
                        Rng& rng, int m, const Product& product) {
  const auto q = random_floats(rng, m * (s.head_dim + 1));
  expect_same_bits(name, parameters, [&](const Kernels& table) {
    Guarded<float> queries(q, 1), scores(m * (kTile + 3), 3);
    product(table, {queries.data(), s.head_dim + 1, m, scores.data(), kTile + 3});
    Output output;
    output.add(scores);
    return output;
  });
}

template <typename T, typename Make, typename Scorer>
void check_score_keys(const std::string& name, const Make& make, Scorer scorer) {
  for (const KeyShape& s : kKeyShapes) {
    for (int m : {1, 2, 3, 4, 5, 9}) {
      Rng rng(static_cast<unsigned>(s.head_dim + m));
      const std::vector<T> tile = make(rng, s.head_dim * kTile);
      Rotation rotation(rng, s.rotary_dim);
      expect_same_scores(name, describe("head_dim", s.head_dim, "rotary_dim", s.rotary_dim, "m", m),
                         s, rng, m, [&](const Kernels& table, const KeyProduct& product) {
                           Guarded<T> in(tile, 1);
                           (table.*scorer)(in.data(), s.head_dim, rotation.cos(), rotation.sin(),
                                           s.rotary_dim, product);
                         });
    }
  }
}

void check_score_keys_f32() {
  check_score_keys<float>("score_keys_f32", make_floats, &Kernels::score_keys_f32);
}
void check_score_keys_f16() {
  check_score_keys<uint16_t>("score_keys_f16", random_f16, &Kernels::score_keys_f16);
}
void check_score_keys_bf16() {
  check_score_keys<uint16_t>("score_keys_bf16", random_bf16, &Kernels::score_keys_bf16);
}

void check_score_keys_int(const KeyShape& s, int bits, int group, int m) {
  Rng rng(static_cast<unsigned>(s.head_dim * bits + m));
  const int n_groups = (s.head_dim + group - 1) / group;
  const auto codes = random_bytes(rng, s.head_dim * kTile * bits / 8);
  const auto scale = random_f16(rng, n_groups * kTile);
  const auto minimum = random_f16(rng, n_groups * kTile);
  Rotation rotation(rng, s.rotary_dim);
  expect_same_scores("score_keys_int",
                     describe("bits", bits, "group", group, "head_dim", s.head_dim, "rotary_dim",
                              s.rotary_dim, "m", m),
                     s, rng, m, [&](const Kernels& table, const KeyProduct& product) {
                       Guarded<uint8_t> c(codes, 3);
                       Guarded<uint16_t> f(scale, 1), o(minimum, 1);
                       table.score_keys_int(bits, c.data(), f.data(), o.data(), group, s.head_dim,
                                            rotation.cos(), rotation.sin(), s.rotary_dim, product);
                     });
}

void check_score_keys_int() {
  for (int bits : {8, 4, 2}) {
    for (const KeyShape& s : kKeyShapes) {
      for (int group : {1, 12, 32, 100, 128}) {
        for (int m : {1, 3, 4, 6}) check_score_keys_int(s, bits, group, m);
      }
    }
  }
}

// The scores are those of the unpacked tile.
TEST(SameBitsTiles, ScoresAreTheProductOfTheLoadedTile) {
  constexpr int kDim = 64, kRotary = 48, kRows = 3;
  for (const auto& [isa, table] : all_tables()) {
    Rng rng(6);
    const std::vector<uint16_t> tile = random_f16(rng, kDim * kTile);
    const std::vector<float> q = random_floats(rng, kRows * kDim);
    Rotation rotation(rng, kRotary);
    std::vector<float> keys(kDim * kTile), expected(kRows * kTile), scores(kRows * kTile);
    table->load_keys_f16(tile.data(), kDim, rotation.cos(), rotation.sin(), kRotary, keys.data());
    table->gemm_f32(q.data(), kDim, kRows, kDim, keys.data(), kTile, expected.data(), kTile, false);
    table->score_keys_f16(tile.data(), kDim, rotation.cos(), rotation.sin(), kRotary,
                          {q.data(), kDim, kRows, scores.data(), kTile});
    EXPECT_EQ(scores, expected) << isa;
  }
}

template <typename T, typename Make, typename Weigher>
void check_weigh_values(const std::string& name, const Make& make, Weigher weigher) {
  for (int head_dim : {kPanel, 2 * kPanel, 3 * kPanel}) {
    for (int n : {0, 1, 17, kTile}) {
      for (int m : {1, 2, 3, 4, 5, 9}) {
        Rng rng(static_cast<unsigned>(head_dim + n + m));
        const std::vector<T> tile = make(rng, n * head_dim);
        const auto weights = make_floats(rng, m * kTile), before = make_floats(rng, m * head_dim);
        for (bool accumulate : {false, true}) {
          expect_same_bits(name,
                           describe("head_dim", head_dim, "n", n, "m", m, "accumulate", accumulate),
                           [&](const Kernels& table) {
                             Guarded<T> in(tile, 1);
                             Guarded<float> a(weights, 1), out(before, 3);
                             (table.*weigher)(in.data(), n, head_dim,
                                              {a.data(), kTile, m, out.data(), accumulate});
                             Output output;
                             output.add(out);
                             return output;
                           });
        }
      }
    }
  }
}

void check_weigh_values_f32() {
  check_weigh_values<float>("weigh_values_f32", make_floats, &Kernels::weigh_values_f32);
}
void check_weigh_values_f16() {
  check_weigh_values<uint16_t>("weigh_values_f16", random_f16, &Kernels::weigh_values_f16);
}
void check_weigh_values_bf16() {
  check_weigh_values<uint16_t>("weigh_values_bf16", random_bf16, &Kernels::weigh_values_bf16);
}

void check_load_keys_channels() {
  for (int head_dim : kHeadDims) {
    for (int bits : {8, 4, 2}) {
      for (int group : {4, 8, 16, 32}) {
        Rng rng(static_cast<unsigned>(head_dim * bits + group));
        const auto codes = random_bytes(rng, head_dim * kTile * bits / 8);
        const auto scale = random_f16(rng, head_dim * (kTile / group));
        const auto minimum = random_f16(rng, head_dim * (kTile / group));
        const std::string parameters = describe("bits", bits, "group", group, "head_dim", head_dim);
        expect_same_bits("load_keys_channels", parameters, [&](const Kernels& table) {
          Guarded<uint8_t> c(codes, 3);
          Guarded<uint16_t> f(scale, 1), o(minimum, 1);
          Guarded<float> out(head_dim * kTile, 1);
          table.load_keys_channels(bits, c.data(), f.data(), o.data(), group, head_dim, out.data());
          Output output;
          output.add(out);
          return output;
        });
      }
    }
  }
}

template <typename T, typename Make, typename Loader>
void check_load_values(const std::string& name, const Make& make, Loader loader) {
  for (int head_dim : kHeadDims) {
    for (int n : {0, 1, 5, kTile}) {
      Rng rng(static_cast<unsigned>(head_dim * 64 + n));
      const std::vector<T> tile = make(rng, n * head_dim);
      expect_same_bits(name, describe("n", n, "head_dim", head_dim), [&](const Kernels& table) {
        Guarded<T> in(tile, 1);
        Guarded<float> out(n * padded(head_dim), 1);
        (table.*loader)(in.data(), n, head_dim, out.data());
        Output output;
        output.add(out);
        return output;
      });
    }
  }
}

void check_load_values_f32() {
  check_load_values<float>("load_values_f32", make_floats, &Kernels::load_values_f32);
}
void check_load_values_f16() {
  check_load_values<uint16_t>("load_values_f16", random_f16, &Kernels::load_values_f16);
}
void check_load_values_bf16() {
  check_load_values<uint16_t>("load_values_bf16", random_bf16, &Kernels::load_values_bf16);
}

void check_load_values_int() {
  for (int head_dim : kHeadDims) {
    for (int bits : {8, 4, 2}) {
      for (int group : {1, 8, 16, 24, 32, 64, 300}) {
        const int n = head_dim % 2 == 0 ? kTile : 3;
        Rng rng(static_cast<unsigned>(head_dim * bits));
        const int n_groups = (head_dim + group - 1) / group;
        const auto codes = random_bytes(rng, n * ((head_dim * bits + 7) / 8));
        const auto scale = random_f16(rng, kTile * n_groups);
        const auto minimum = random_f16(rng, kTile * n_groups);
        const std::string parameters =
            describe("bits", bits, "group", group, "n", n, "head_dim", head_dim);
        expect_same_bits("load_values_int", parameters, [&](const Kernels& table) {
          Guarded<uint8_t> c(codes, 1);
          Guarded<uint16_t> f(scale, 1), o(minimum, 1);
          Guarded<float> out(n * padded(head_dim), 1);
          table.load_values_int(bits, c.data(), f.data(), o.data(), group, n, head_dim, out.data());
          Output output;
          output.add(out);
          return output;
        });
      }
    }
  }
}

void check_decode_rows() {
  constexpr int kRows = 3;
  for (int bits : {8, 4, 3, 2, 1}) {
    for (int n : {0, 1, 5, 16, 17, 31, 32, 64, 100}) {
      for (int step : {0, 1}) {
        for (CodeValue value :
             {CodeValue::kFused, CodeValue::kScaleThenAdd, CodeValue::kSubtractThenScale}) {
          Rng rng(static_cast<unsigned>(bits * 100 + n));
          const int row_bytes = (n * bits + 7) / 8, row_step = step == 0 ? 2 : n;
          const int n_scales = (kRows - 1) * row_step + (step == 0 ? 1 : n);
          const auto codes = random_bytes(rng, kRows * row_bytes);
          const auto scales = make_floats(rng, n_scales), offsets = make_floats(rng, n_scales);
          const std::string parameters =
              describe("bits", bits, "n", n, "step", step, "value", static_cast<int>(value));
          expect_same_bits("decode_rows", parameters, [&](const Kernels& table) {
            Guarded<uint8_t> c(codes, 3);
            Guarded<float> s(scales, 3), o(offsets, 1), out(int64_t{kRows} * (n + 1), 1);
            table.decode_rows(
                {bits, value, c.data(), row_bytes, s.data(), o.data(), row_step, step}, kRows, n,
                out.data(), n + 1);
            Output output;
            output.add(out);
            return output;
          });
        }
      }
    }
  }
}

void check_weigh_rows() {
  constexpr int kRows = 5, kGroups = 3;
  for (int bits : {8, 4, 3, 2, 1}) {
    for (int n_columns : {kPanel, 3 * kPanel}) {
      for (int m : {1, 2, 3, 4, 5, 9}) {
        for (CodeValue value :
             {CodeValue::kFused, CodeValue::kScaleThenAdd, CodeValue::kSubtractThenScale}) {
          for (int step : {0, 1}) {
            Rng rng(static_cast<unsigned>(bits * 100 + n_columns + m));
            const int row_bytes = n_columns * bits / 8 + 1;
            const int row_step = step == 0 ? kGroups : n_columns + 1;
            const int n_scales = (kRows - 1) * row_step + (step == 0 ? 1 : n_columns);
            const auto codes = random_bytes(rng, kRows * row_bytes - 1);
            const auto scales = make_floats(rng, n_scales), offsets = make_floats(rng, n_scales);
            const auto weights = make_floats(rng, m * kRows),
                       before = make_floats(rng, m * n_columns);
            for (bool accumulate : {false, true}) {
              const std::string parameters =
                  describe("bits", bits, "n_columns", n_columns, "m", m, "value",
                           static_cast<int>(value), "step", step, "accumulate", accumulate);
              expect_same_bits("weigh_rows", parameters, [&](const Kernels& table) {
                Guarded<uint8_t> c(codes, 3);
                Guarded<float> s(scales, 3), o(offsets, 1), a(weights, 1), out(before, 3);
                table.weigh_rows(
                    {bits, value, c.data(), row_bytes, s.data(), o.data(), row_step, step}, kRows,
                    n_columns, a.data(), kRows, m, out.data(), n_columns, accumulate);
                Output output;
                output.add(out);
                return output;
              });
            }
          }
        }
      }
    }
  }
}

void check_decode_transposed() {
  for (int bits : {8, 4, 3, 2, 1}) {
    for (int n_columns : {0, 1, 7, 8, 16, 33, 64, 80}) {
      for (int n_rows : {1, 5, 8, 31, kTile}) {
        for (int step : {0, 1}) {
          for (CodeValue value :
               {CodeValue::kFused, CodeValue::kScaleThenAdd, CodeValue::kSubtractThenScale}) {
            Rng rng(static_cast<unsigned>(bits * 100 + n_columns + n_rows));
            const int row_bytes = (n_columns * bits + 7) / 8, row_step = step == 0 ? 2 : n_columns;
            const int n_scales = (n_rows - 1) * row_step + (step == 0 ? 1 : n_columns);
            const auto codes = random_bytes(rng, n_rows * row_bytes);
            const auto scales = make_floats(rng, n_scales), offsets = make_floats(rng, n_scales);
            const std::string parameters =
                describe("bits", bits, "n_columns", n_columns, "n_rows", n_rows, "step", step,
                         "value", static_cast<int>(value));
            expect_same_bits("decode_transposed", parameters, [&](const Kernels& table) {
              Guarded<uint8_t> c(codes, 3);
              Guarded<float> s(scales, 3), o(offsets, 1), out(int64_t{kTile} * n_columns, 1);
              table.decode_transposed(
                  {bits, value, c.data(), row_bytes, s.data(), o.data(), row_step, step}, n_rows,
                  n_columns, out.data());
              Output output;
              output.add(out);
              return output;
            });
          }
        }
      }
    }
  }
}

void check_hadamard() {
  for (int block : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    for (int n_blocks : {0, 1, 3}) {
      const int n = block * n_blocks;
      Rng rng(static_cast<unsigned>(n));
      const auto x = make_floats(rng, n);
      expect_same_bits("hadamard", describe("block", block, "n", n), [&](const Kernels& table) {
        Guarded<float> out(x, 3);
        table.hadamard(out.data(), n, block);
        Output output;
        output.add(out);
        return output;
      });
    }
  }
}

void check_transpose_rows() {
  for (int n_columns : {0, 1, 3, 4, 7, 16, 33, 64, 80}) {
    for (int n_rows : {1, 5, kTile}) {  // different ones
      Rng rng(static_cast<unsigned>(n_columns * 64 + n_rows));
      const auto x = make_floats(rng, int64_t{n_rows} * n_columns);
      expect_same_bits("transpose_rows", describe("n_columns", n_columns, "n_rows", n_rows),
                       [&](const Kernels& table) {
                         Guarded<float> in(x, 1), out(int64_t{kTile} * n_columns, 3);
                         const float* rows[kTile];
                         for (int r = 0; r < kTile; ++r)
                           rows[r] = in.data() + r * 7 % n_rows * n_columns;
                         table.transpose_rows(rows, n_columns, out.data());
                         Output output;
                         output.add(out);
                         return output;
                       });
    }
  }
}

}  // namespace

std::vector<KernelCheck> tile_checks() {
  return {{"load_keys_f32", check_load_keys_f32},
          {"load_keys_f16", check_load_keys_f16},
          {"load_keys_bf16", check_load_keys_bf16},
          {"load_keys_int", check_load_keys_int},
          {"load_keys_channels", check_load_keys_channels},
          {"score_keys_f32", check_score_keys_f32},
          {"score_keys_f16", check_score_keys_f16},
          {"score_keys_bf16", check_score_keys_bf16},
          {"score_keys_int", check_score_keys_int},
          {"weigh_values_f32", check_weigh_values_f32},
          {"weigh_values_f16", check_weigh_values_f16},
          {"weigh_values_bf16", check_weigh_values_bf16},
          {"load_values_f32", check_load_values_f32},
          {"load_values_f16", check_load_values_f16},
          {"load_values_bf16", check_load_values_bf16},
          {"load_values_int", check_load_values_int},
          {"decode_rows", check_decode_rows},
          {"weigh_rows", check_weigh_rows},
          {"transpose_rows", check_transpose_rows},
          {"decode_transposed", check_decode_transposed},
          {"hadamard", check_hadamard}};
}

}  // namespace kv::test
