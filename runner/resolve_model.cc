#include "runner/resolve_model.h"

#include "engine/hub.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"

namespace kv {

namespace fs = std::filesystem;

fs::path resolve_model(const std::string& name, const fs::path& base_folder) {
  return fs::weakly_canonical(find_model_beside(name, base_folder));
}

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& location) {
  if (fs::exists(location / "config.json")) return Tokenizer::from_folder(location);
  const auto tokenizer = read_model_text(location).tokenizer;
  if (!tokenizer) throw_no_tokenizer(location);
  return tokenizer;
}

}  // namespace kv
