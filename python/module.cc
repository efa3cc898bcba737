// The Python module kvengine._core: python/door.h with numpy arrays, exceptions and the GIL released.
//
// One computation at a time: the engine's pool of threads and a model's scratch memory are shared. A
// thread that waits for its turn, or computes, does not hold the GIL.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "compress/registry.h"
#include "engine/chat_template.h"
#include "engine/error.h"
#include "engine/hub.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/parallel.h"
#include "python/door.h"

namespace py = pybind11;

namespace kv {
namespace {

// The calling thread's turn, without the GIL.
class Turn {
 public:
  Turn() : lock_(mutex()) {}

 private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  py::gil_scoped_release no_gil_;
  std::lock_guard<std::mutex> lock_;  // given back before the GIL is asked for
};

// Ctrl-C between two passes.
void check_signals() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

template <typename T>
py::array_t<T> to_array(std::vector<T> values, std::vector<py::ssize_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  const py::capsule owner(kept, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(std::move(shape), kept->data(), owner);
}

using Ids = std::vector<int32_t>;

py::list kept_rows(const DoorCache& cache) {
  py::list layers;
  for (const auto& layer : cache.kept) {
    py::list heads;
    for (const std::vector<int32_t>& rows : layer) {
      heads.append(to_array<int32_t>(rows, {static_cast<py::ssize_t>(rows.size())}));
    }
    layers.append(heads);
  }
  return layers;
}

// Logits (tokens, vocab) of each continuation.
py::list feed(Door& door, const std::vector<DoorCache*>& caches, const std::vector<Ids>& ids) {
  std::vector<std::vector<float>> logits(caches.size());
  const py::ssize_t vocab = door.model()->config.vocab;
  {
    const Turn turn;
    door.feed(caches, ids, [&](size_t i, int, int n, const float* rows) {
      logits[i].insert(logits[i].end(), rows, rows + n * vocab);
    });
  }
  py::list arrays;
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto n = static_cast<py::ssize_t>(ids[i].size());
    arrays.append(to_array<float>(std::move(logits[i]), {n, vocab}));
  }
  return arrays;
}

// (log probabilities, whether the token was the most likely one).
py::tuple to_arrays(TokenScores scores) {
  const auto n = static_cast<py::ssize_t>(scores.log_probs.size());
  py::array_t<bool> greedy(n);
  for (py::ssize_t i = 0; i < n; ++i) greedy.mutable_at(i) = scores.greedy[static_cast<size_t>(i)];
  return py::make_tuple(to_array<float>(std::move(scores.log_probs), {n}), greedy);
}

py::list score(Door& door, const std::vector<const DoorCache*>& caches,
               const std::vector<Ids>& ids) {
  std::vector<TokenScores> scores;
  {
    const Turn turn;
    scores = door.score(caches, ids);
  }
  py::list pairs;
  for (TokenScores& s : scores) pairs.append(to_arrays(std::move(s)));
  return pairs;
}

py::list generate(Door& door, const std::vector<DoorCache*>& caches, int max_new_tokens,
                  std::vector<std::string> until, bool ignore_eos, double temperature, double top_p,
                  uint64_t seed) {
  std::vector<Generated> answers;
  {
    const Turn turn;
    answers = door.generate(
        caches, {max_new_tokens, std::move(until), ignore_eos, {temperature, top_p, seed}});
  }
  py::list tuples;
  for (const Generated& answer : answers)
    tuples.append(py::make_tuple(answer.ids, answer.text, answer.stop_reason));
  return tuples;
}

const Tokenizer& tokenizer_of(const Door& door) {
  return door.model()->require_tokenizer();
}

// The special token's id that the tokenizer's files name; None where they name none.
std::optional<int> id_or_none(int id) {
  return id < 0 ? std::nullopt : std::optional<int>(id);
}

// messages: (role, content); variables: a JSON object.
std::string chat(const Door& door, const std::vector<std::pair<std::string, std::string>>& messages,
                 bool add_generation_prompt, const std::string& variables) {
  const auto& chat_template = door.model()->chat_template;
  if (!chat_template) throw_data("{}: has no chat template", door.model()->location.string());
  std::vector<ChatMessage> list;
  for (const auto& [role, content] : messages) list.push_back({role, content});
  return chat_template->render(list, add_generation_prompt,
                               nlohmann::ordered_json::parse(variables));
}

py::dict model_info(const Door& door) {
  const Model& model = *door.model();
  const ModelConfig& config = model.config;
  py::dict info;
  info["location"] = model.location.string();
  info["architecture"] = config.architecture;
  info["vocab"] = config.vocab;
  info["dim"] = config.dim;
  info["layers"] = config.n_layers;
  info["heads"] = config.n_heads;
  info["kv_heads"] = config.n_kv_heads;
  info["head_dim"] = config.head_dim;
  info["max_position"] = config.max_position;
  info["bos_id"] = id_or_none(config.bos_id);
  info["eos_ids"] = config.eos_ids;
  info["parameters"] = model.n_parameters;
  info["stored_dtype"] = model.stored_dtype;
  info["weight_bytes"] = model.weight_bytes;
  info["weights_hash"] = model.weights_hash;
  info["kv_dtype"] = door.kv_dtype();
  info["chat_template"] = model.chat_template ? py::object(py::str(model.chat_template->source()))
                                              : py::object(py::none());
  return info;
}

py::list list_compressors() {
  py::list methods;
  for (const MethodInfo& method : all_methods()) {
    py::dict entry;
    entry["name"] = method.name;
    entry["kind"] = method.kind;
    entry["doc"] = method.doc;
    entry["paper"] = method.paper;
    py::dict params;
    for (const ParamSpec& param : all_params(method)) {
      params[py::str(param.name)] =
          param.required ? py::object(py::none()) : py::object(py::str(param.default_text));
    }
    entry["params"] = params;
    methods.append(entry);
  }
  return methods;
}

void define_errors(py::module_& m) {
  static PyObject* data_error = PyErr_NewExceptionWithDoc(
      "kvengine.DataError", "A model or data file that is missing, truncated or malformed.",
      PyExc_RuntimeError, nullptr);
  m.add_object("DataError", py::reinterpret_borrow<py::object>(data_error));
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      PyErr_SetString(e.kind() == ErrorKind::kUsage ? PyExc_ValueError : data_error, e.what());
    }
  });
}

void define_cache(py::module_& m) {
  const auto in_turn = [](auto read) {
    return [read](const DoorCache& cache) {
      const Turn turn;
      return read(cache);
    };
  };
  using Cache = DoorCache;
  py::class_<Cache> type(m, "Cache",
                         "A sequence after its prompt was compressed; it grows as tokens are fed.");
  type.def("fork", in_turn([](const Cache& c) { return c.fork(); }),
           "A second cache with the same rows; memory is shared until one of the two grows.");
  type.def_readonly("compressor", &Cache::compressor, "The spec in canonical form.");
  type.def_readonly("n_prompt", &Cache::n_prompt, "Tokens that were compressed.");
  type.def_readonly("notes", &Cache::notes, "Remarks of the methods (a window that shrank, ...).");
  type.def_property_readonly("n_tokens", in_turn([](const Cache& c) { return c.cache.n_tokens(); }),
                             "Tokens seen so far, whatever was evicted since.");
  type.def_property_readonly(
      "bytes", in_turn([](const Cache& c) { return c.cache.bytes_in_use(); }),
      "Bytes of the rows in use, with codes, scales and positions; counted.");
  type.def_property_readonly("bytes_allocated",
                             in_turn([](const Cache& c) { return c.cache.bytes_allocated(); }),
                             "Bytes held: whole pages of 32 rows.");
  type.def_property_readonly(
      "kept", &kept_rows,
      "Prompt positions that stayed: kept[layer][kv_head] is an int32 array, rising.");
  type.def_property_readonly(
      "last_logits",
      [](const Cache& c) {
        return to_array<float>(c.last_logits, {static_cast<py::ssize_t>(c.last_logits.size())});
      },
      "Logits (vocab) that predict the next token.");
  type.def_property_readonly(
      "prompt_logits",
      [](const Cache& c) -> py::object {
        if (c.prompt_logits.empty()) return py::none();
        return to_array<float>(c.prompt_logits, {c.n_prompt, c.model->config.vocab});
      },
      "Logits (n_prompt, vocab) of the prompt; None unless asked for.");
  type.def_property_readonly(
      "prompt_scores", [](const Cache& c) { return to_arrays(c.prompt_scores); },
      "(log probabilities, most likely) of the prompt's tokens but the first; empty unless asked "
      "for.");
}

void define_model(py::module_& m) {
  py::class_<Door>(m, "Model")
      .def(py::init([](const std::string& location, const std::string& weights,
                       const std::string& kv_dtype, int prefill_chunk) {
             const Turn turn;
             LoadOptions options;
             options.weights = weights;
             auto door = std::make_unique<Door>(location, options, kv_dtype, prefill_chunk);
             door->between_passes = check_signals;
             return door;
           }),
           py::arg("location"), py::arg("weights"), py::arg("kv_dtype"), py::arg("prefill_chunk"))
      .def_property_readonly("info", &model_info)
      .def_property_readonly("tokens_computed",
                             [](const Door& door) {
                               const Turn turn;
                               return door.tokens_computed();
                             })
      .def("encode",
           [](const Door& door, const std::string& text, bool add_special_tokens) {
             return tokenizer_of(door).encode(text, add_special_tokens);
           })
      .def("decode",
           [](const Door& door, const Ids& ids, bool skip_special_tokens) {
             return tokenizer_of(door).decode(ids, skip_special_tokens);
           })
      .def("token", [](const Door& door, int32_t id) { return tokenizer_of(door).token(id); })
      .def("token_id", [](const Door& door,
                          const std::string& token) { return tokenizer_of(door).token_id(token); })
      .def_property_readonly("bos_token_id",
                             [](const Door& door) { return id_or_none(tokenizer_of(door).bos_id); })
      .def_property_readonly("eos_token_id",
                             [](const Door& door) { return id_or_none(tokenizer_of(door).eos_id); })
      .def_property_readonly("tokenizer_hash",
                             [](const Door& door) { return tokenizer_of(door).hash(); })
      .def("chat", &chat)
      .def("prefill",
           [](Door& door, const Ids& ids, const std::vector<std::string>& specs, bool logits,
              bool scores, int n_question) {
             const Turn turn;
             return door.prefill(ids, specs, {logits, scores, n_question});
           })
      .def("feed", &feed)
      .def("score", &score)
      .def("generate", &generate);
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  define_errors(m);
  define_cache(m);
  define_model(m);
  m.def("compressors", &list_compressors);
  m.def("known_models", &known_models);
  m.def("canonical", [](const std::string& spec) {
    std::vector<std::string> forms;
    for (const CompressorSpec& s : parse_compressors(spec, "compressor"))
      forms.push_back(s.canonical);
    return forms;
  });
  m.def("threads", &threads);
  m.def("set_threads", [](int n) {
    if (n < 1 || n > 1024) throw_usage("threads: expected 1 to 1024, found {}", n);
    const Turn turn;
    set_threads(n);
  });
}

}  // namespace kv
