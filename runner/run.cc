#include "runner/run.h"

#include <optional>

#include "engine/error.h"
#include "kernels/parallel.h"
#include "runner/env.h"
#include "runner/log.h"
#include "runner/manifest.h"
#include "runner/memory_plan.h"
#include "runner/progress.h"
#include "runner/report.h"
#include "runner/scheduler.h"
#include "runner/stop_signal.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw_usage("run.out: the folder {} cannot be made: {}; give another with --out",
                folder.string(), error.message());
  }
}

int64_t count_missing(const RunConfig& config, const Preparation& preparation,
                      const ResultWriter& results) {
  int64_t n = 0;
  for (size_t m = 0; m < preparation.models.size(); ++m) {
    for (const Unit& unit : preparation.models[m].units) {
      for (const Unit::Question& question : unit.questions) {
        const std::string& id = preparation.models[m].samples[question.task][question.sample].id;
        for (size_t c = 0; c < config.compressors.size(); ++c) {
          n += results.done(preparation.cell(m, question.task, c).fingerprint, id) ? 0 : 1;
        }
      }
    }
  }
  return n;
}

// Everything that lives as long as the work.
struct Work {
  const RunConfig& config;
  const Preparation& preparation;
  std::vector<MemoryPlan> plans;
  RunLog& log;
  ResultWriter& results;
  Manifest& manifest;
  ProgressBar& progress;
  int64_t n_failed = 0;
};

void run_model(Work& work, size_t model_index) {
  const ModelEntry& entry = work.config.models[model_index];
  const std::shared_ptr<const Model> model = work.preparation.only_model
                                                 ? work.preparation.only_model
                                                 : load_model(entry, work.config.run);
  const auto on_record = [&work](const SampleRecord& record) {
    if (!record.error.empty()) {
      work.progress.clear();
      work.log.error(
          fmt::format("failed: {}: sample {}: {}", record.cell_id, record.sample_id, record.error));
    }
    work.progress.add(1, record.method);
  };
  Recorder recorder(
      {work.config, work.preparation, model_index, work.results, work.manifest, on_record});
  const int64_t before = memory_peak_bytes();
  Scheduler scheduler({work.config, work.preparation.models[model_index], model,
                       work.plans[model_index], recorder, work.manifest, stop_requested});
  scheduler.run();
  work.manifest.add_phases(scheduler.phases());
  work.manifest.set_memory(work.plans[model_index], before);
  work.n_failed += recorder.n_failed();
}

std::string exit_reason(int status) {
  if (status == kInterruptedStatus) return "interrupted";
  return status == 1 ? "failed samples" : "done";
}

// Reports of what is in the folder by now; only the cells of this config.
void report_folder(const fs::path& folder) {
  const ManifestFile manifest = read_manifest(folder);
  std::vector<SampleRecord> records;
  for (SampleRecord& record : latest_records(read_records(folder / "samples.jsonl"))) {
    if (manifest.fingerprints.count(record.fingerprint) > 0) records.push_back(std::move(record));
  }
  if (!records.empty()) write_reports(records, manifest.info, folder);
}

}  // namespace

int run_sweep(const RunConfig& config, const RunFlags& flags) {
  set_threads(config.run.threads);
  const Preparation preparation = prepare(config);
  if (flags.dry_run) {
    print_dry_run(config, preparation, flags.fresh);
    return 0;
  }
  std::vector<MemoryPlan> plans;
  for (const PreparedModel& model : preparation.models) plans.push_back(plan_memory(config, model));
  make_folder(config.run.out);
  ResultWriter results(config.run.out / "samples.jsonl", flags.fresh);
  RunLog log(config.run.out / "run.log", flags.quiet);
  Manifest manifest(config, preparation);
  for (const std::string& note : config.notes) log.say("note: " + note);
  const int64_t n_missing = count_missing(config, preparation, results);
  log.say(fmt::format("{} cells, {} samples to answer, results in {}", preparation.cells.size(),
                      n_missing, config.run.out.string()));
  catch_stop_signals();
  ProgressBar progress(n_missing, flags.quiet);
  Work work{config, preparation, std::move(plans), log, results, manifest, progress};
  try {
    for (size_t m = 0; m < config.models.size() && !stop_requested(); ++m) run_model(work, m);
  } catch (const std::exception& e) {
    progress.clear();
    manifest.finish(std::string("error: ") + e.what());
    throw;
  }
  progress.clear();
  // A signal that came after the last sample interrupted nothing.
  const bool interrupted =
      stop_requested() && count_missing(config, preparation, results) > work.n_failed;
  const int status = interrupted ? kInterruptedStatus : work.n_failed > 0 ? 1 : 0;
  manifest.finish(exit_reason(status));
  report_folder(config.run.out);
  log.say(interrupted ? "interrupted; the same command goes on from here"
                      : fmt::format("done: {} samples answered, {} failed; read {}",
                                    n_missing - work.n_failed, work.n_failed,
                                    (config.run.out / "RESULTS.md").string()));
  return status;
}

}  // namespace kv
