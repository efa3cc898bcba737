#include "runner/figures.h"

#include <cctype>
#include <system_error>

#include "engine/error.h"
#include "engine/safetensors_writer.h"
#include "runner/cells.h"
#include "runner/svg_png.h"

namespace kv {

namespace fs = std::filesystem;

std::string file_name(const std::string& text) {
  constexpr size_t kLongest = 120;
  std::string name;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_';
    name += plain ? c : '-';
  }
  // Two long texts may begin alike.
  if (name.size() > kLongest) name = name.substr(0, kLongest) + "-" + hash_text(text).substr(0, 8);
  return name;
}

void write_figures(const std::vector<Figure>& figures, const fs::path& dir) {
  std::error_code ignored;  // the file that follows says more
  fs::create_directories(dir, ignored);
  for (const Figure& figure : figures)
    write_file_atomically(dir / (figure.name + ".svg"), figure.svg);
  for (const Figure& figure : figures) {
    const fs::path path = dir / (figure.name + ".png");
    std::string png;
    try {
      png = png_of_svg(figure.svg, figure.png_scale);
    } catch (const Error& e) {
      throw_data("{}: {}; every other file of the report is complete, and the .svg beside it too",
                 path.string(), e.what());
    }
    write_file_atomically(path, png);
  }
}

}  // namespace kv
