#include <cstdio>
#include <nlohmann/json.hpp>

#include "compress/registry.h"
#include "engine/arch/registry.h"
#include "engine/error.h"
#include "engine/hub.h"
#include "runner/verbs.h"
#include "tasks/task.h"

namespace kv {
namespace {

using Json = nlohmann::ordered_json;

const char* type_name(ParamSpec::Type type) {
  switch (type) {
    case ParamSpec::Type::kInteger:
      return "integer";
    case ParamSpec::Type::kNumber:
      return "number";
    case ParamSpec::Type::kBool:
      return "bool";
    case ParamSpec::Type::kString:
      return "string";
    case ParamSpec::Type::kChoice:
      return "choice";
    case ParamSpec::Type::kFile:
      return "file";
    case ParamSpec::Type::kIntegerList:
      return "integers";
    case ParamSpec::Type::kNumberList:
      return "numbers";
    case ParamSpec::Type::kAny:
      return "any";
  }
  return "";
}

Json params_json(const std::vector<ParamSpec>& params) {
  Json list = Json::array();
  for (const ParamSpec& param : params) {
    Json row;
    row["name"] = param.name;
    row["type"] = type_name(param.type);
    row["required"] = param.required;
    row["default"] =
        param.required || param.default_text == "null" ? Json(nullptr) : Json(param.default_text);
    if (!param.choices.empty()) row["choices"] = param.choices;
    row["doc"] = param.doc;
    list.push_back(row);
  }
  return list;
}

Json compressors_json() {
  Json list = Json::array();
  for (const MethodInfo& method : all_methods()) {
    list.push_back({{"name", method.name},
                    {"kind", method.kind},
                    {"kvpress_name", method.kvpress_name},
                    {"doc", method.doc},
                    {"paper", method.paper},
                    {"params", params_json(method.params)}});
  }
  return list;
}

Json tasks_json() {
  Json list = Json::array();
  for (const TaskInfo& task : all_tasks()) {
    Json metrics = Json::array();
    for (const MetricInfo& metric : task.metrics) {
      metrics.push_back({{"name", metric.name},
                         {"higher_is_better", metric.higher_is_better},
                         {"doc", metric.doc}});
    }
    list.push_back({{"name", task.name},
                    {"doc", task.doc},
                    {"params", params_json(task.params)},
                    {"metrics", metrics}});
  }
  return list;
}

void print_params(const Json& params) {
  for (const Json& param : params) {
    const std::string value = param["required"].get<bool>() ? "required"
                              : param["default"].is_null()  ? "none"
                                                            : param["default"].get<std::string>();
    fmt::print("    {:<14} {:<12} {}\n", param["name"].get<std::string>(), value,
               param["doc"].get<std::string>());
  }
}

void print_compressors(const Json& list) {
  for (const Json& method : list) {
    const std::string paper = method["paper"].get<std::string>();
    fmt::print("{:<20} {:<7} {}{}\n", method["name"].get<std::string>(),
               method["kind"].get<std::string>(), method["doc"].get<std::string>(),
               paper.empty() ? "" : " [" + paper + "]");
    print_params(method["params"]);
  }
}

void print_tasks(const Json& list) {
  for (const Json& task : list) {
    fmt::print("{:<14} {}\n", task["name"].get<std::string>(), task["doc"].get<std::string>());
    print_params(task["params"]);
    for (const Json& metric : task["metrics"]) {
      fmt::print("    -> {:<11} {} is better: {}\n", metric["name"].get<std::string>(),
                 metric["higher_is_better"].get<bool>() ? "higher" : "lower",
                 metric["doc"].get<std::string>());
    }
  }
}

// What lies in the model folder and the hub cache, then what could.
Json models_json() {
  Json list = Json::array();
  for (const std::string& name : known_models())
    list.push_back({{"name", name}, {"kind", "model"}, {"doc", ""}});
  for (const Architecture& architecture : architectures()) {
    list.push_back({{"name", architecture.name},
                    {"kind", "architecture"},
                    {"gguf_name", architecture.gguf_name},
                    {"doc", architecture.doc}});
  }
  return list;
}

void print_models(const Json& list) {
  const bool none = list.empty() || list[0]["kind"] != "model";
  for (const Json& row : list) {
    const auto name = row["name"].get<std::string>();
    if (row["kind"] == "model") {
      fmt::print("{}\n", name);
      continue;
    }
    const auto gguf_name = row["gguf_name"].get<std::string>();
    fmt::print("architecture {:<21} {:<14} {}\n", name,
               gguf_name.empty() ? "" : "GGUF: " + gguf_name, row["doc"].get<std::string>());
  }
  if (none) {
    fmt::print(stderr, "no model in {}; `kvengine pull smollm2-135m-instruct` fetches one\n",
               model_folder().string());
  }
}

}  // namespace

int verb_list(const ListFlags& flags) {
  const Json list = flags.what == "models"        ? models_json()
                    : flags.what == "compressors" ? compressors_json()
                                                  : tasks_json();
  if (flags.json) {
    fmt::print("{}\n", list.dump(2));
  } else if (flags.what == "models") {
    print_models(list);
  } else if (flags.what == "compressors") {
    print_compressors(list);
  } else {
    print_tasks(list);
  }
  return 0;
}

}  // namespace kv
