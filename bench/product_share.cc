// The matrix product's share of the multiply-add peak, each shape timed between two measurements of
// the peak: on a shared machine the peak of a minute ago says nothing, and neither does the best of a
// few short runs beside the mean of a long one. All are means over 20 ms or more.
//
//   product_share ROWS [THREADS [ROUNDS]]      default 2 threads, 9 rounds
#include <chrono>

#include "bench/bench_main.h"
#include "bench/machine.h"
#include "bench/product_shapes.h"
#include "bench/random_inputs.h"
#include "bench/spread.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"

namespace {

using namespace kv;

PackedMatrix random_matrix(const ProductShape& shape) {
  PackedMatrix w(shape.n_out, shape.n_in, DType::kF32);
  w.pack_rows(random_floats(static_cast<int64_t>(shape.n_out) * shape.n_in).data(), 0, shape.n_out);
  return w;
}

// Mean seconds of the calls that begin within 20 ms.
template <typename Call>
double mean_seconds(const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  std::chrono::duration<double> seconds{};
  int n_calls = 0;
  for (; seconds.count() < 0.02; ++n_calls) {
    call();
    seconds = std::chrono::steady_clock::now() - start;
  }
  return seconds.count() / n_calls;
}

// Of the peak, in each round.
std::vector<double> shares(const ProductShape& shape, int n_rows, int n_threads, int n_rounds) {
  const PackedMatrix w = random_matrix(shape);
  const std::vector<float> x = random_floats(static_cast<int64_t>(n_rows) * shape.n_in);
  std::vector<float> y(static_cast<size_t>(n_rows) * shape.n_out);
  const double gflop = 2e-9 * n_rows * shape.n_in * shape.n_out;
  std::vector<double> found;
  double before = fma_gflops_now(isa(), n_threads);
  for (int round = 0; round < n_rounds; ++round) {
    const double seconds = mean_seconds(
        [&] { matmul(x.data(), shape.n_in, n_rows, w, nullptr, y.data(), shape.n_out); });
    const double after = fma_gflops_now(isa(), n_threads);
    found.push_back(gflop / seconds / ((before + after) / 2));
    before = after;
  }
  return found;
}

void run(const BenchArguments& arguments) {
  const int n_rows = arguments.number(1, 1), n_threads = arguments.number(2, 2),
            n_rounds = arguments.number(3, 9);
  set_threads(n_threads);
  fmt::print("{} rows, {} threads, {}; share of the peak: median (least to most) of {} rounds\n",
             n_rows, n_threads, isa_name(isa()), n_rounds);
  for (const ModelShapes& model : model_shapes()) {
    double flops = 0, peak_flops = 0;  // what the peak would do in the same time
    for (const ProductShape& shape : model.shapes) {
      const Spread share = spread_of(shares(shape, n_rows, n_threads, n_rounds));
      fmt::print("  {:>5} x {:<6} {:.2f} ({:.2f} to {:.2f})\n", shape.n_in, shape.n_out,
                 share.median, share.least, share.most);
      const double own = 1.0 * shape.n_in * shape.n_out * shape.count;
      flops += own;
      peak_flops += own / share.median;
    }
    fmt::print("  {}, of its FLOPs: {:.3f}\n", model.model, flops / peak_flops);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return kv::bench_main("product_share ROWS [THREADS [ROUNDS]]", argc, argv, run);
}
