// What tests of caches that are cut or saved share: a prompt prefilled as its spec wants it, tokens fed,
// rows left.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/session.h"

namespace kv::testing {

// `text`, a policy, with more parameters in front of its own.
inline std::string with(const std::string& text, const std::string& more) {
  const size_t open = text.find('(');
  return open == std::string::npos
             ? fmt::format("{}({})", text, more)
             : fmt::format("{}({},{}", text.substr(0, open), more, text.substr(open + 1));
}

inline PrefilledPrompt prefill_for(Session& session, const CompressorSpec& spec,
                                   std::span<const int32_t> ids,
                                   const std::string& kv_dtype = "f16") {
  const CodecPtr dtype = plain_codec(kv_dtype);
  PrefillOptions options;
  options.codec = prompt_codec(spec.plan, dtype);
  options.step = prompt_rules(spec.plan);
  options.needs = needs_of({&spec.plan}, static_cast<int>(ids.size()));
  options.cut = prompt_cut(spec.plan, session.model().config, dtype);
  options.positions = positions_of(spec.plan);
  return session.prefill(ids, options);
}

// The logits of every token.
inline std::vector<float> fed(Session& session, KvCache& cache, std::span<const int32_t> ids) {
  std::vector<float> logits;
  session.feed(cache, ids, [&](int, int n, const float* rows) {
    logits.insert(logits.end(), rows,
                  rows + static_cast<int64_t>(n) * session.model().config.vocab);
  });
  return logits;
}

// The tokens that the rows of every head were, (n_layers * n_kv_heads).
inline std::vector<std::vector<int32_t>> rows_left(const KvCache& cache) {
  std::vector<std::vector<int32_t>> all;
  for (int layer = 0; layer < cache.n_layers(); ++layer) {
    for (int h = 0; h < cache.n_kv_heads(); ++h) {
      const KvCache::Head& head = cache.head(layer, h);
      std::vector<int32_t>& rows = all.emplace_back();
      for (int r = 0; r < head.n_rows; ++r) rows.push_back(head.original_position(r));
    }
  }
  return all;
}

}  // namespace kv::testing
