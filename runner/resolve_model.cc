#include "runner/resolve_model.h"

#include <optional>
#include <string_view>

#include "engine/error.h"
#include "engine/hub.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/value.h"

namespace kv {

namespace fs = std::filesystem;

fs::path resolve_model(const std::string& name, const fs::path& base_folder) {
  return fs::weakly_canonical(find_model_beside(name, base_folder));
}

NamedModel read_model_name(const std::string& text, const std::string& place) {
  constexpr std::string_view kFactor = "(rope_theta_factor=";
  const size_t open = text.rfind(kFactor);
  if (open == std::string::npos || text.back() != ')') return {text, 1};
  const size_t begin = open + kFactor.size();
  const std::string number = text.substr(begin, text.size() - 1 - begin);
  const std::optional<double> factor = parse_number(number);
  if (!factor || !(*factor > 0)) {
    throw_usage("{}: rope_theta_factor: expected a number above 0, found '{}'", place, number);
  }
  return {text.substr(0, open), *factor};
}

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& location) {
  if (fs::exists(location / "config.json")) return Tokenizer::from_folder(location);
  const auto tokenizer = read_model_text(location).tokenizer;
  if (!tokenizer) throw_no_tokenizer(location);
  return tokenizer;
}

}  // namespace kv
