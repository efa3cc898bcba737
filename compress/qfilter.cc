// qfilter: rows whose keys point away from the queries' main direction go (arXiv 2503.02812,
// "Q-Filters: Leveraging QK Geometry for Efficient KV Cache Compression").
//
//   S_j = -F[layer, KV head] . K_j        K after RoPE at its original position
//
// F comes from a file: the main singular direction of a model's queries, with the published sign.
// Differs from kvpress: nothing is downloaded.
#include "compress/method.h"
#include "engine/error.h"
#include "engine/safetensors.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

class QFilterPolicy : public EvictionPolicy {
 public:
  QFilterPolicy(EvictionRules rules, const std::string& file)
      : EvictionPolicy(std::move(rules)), file_(file) {
    const Safetensors tensors = Safetensors::open_file(file);
    shape_ = tensors.get("q_filters", {-1, -1, -1}).shape;
    filters_ = tensors.floats("q_filters");
  }

  void check_model(const ModelShape& model) const override {
    if (shape_ == std::vector<int64_t>{model.n_layers, model.n_kv_heads, model.head_dim}) return;
    throw_data(
        "{}: q_filters is [{}, {}, {}], but the model has {} layers, {} KV heads and a head size "
        "of {}; expected filters made for this model",
        file_, shape_[0], shape_[1], shape_[2], model.n_layers, model.n_kv_heads, model.head_dim);
  }

  KvNeeds inputs(int) const override { return {.keys = true}; }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      const LayerView::HeadRows& head = view.heads[h];
      const float* filter =
          filters_.data() +
          (static_cast<int64_t>(view.layer) * view.n_kv_heads + h) * view.head_dim;
      std::vector<float>& scores = out.scores.emplace_back();
      for (int r = 0; r < head.n_rows; ++r) {
        const float* key =
            head.keys + static_cast<int64_t>(r / kTile) * view.head_dim * kTile + r % kTile;
        double dot = 0;
        for (int d = 0; d < view.head_dim; ++d) {
          dot += static_cast<double>(filter[d]) * key[d * kTile];
        }
        scores.push_back(static_cast<float>(-dot));
      }
    }
    return out;
  }

 private:
  std::string file_;
  std::vector<int64_t> shape_;  // (n_layers, n_kv_heads, head_dim)
  std::vector<float> filters_;
};

}  // namespace

Method qfilter_method() {
  Method method;
  method.info.name = "qfilter";
  method.info.kind = "policy";
  method.info.kvpress_name = "QFilter";
  method.info.doc = "keep keys along the main direction of the model's queries, from a file";
  method.info.paper = "arXiv 2503.02812";
  method.info.params = {
      file_param("filters", "safetensors with q_filters (layers, KV heads, head size)")};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    const std::string file = file_in(rules.folder, params.string("filters"));
    return std::make_shared<QFilterPolicy>(std::move(rules), file);
  };
  return method;
}

}  // namespace kv
