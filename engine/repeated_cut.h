// Cuts a cache back while its sequence goes on.
#pragma once

#include "engine/kv_cache.h"
#include "engine/model.h"
#include "engine/rope.h"

namespace kv {

// To be called where cache.cuts().count() said so. Rows move inside their pages, code for code:
// nothing is coded anew, and memory only falls. Same rows for any number of threads.
void cut_back(const Model& model, const LayerRopes& rope, KvCache& cache);

}  // namespace kv
