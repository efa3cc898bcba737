#include "runner/manifest.h"

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/kv_cache.h"
#include "engine/mapped_file.h"
#include "engine/safetensors_writer.h"
#include "kernels/kernels.h"
#include "runner/env.h"
#include "runner/log.h"
#include "runner/value_io.h"

namespace kv {

using Json = nlohmann::ordered_json;

struct Manifest::Content {
  Json json;
  int64_t prefilled_before = 0, requested_before = 0;  // of earlier sessions
  int64_t prefilled = 0, requested = 0, done = 0, failed = 0;
  Phases phases;
};

namespace {

Json models_json(const RunConfig& config, const Preparation& preparation) {
  Json list = Json::array();
  for (size_t m = 0; m < preparation.models.size(); ++m) {
    const ModelIdentity& identity = preparation.models[m].identity;
    list.push_back({{"name", identity.name},
                    {"location", config.models[m].location.string()},
                    {"weights_hash", identity.weights_hash},
                    {"tokenizer_hash", identity.tokenizer_hash},
                    {"template_hash", identity.template_hash},
                    {"config", model_config_text(identity.config)}});
  }
  return list;
}

Json tasks_json(const RunConfig& config) {
  Json list = Json::array();
  for (const TaskEntry& entry : config.tasks) {
    list.push_back({{"name", entry.task->name()},
                    {"canonical", entry.task->canonical()},
                    {"version", entry.task->version()},
                    {"data_hash", entry.task->data_hash()},
                    {"limit", entry.limit < 0 ? Json(nullptr) : Json(entry.limit)}});
  }
  return list;
}

Json cells_json(const Preparation& preparation) {
  Json list = Json::array();
  for (const Cell& cell : preparation.cells) {
    list.push_back({{"cell_id", cell.id}, {"fingerprint", cell.fingerprint}});
  }
  return list;
}

Json read_json(const std::filesystem::path& path) {
  try {
    return Json::parse(read_whole_file(path));
  } catch (const nlohmann::json::exception& e) {
    throw_data("{}: not a manifest: {}", path.string(), e.what());
  }
}

}  // namespace

Manifest::Manifest(const RunConfig& config, const Preparation& preparation)
    : path_(config.run.out / "manifest.json"), content_(std::make_unique<Content>()) {
  Json sessions = Json::array();
  if (std::filesystem::exists(path_)) {
    const Json earlier = read_json(path_);
    sessions = earlier.value("sessions", Json::array());
    content_->prefilled_before = earlier.value("tokens_prefilled", int64_t{0});
    content_->requested_before = earlier.value("tokens_requested", int64_t{0});
  }
  sessions.push_back(
      {{"started", utc_now()}, {"isa", isa_name(isa())}, {"threads", config.run.threads}});
  Json& json = content_->json;
  json["schema"] = kResultsSchema;
  json["config_file"] = config.file.string();
  json["config"] = resolved_config_json(config);
  json["shard"] = {{"index", config.shard.index}, {"count", config.shard.count}};
  json["models"] = models_json(config, preparation);
  json["tasks"] = tasks_json(config);
  json["cells"] = cells_json(preparation);
  json["environment"] = environment_json();
  json["environment"]["threads"] = config.run.threads;
  json["started"] = sessions[0]["started"];
  json["sessions"] = sessions;
  finish("running");
}

Manifest::~Manifest() = default;

void Manifest::count_tokens(int64_t prefilled, int64_t requested) {
  content_->prefilled += prefilled;
  content_->requested += requested;
}

void Manifest::count_samples(int64_t done, int64_t failed) {
  content_->done += done;
  content_->failed += failed;
}

void Manifest::add_phases(const Phases& phases) {
  for (const auto& [name, phase] : phases) {
    Phase& sum = content_->phases[name];
    sum.seconds += phase.seconds;
    sum.flops += phase.flops;
    sum.tokens += phase.tokens;
  }
}

void Manifest::set_memory(const MemoryPlan& plan, int64_t before_bytes) {
  Json& memory = content_->json["sessions"].back()["memory"];
  if (!memory.is_null() && memory["planned_bytes"].get<int64_t>() >= plan.peak_bytes) return;
  memory = {{"limit_bytes", plan.budget_bytes},
            {"planned_bytes", plan.peak_bytes},
            {"before_bytes", before_bytes},
            {"caches_peak_bytes", page_bytes_peak()},
            {"peak_bytes", memory_peak_bytes()}};
}

void Manifest::finish(const std::string& exit_reason) {
  Content& c = *content_;
  const std::string finished = exit_reason == "running" ? "" : utc_now();
  c.json["finished"] = finished;
  c.json["exit_reason"] = exit_reason;
  c.json["tokens_prefilled"] = c.prefilled_before + c.prefilled;
  c.json["tokens_requested"] = c.requested_before + c.requested;
  Json& session = c.json["sessions"].back();
  session["finished"] = finished;
  session["exit_reason"] = exit_reason;
  session["tokens_prefilled"] = c.prefilled;
  session["tokens_requested"] = c.requested;
  session["samples_done"] = c.done;
  session["samples_failed"] = c.failed;
  for (const auto& [name, phase] : c.phases) {
    session["phases"][name] = {
        {"seconds", phase.seconds}, {"flops", phase.flops}, {"tokens", phase.tokens}};
  }
  write();
}

void Manifest::write() const {
  write_file_atomically(path_, content_->json.dump(2) + "\n");
}

ManifestFile read_manifest(const std::filesystem::path& run_folder) {
  const std::filesystem::path path = run_folder / "manifest.json";
  if (!std::filesystem::exists(path)) {
    throw_data("{}: no manifest.json in it; expected the folder of a run", run_folder.string());
  }
  const Json json = read_json(path);
  ManifestFile file;
  ManifestInfo& info = file.info;
  try {
    if (json.at("schema").get<int>() > kResultsSchema) {
      throw_data("{}: has schema {}, this build reads up to {}; use the build that wrote it",
                 path.string(), json.at("schema").get<int>(), kResultsSchema);
    }
    const Json& env = json.at("environment");
    const Json& run = json.at("config").at("run");
    info.version = env.at("version");
    info.commit = env.at("commit");
    info.cpu = env.at("cpu");
    info.isa = env.at("isa");
    info.compiler = env.at("compiler");
    info.started = json.at("started");
    info.finished = json.at("finished");
    info.exit_reason = json.at("exit_reason");
    info.kv_dtype = run.at("kv_dtype");
    info.weights = run.at("weights");
    info.gemm = run.at("gemm");
    info.threads = run.at("threads");
    info.seed = run.at("seed");
    info.timing = run.at("timing") != Json(false);
    info.tokens_prefilled = json.at("tokens_prefilled");
    info.tokens_requested = json.at("tokens_requested");
    for (const Json& model : json.at("models")) info.models.push_back(model.at("name"));
    info.compressors = json.at("config").at("compressors").get<std::vector<std::string>>();
    for (const Json& task : json.at("tasks")) {
      info.tasks.push_back(task.at("canonical"));
      if (!task.at("limit").is_null()) info.limits[task.at("name")] = task.at("limit").get<int>();
    }
    for (const Json& cell : json.at("cells"))
      file.fingerprints.insert(cell.at("fingerprint").get<std::string>());
  } catch (const nlohmann::json::exception& e) {
    throw_data("{}: not a manifest of this program: {}", path.string(), e.what());
  }
  return file;
}

}  // namespace kv
