#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <optional>

#include "compress/registry.h"
#include "engine/chat_template.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "engine/mapped_file.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "engine/saved_cache.h"
#include "engine/session.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/parallel.h"
#include "runner/cells.h"
#include "runner/env.h"
#include "runner/logits.h"
#include "runner/resolve_model.h"
#include "runner/stop_signal.h"
#include "runner/value_io.h"
#include "runner/verbs.h"

namespace kv {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string read_prompt(const GenerateFlags& flags) {
  if (flags.has_prompt) return flags.prompt;
  if (flags.file.empty()) {
    throw_usage("generate: no prompt; give --prompt TEXT or --file F ('-' reads stdin)");
  }
  if (flags.file == "-") {
    return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  }
  return read_whole_file(flags.file);
}

// place: where the text stands, for messages.
CompressorSpec read_compressor(const std::string& text, const std::string& place) {
  const std::vector<CompressorSpec> specs = parse_compressors(text, place);
  if (specs.size() != 1) {
    throw_usage("{}: '{}' stands for {} compressors; generate takes one", place, text,
                specs.size());
  }
  return specs[0];
}

// Ids of the prompt; a chat template writes the special tokens itself.
std::vector<int32_t> prompt_ids(const Model& model, const GenerateFlags& flags,
                                const std::string& prompt) {
  const Tokenizer& tokenizer = model.require_tokenizer();
  std::vector<int32_t> ids;
  if (flags.chat) {
    if (!model.chat_template) {
      throw_data("{}: has no chat template; leave out --chat", model.location.string());
    }
    std::vector<ChatMessage> messages;
    if (!flags.system.empty()) messages.push_back({"system", flags.system});
    messages.push_back({"user", prompt});
    ids = tokenizer.encode(model.chat_template->render(messages, true), false);
  } else {
    ids = tokenizer.encode(prompt, true);
  }
  if (ids.empty()) throw_usage("generate: the prompt has no tokens; write at least one character");
  return ids;
}

struct Statistics {
  size_t n_prompt = 0, n_restored = 0, n_generated = 0, kv_bytes = 0, kv_bytes_end = 0;
  double prefill_s = 0, compress_s = 0, decode_s = 0;
  std::string logits_hash, stop_reason;
  std::vector<std::string> notes;
};

void print_statistics(const Statistics& s, const CompressorSpec& spec) {
  constexpr double kMiB = 1024.0 * 1024.0;
  std::string text;
  for (const std::string& note : s.notes) text += fmt::format("note: {}\n", note);
  if (s.n_restored > 0) {
    text += fmt::format("restore   {} tokens in {:.3f} s, nothing computed\n", s.n_restored,
                        s.compress_s);
  }
  text += fmt::format("prefill   {} tokens in {:.3f} s, {:.1f} tokens/s\n", s.n_prompt, s.prefill_s,
                      static_cast<double>(s.n_prompt) / std::max(s.prefill_s, 1e-9));
  if (s.n_restored == 0)
    text += fmt::format("compress  {} in {:.3f} s\n", spec.canonical, s.compress_s);
  // The first token comes out of the prefill; each later one is a step.
  const size_t n_steps = s.n_generated > 0 ? s.n_generated - 1 : 0;
  text += fmt::format("decode    {} tokens in {:.3f} s, {:.1f} tokens/s, stopped by {}\n",
                      s.n_generated, s.decode_s,
                      n_steps > 0 ? static_cast<double>(n_steps) / s.decode_s : 0.0, s.stop_reason);
  text += fmt::format("KV cache  {} bytes after compression ({:.2f} MiB), {} at the end\n",
                      s.kv_bytes, static_cast<double>(s.kv_bytes) / kMiB, s.kv_bytes_end);
  text +=
      fmt::format("memory    {:.1f} MiB peak\n", static_cast<double>(memory_peak_bytes()) / kMiB);
  text += fmt::format("logits    {}\n", s.logits_hash);
  std::fputs(text.c_str(), stderr);
}

void print_text(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Tokens after the compressed prompt, printed as they come.
void decode(Session& session, KvCache& cache, std::vector<float> row, const GenerateFlags& flags,
            Statistics& stats) {
  const Model& model = session.model();
  const int vocab = model.config.vocab;
  const std::vector<int>& eos = model.config.eos_ids;
  Sampler sampler({flags.temperature, flags.top_p, flags.seed});
  StreamDecoder decoder(*model.tokenizer, true);
  LogitsHash hash;
  hash.add(row.data(), vocab);
  stats.stop_reason = "length";
  const auto start = Clock::now();
  for (int step = 0; step < flags.max_new_tokens; ++step) {
    const int32_t id = sampler.next(row.data(), vocab, 0, static_cast<uint64_t>(step));
    if (!flags.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end()) {
      stats.stop_reason = "eos";
      break;
    }
    ++stats.n_generated;
    print_text(decoder.add(id));
    if (stop_requested()) {
      stats.stop_reason = "signal";
      break;
    }
    if (step + 1 == flags.max_new_tokens) break;
    KvCache* const caches[] = {&cache};
    session.step(caches, std::span(&id, 1), row.data());
    hash.add(row.data(), vocab);
  }
  stats.decode_s = seconds_since(start);
  print_text(decoder.finish() + "\n");
  stats.logits_hash = hash.hex();
  stats.kv_bytes_end = cache.bytes_in_use();
}

// Weights, configuration and the type that products read: what a saved cache must agree with.
std::string model_identity(const Model& model, const GenerateFlags& flags) {
  return fmt::format("weights {} configuration {} products in {}", model.weights_hash,
                     hash_text(model_config_text(model.config)), flags.weights);
}

void check_flags(const GenerateFlags& flags) {
  Sampler({flags.temperature, flags.top_p,
           flags.seed});  // refuses bad options before the model is read
  if (!flags.system.empty() && !flags.chat) throw_usage("--system: works only with --chat");
  if (flags.lines && (flags.load_cache.empty() || flags.file.empty()))
    throw_usage("--lines: works only with --load-cache and --file");
  if (flags.load_cache.empty()) return;
  const char* refused = flags.has_compressor ? "--compressor"
                        : flags.has_kv_dtype ? "--kv-dtype"
                        : flags.chat         ? "--chat"
                                             : nullptr;
  if (refused == nullptr) return;
  throw_usage(
      "{}: not together with --load-cache: the saved cache was made with its own; leave it out",
      refused);
}

std::shared_ptr<const Model> load_model(const GenerateFlags& flags) {
  set_threads(flags.threads.value_or(default_threads()));
  LoadOptions options;
  options.weights = flags.weights;
  return Model::load(resolve_model(flags.model, "."), options);
}

// The questions that are put to a saved cache; an empty one: go on where the prompt ended.
std::vector<std::string> read_questions(const GenerateFlags& flags) {
  if (!flags.has_prompt && flags.file.empty()) return {""};
  const std::string text = read_prompt(flags);
  if (!flags.lines) return {text};
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (lines.empty()) throw_usage("--lines: {} has no line with a question", flags.file);
  return lines;
}

// Feeds a question to a fork of the cache; gives the row that predicts what comes next.
std::vector<float> ask(Session& session, KvCache& cache, const std::string& question,
                       std::vector<float> row, Statistics& stats) {
  if (question.empty()) return row;
  const std::vector<int32_t> ids = session.model().require_tokenizer().encode(question, false);
  if (ids.empty()) return row;
  const auto start = Clock::now();
  const Segment segment{&cache, ids, LogitRows::kLast};
  session.forward({&segment, 1}, row.data());
  stats.prefill_s += seconds_since(start);
  stats.n_prompt += ids.size();
  return row;
}

// Goes on from a saved cache: one fork for each question.
int generate_from_cache(const GenerateFlags& flags) {
  const std::vector<std::string> questions = read_questions(flags);
  const SavedCache saved(flags.load_cache);
  const SavedCacheInfo& info = saved.info();
  const CompressorSpec spec = read_compressor(info.compressor, flags.load_cache);
  const CodecPtr kv_dtype = plain_codec(info.kv_dtype);
  const auto model = load_model(flags);
  if (info.model != model_identity(*model, flags)) {
    throw_data("{}: was saved with another model: it says {}, {} is {}", flags.load_cache,
               info.model, flags.model, model_identity(*model, flags));
  }
  model->require_tokenizer();
  spec.plan.check_model(shape_of(model->config));
  catch_stop_signals();
  const auto start = Clock::now();
  const KvCache cache = saved.restore(model->config, spec.plan, kv_dtype);
  const std::vector<float> last_logits = saved.last_logits(model->config);
  const double restore_s = seconds_since(start);
  Session session(model);
  for (const std::string& question : questions) {
    Statistics stats;
    stats.n_restored = static_cast<size_t>(info.n_tokens);
    stats.compress_s = restore_s;
    stats.kv_bytes = cache.bytes_in_use();
    KvCache fork = cache.fork();
    const std::vector<float> row = ask(session, fork, question, last_logits, stats);
    decode(session, fork, row, flags, stats);
    if (!flags.quiet) print_statistics(stats, spec);
    if (stats.stop_reason == "signal") return kInterruptedStatus;
  }
  return 0;
}

}  // namespace

int verb_generate(const GenerateFlags& flags) {
  check_flags(flags);
  if (!flags.load_cache.empty()) return generate_from_cache(flags);
  const CompressorSpec spec = read_compressor(flags.compressor, "--compressor");
  const std::string prompt = read_prompt(flags);
  const auto model = load_model(flags);
  spec.plan.check_model(shape_of(model->config));
  spec.plan.with_question(0);  // refuses plans that need a task to mark the question
  const std::vector<int32_t> ids = prompt_ids(*model, flags, prompt);
  check_length(model->config, static_cast<int64_t>(ids.size()) + flags.max_new_tokens - 1, "");
  catch_stop_signals();

  Statistics stats;
  Session session(model);
  stats.n_prompt = ids.size();
  auto start = Clock::now();
  PrefillOptions prefill;
  prefill.codec = prompt_codec(spec.plan, plain_codec(flags.kv_dtype));
  prefill.step = prompt_rules(spec.plan);
  prefill.cut = prompt_cut(spec.plan, model->config, plain_codec(flags.kv_dtype));
  prefill.positions = positions_of(spec.plan);
  prefill.needs = needs_of({&spec.plan}, static_cast<int>(ids.size()));
  std::optional<PrefilledPrompt> prefilled = session.prefill(ids, prefill);
  stats.prefill_s = seconds_since(start);
  start = Clock::now();
  CompressedCache compressed = compress(*model, *prefilled, spec.plan);
  stats.compress_s = seconds_since(start);
  stats.kv_bytes = compressed.cache.bytes_in_use();
  stats.notes = compressed.notes;
  const std::vector<float> last_logits = std::move(prefilled->last_logits);
  prefilled.reset();  // the uncompressed rows are given back before decoding
  if (!flags.save_cache.empty()) {
    save_cache(flags.save_cache, compressed.cache, last_logits,
               {model_identity(*model, flags), spec.canonical, flags.kv_dtype,
                static_cast<int>(ids.size())});
  }
  decode(session, compressed.cache, last_logits, flags, stats);
  if (!flags.quiet) print_statistics(stats, spec);
  return stats.stop_reason == "signal" ? kInterruptedStatus : 0;
}

}  // namespace kv
