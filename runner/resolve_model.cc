#include "runner/resolve_model.h"

#include "engine/error.h"
#include "engine/hub.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"

namespace kv {

namespace fs = std::filesystem;

fs::path resolve_model(const std::string& name, const fs::path& base_folder) {
  std::error_code ignored;
  const fs::path beside = base_folder / name;
  // A folder of that name which holds no model (results/, say) is no answer.
  const bool is_model = fs::is_regular_file(beside, ignored) ||
                        fs::exists(beside / "config.json", ignored) ||
                        fs::exists(beside / "adapter_config.json", ignored);
  return fs::weakly_canonical(is_model && !name.empty() ? beside : find_model(name));
}

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& location) {
  if (fs::exists(location / "config.json")) return Tokenizer::from_folder(location);
  if (const auto tokenizer = read_model_text(location).tokenizer) return tokenizer;
  throw_data("{}: the model has no tokenizer", location.string());
}

}  // namespace kv
