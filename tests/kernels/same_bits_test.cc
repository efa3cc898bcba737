// Every kernel of every instruction set against its scalar definition, bit by bit.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "tests/kernels/harness.h"

namespace kv::test {
namespace {

// All (n, offset) pairs of the one-dimensional kernels.
template <typename Body>
void for_each_size(const Body& body) {
  for (int64_t n : kSizes) {
    for (int offset : kOffsets) {
      Rng rng(static_cast<unsigned>(n * 8 + offset));
      body(rng, n, offset, describe("n", n, "offset", offset));
    }
  }
}

struct GemmShape {
  int m, k;
  int64_t extra;  // added to each row stride
  bool accumulate;
};

std::vector<GemmShape> gemm_shapes() {
  std::vector<GemmShape> shapes;
  for (int m = 0; m <= 30; ++m) shapes.push_back({m, 5, 3, m % 2 == 0});
  for (int m : {1, 2, 3, 6, 7, 12, 14, 15, 33, 61}) {
    for (int k : {0, 1, 2, 16, 67, 257}) {
      for (int64_t extra : {0, 1}) shapes.push_back({m, k, extra, (m + k) % 2 == 0});
    }
  }
  return shapes;
}

// table.*gemm on weights from make(rng, count).
template <typename T, typename Make>
void check_gemm(const std::string& name,
                void (*Kernels::*gemm)(const float*, int64_t, int, int, const T*, int64_t, float*,
                                       int64_t, bool),
                const Make& make) {
  for (const GemmShape& s : gemm_shapes()) {
    Rng rng(static_cast<unsigned>(s.m * 1000 + s.k));
    const int64_t lda = s.k + s.extra, ldb = kPanel + s.extra, ldc = kPanel + s.extra;
    const auto a = random_floats(rng, s.m * lda);
    const auto b = make(rng, s.k * ldb);
    const auto c = random_floats(rng, s.m * ldc);
    const std::string parameters =
        describe("m", s.m, "k", s.k, "lda", lda, "ldb", ldb, "ldc", ldc, "add", s.accumulate);
    expect_same_bits(name, parameters, [&](const Kernels& table) {
      Guarded<float> a_in(a, 1), c_out(c, 3);
      Guarded<T> b_in(b, 1);
      (table.*gemm)(a_in.data(), lda, s.m, s.k, b_in.data(), ldb, c_out.data(), ldc, s.accumulate);
      Output output;
      output.add(c_out);
      return output;
    });
  }
}

void check_gemm_f32() {
  check_gemm<float>("gemm_f32", &Kernels::gemm_f32,
                    [](Rng& rng, int64_t n) { return random_floats(rng, n); });
}
void check_gemm_f16() {
  check_gemm<uint16_t>("gemm_f16", &Kernels::gemm_f16, random_f16);
}
void check_gemm_bf16() {
  check_gemm<uint16_t>("gemm_bf16", &Kernels::gemm_bf16, random_bf16);
}

void check_to_int8() {
  for_each_size([](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    auto x = random_floats(rng, n, -120, 20);
    if (n > 40) std::fill(x.begin() + 32, x.begin() + 40, 0.0f);
    const int64_t groups = (n + kInt8Group - 1) / kInt8Group;
    for (const float special : {1.0f, HUGE_VALF, std::numeric_limits<float>::quiet_NaN()}) {
      if (n > 5) x[5] = special;
      expect_same_bits("to_int8", parameters, [&](const Kernels& table) {
        Guarded<float> x_in(x, offset), scales(groups, offset);
        Guarded<int8_t> codes(groups * kInt8Group, offset);
        Guarded<int32_t> sums(groups, offset);
        table.to_int8(x_in.data(), static_cast<int>(n), codes.data(), scales.data(), sums.data());
        Output output;
        output.add(codes);
        output.add(scales);
        output.add(sums);
        return output;
      });
    }
  });
}

// Codes over the whole range, the extreme ones often.
std::vector<int8_t> random_codes(Rng& rng, int64_t n) {
  std::vector<int8_t> codes(static_cast<size_t>(n));
  for (int8_t& code : codes) {
    const int draw = static_cast<int>(rng() % 300) - 150;
    code = static_cast<int8_t>(draw > 127 ? 127 : draw < -127 ? -127 : draw);
  }
  return codes;
}

// A panel of n_groups groups as kInt8GroupBytes describes it.
std::vector<std::byte> random_panel(Rng& rng, int n_groups) {
  std::vector<std::byte> panel;
  for (int g = 0; g < n_groups; ++g) {
    const auto scales = random_f16(rng, kPanel);
    const auto codes = random_codes(rng, kInt8Group * kPanel);
    const auto* bytes = reinterpret_cast<const std::byte*>(scales.data());
    panel.insert(panel.end(), bytes, bytes + 2 * kPanel);
    bytes = reinterpret_cast<const std::byte*>(codes.data());
    panel.insert(panel.end(), bytes, bytes + codes.size());
  }
  return panel;
}

// Likewise, as kInt4GroupBytes says.
std::vector<std::byte> random_panel_of_halves(Rng& rng, int n_groups) {
  std::vector<std::byte> panel;
  for (int g = 0; g < n_groups; ++g) {
    const auto scales = random_floats(rng, 2 * kPanel);  // and minimums
    const auto codes = random_codes(rng, kInt8Group * kPanel / 2);
    const auto* bytes = reinterpret_cast<const std::byte*>(scales.data());
    panel.insert(panel.end(), bytes, bytes + 8 * kPanel);
    bytes = reinterpret_cast<const std::byte*>(codes.data());
    panel.insert(panel.end(), bytes, bytes + codes.size());
  }
  return panel;
}

void check_product_of_codes(const char* name, decltype(Kernels::gemm_int8) Kernels::*product,
                            std::vector<std::byte> (*panel_of)(Rng&, int)) {
  for (int n_groups : {0, 1, 2, 5, 18}) {
    for (int m : {0, 1, 2, 3, 5, 6, 7, 11, 12, 13, 40}) {
      Rng rng(static_cast<unsigned>(m * 100 + n_groups));
      const int64_t groups = static_cast<int64_t>(m) * n_groups, ldc = kPanel + 3;
      const auto codes = random_codes(rng, groups * kInt8Group);
      const auto scales = random_floats(rng, groups);
      std::vector<int32_t> sums(static_cast<size_t>(groups));
      for (size_t i = 0; i < codes.size(); ++i) sums[i / kInt8Group] += codes[i];
      const auto panel = panel_of(rng, n_groups);
      expect_same_bits(name, describe("m", m, "groups", n_groups),
                       [&](const Kernels& table) {
                         Guarded<int8_t> codes_in(codes, 1);
                         Guarded<float> scales_in(scales, 1), c(m * ldc, 3);
                         Guarded<int32_t> sums_in(sums, 1);
                         Guarded<std::byte> panel_in(panel, 1);
                         (table.*product)(codes_in.data(), scales_in.data(), sums_in.data(), m,
                                          n_groups, panel_in.data(), c.data(), ldc);
                         Output output;
                         output.add(c);
                         return output;
                       });
    }
  }
}

void check_rms_norm() {
  for_each_size([](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    const auto x = random_floats(rng, n), weight = random_floats(rng, n);
    for (bool in_place : {false, true}) {
      expect_same_bits("rms_norm", parameters, [&](const Kernels& table) {
        Guarded<float> x_in(x, offset), w_in(weight, 1), out(n, offset);
        float* target = in_place ? x_in.data() : out.data();
        table.rms_norm(x_in.data(), w_in.data(), static_cast<int>(n), 1e-5f, target);
        Output output;
        output.add(in_place ? x_in : out);
        return output;
      });
    }
  });
}

void check_layer_norm() {
  for_each_size([](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    const auto x = random_floats(rng, n), weight = random_floats(rng, n);
    const auto bias = random_floats(rng, n);
    for (bool in_place : {false, true}) {
      expect_same_bits("layer_norm", parameters, [&](const Kernels& table) {
        Guarded<float> x_in(x, offset), w_in(weight, 1), b_in(bias, 2), out(n, offset);
        float* target = in_place ? x_in.data() : out.data();
        table.layer_norm(x_in.data(), w_in.data(), b_in.data(), static_cast<int>(n), 1e-5f, target);
        Output output;
        output.add(in_place ? x_in : out);
        return output;
      });
    }
  });
}

void check_into(const std::string& name, void (*Kernels::*kernel)(float*, const float*, int64_t)) {
  for_each_size([&](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    const auto x = random_floats(rng, n), y = random_floats(rng, n);
    expect_same_bits(name, parameters, [&](const Kernels& table) {
      Guarded<float> x_io(x, offset), y_in(y, 1);
      (table.*kernel)(x_io.data(), y_in.data(), n);
      Output output;
      output.add(x_io);
      return output;
    });
  });
}
void check_add() {
  check_into("add", &Kernels::add);
}
void check_mul() {
  check_into("mul", &Kernels::mul);
}

void check_silu_mul() {
  for_each_size([](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    const auto x = random_floats(rng, n, -20, 7), y = random_floats(rng, n);
    for (bool in_place : {false, true}) {
      expect_same_bits("silu_mul", parameters, [&](const Kernels& table) {
        Guarded<float> gate(x, offset), up(y, 1), out(n, offset);
        table.silu_mul(gate.data(), up.data(), n, in_place ? gate.data() : out.data());
        Output output;
        output.add(in_place ? gate : out);
        return output;
      });
    }
  });
}

void check_scale() {
  for_each_size([](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    const auto x = random_floats(rng, n);
    for (bool in_place : {false, true}) {
      expect_same_bits("scale", parameters, [&](const Kernels& table) {
        Guarded<float> in(x, offset), out(n, 2);
        table.scale(in.data(), 0.3f, n, in_place ? in.data() : out.data());
        Output output;
        output.add(in_place ? in : out);
        return output;
      });
    }
  });
}

void check_function(const std::string& name, void (*Kernels::*function)(float*, int64_t)) {
  for_each_size([&](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    auto x = random_floats(rng, n, -30, 8);
    const float inf = std::numeric_limits<float>::infinity();
    const float special[] = {inf, -inf, 88.72283f, 88.7229f, -87.3365f, -87.337f, -1e30f, 1e-40f};
    for (size_t i = 0; i < x.size(); i += 5) x[i] = special[i / 5 % 8];
    // GELU of an infinity is 0 * inf.
    if (name.starts_with("gelu")) std::replace(x.begin(), x.end(), -inf, -3.0f);
    expect_same_bits(name, parameters, [&](const Kernels& table) {
      Guarded<float> io(x, offset);
      (table.*function)(io.data(), n);
      Output output;
      output.add(io);
      return output;
    });
  });
}
void check_exp_inplace() {
  check_function("exp_inplace", &Kernels::exp_inplace);
}
void check_tanh_inplace() {
  check_function("tanh_inplace", &Kernels::tanh_inplace);
}
void check_gelu_tanh() {
  check_function("gelu_tanh", &Kernels::gelu_tanh);
}
void check_gelu_erf() {
  check_function("gelu_erf", &Kernels::gelu_erf);
}

void check_softmax_block() {
  for (int n = 1; n <= kAttnBlock; ++n) {
    Rng rng(static_cast<unsigned>(n));
    auto scores = random_floats(rng, n, -4, 6);
    for (int i = 0; i + 1 < n; i += 3) scores[i] = -std::numeric_limits<float>::infinity();
    if (n % 5 == 0) scores.assign(scores.size(), n % 2 == 0 ? 0.0f : -0.0f);
    const int rounded = (n + kLanes - 1) / kLanes * kLanes;
    scores.resize(static_cast<size_t>(rounded), std::numeric_limits<float>::quiet_NaN());
    expect_same_bits("softmax_block", describe("n", n), [&](const Kernels& table) {
      Guarded<float> s(scores, n % 3);
      float largest = -1, sum = -1;
      table.softmax_block(s.data(), n, &largest, &sum);
      Output output;
      output.add(s);
      output.add(largest);
      output.add(sum);
      return output;
    });
  }
}

void check_merge_blocks() {
  const float inf = std::numeric_limits<float>::infinity();
  for_each_size([inf](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    const auto a = random_floats(rng, n), b = random_floats(rng, n);
    for (float ma : {-inf, -3.0f, 0.0f, -0.0f, 2.5f, 300.0f}) {
      for (float mb : {-0.0f, 0.7f, 300.0f}) {
        expect_same_bits(
            "merge_blocks", parameters + std::to_string(ma), [&](const Kernels& table) {
              Guarded<float> oa(a, offset), ob(b, 1);
              float m = ma, l = 1.7f;
              table.merge_blocks(oa.data(), &m, &l, ob.data(), mb, 3.1f, static_cast<int>(n));
              Output output;
              output.add(oa);
              output.add(m);
              output.add(l);
              return output;
            });
      }
    }
  });
}

void check_rotate_row() {
  for (int rotary_dim : {0, 2, 6, 16, 30, 32, 34, 64, 80, 128, 194}) {
    for (int offset : kOffsets) {
      Rng rng(static_cast<unsigned>(rotary_dim));
      const auto x = random_floats(rng, rotary_dim + 3);
      const auto cos = random_floats(rng, rotary_dim / 2), sin = random_floats(rng, rotary_dim / 2);
      expect_same_bits("rotate_row", describe("rotary_dim", rotary_dim, "offset", offset),
                       [&](const Kernels& table) {
                         Guarded<float> io(x, offset), c(cos, 1), s(sin, 2);
                         table.rotate_row(io.data(), c.data(), s.data(), rotary_dim);
                         Output output;
                         output.add(io);
                         return output;
                       });
    }
  }
}

template <typename Narrow>
void check_narrow(const std::string& name, Narrow narrow) {
  for_each_size([&](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    auto x = random_floats(rng, n, -40, 20);
    for (size_t i = 0; i < x.size(); i += 3) {  // ties, up to overflow
      const uint32_t half_tie = rng() % 2 == 0 ? 0x1000u : 0x8000u;
      x[i] = std::bit_cast<float>(static_cast<uint32_t>(rng() & 0xbfff0000u) | half_tie);
    }
    expect_same_bits(name, parameters, [&](const Kernels& table) {
      Guarded<float> in(x, offset);
      Guarded<uint16_t> out(n, offset);
      (table.*narrow)(in.data(), n, out.data());
      Output output;
      output.add(out);
      return output;
    });
  });
}
void check_to_f16() {
  check_narrow("to_f16", &Kernels::to_f16);
}
void check_to_bf16() {
  check_narrow("to_bf16", &Kernels::to_bf16);
}

template <typename Make, typename Widen>
void check_widen(const std::string& name, const Make& make, Widen widen) {
  for_each_size([&](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    const std::vector<uint16_t> halves = make(rng, n);
    expect_same_bits(name, parameters, [&](const Kernels& table) {
      Guarded<uint16_t> in(halves, offset);
      Guarded<float> out(n, offset);
      (table.*widen)(in.data(), n, out.data());
      Output output;
      output.add(out);
      return output;
    });
  });
}
void check_from_f16() {
  check_widen("from_f16", random_f16, &Kernels::from_f16);
}
void check_from_bf16() {
  check_widen("from_bf16", random_bf16, &Kernels::from_bf16);
}

// reduce: log_sum_exp or argmax.
template <typename Reduce>
void check_reduction(const std::string& name, Reduce reduce) {
  for_each_size([&](Rng& rng, int64_t n, int offset, const std::string& parameters) {
    if (n == 0) return;
    auto x = random_floats(rng, n, -2, 5);
    if (n % 2 == 1) {  // equal maxima, and zeros of both signs as the largest
      for (float& v : x) v = -std::fabs(std::round(v));
    }
    expect_same_bits(name, parameters, [&](const Kernels& table) {
      Guarded<float> in(x, offset);
      Output output;
      output.add((table.*reduce)(in.data(), n));
      return output;
    });
  });
}
void check_log_sum_exp() {
  check_reduction("log_sum_exp", &Kernels::log_sum_exp);
}
void check_argmax() {
  check_reduction("argmax", &Kernels::argmax);
}

}  // namespace

std::vector<KernelCheck> row_checks() {
  return {{"gemm_f32", check_gemm_f32},
          {"gemm_f16", check_gemm_f16},
          {"gemm_bf16", check_gemm_bf16},
          {"to_int8", check_to_int8},
          {"gemm_int8",
           [] { check_product_of_codes("gemm_int8", &Kernels::gemm_int8, random_panel); }},
          {"gemm_int4",
           [] { check_product_of_codes("gemm_int4", &Kernels::gemm_int4, random_panel_of_halves); }},
          {"rms_norm", check_rms_norm},
          {"layer_norm", check_layer_norm},
          {"add", check_add},
          {"mul", check_mul},
          {"silu_mul", check_silu_mul},
          {"tanh_inplace", check_tanh_inplace},
          {"gelu_tanh", check_gelu_tanh},
          {"gelu_erf", check_gelu_erf},
          {"exp_inplace", check_exp_inplace},
          {"softmax_block", check_softmax_block},
          {"merge_blocks", check_merge_blocks},
          {"scale", check_scale},
          {"rotate_row", check_rotate_row},
          {"to_f16", check_to_f16},
          {"to_bf16", check_to_bf16},
          {"from_f16", check_from_f16},
          {"from_bf16", check_from_bf16},
          {"log_sum_exp", check_log_sum_exp},
          {"argmax", check_argmax}};
}

namespace {

std::vector<KernelCheck> all_checks() {
  std::vector<KernelCheck> checks = row_checks();
  for (const KernelCheck& check : tile_checks()) checks.push_back(check);
  return checks;
}

class SameBits : public testing::TestWithParam<KernelCheck> {};
TEST_P(SameBits, AsScalar) {
  GetParam().run();
}
INSTANTIATE_TEST_SUITE_P(Kernels, SameBits, testing::ValuesIn(all_checks()),
                         [](const auto& entry) { return std::string(entry.param.kernel); });

TEST(SameBitsTable, EveryKernelHasACheck) {
  std::set<std::string> names;
  for (const KernelCheck& check : all_checks()) names.insert(check.kernel);
  EXPECT_EQ(names.size(), sizeof(Kernels) / sizeof(void (*)()));
}

TEST(SameBitsTable, HasNoEmptySlot) {
  for (const auto& [isa, table] : all_tables()) {
    using Slot = void (*)();
    Slot slots[sizeof(Kernels) / sizeof(Slot)];
    std::memcpy(slots, table, sizeof(Kernels));
    for (Slot slot : slots) EXPECT_NE(slot, nullptr) << isa;
  }
}

}  // namespace
}  // namespace kv::test
