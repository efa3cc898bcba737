#include "runner/report_files.h"

#include <fstream>
#include <system_error>

#include "engine/error.h"
#include "runner/svg_png.h"

namespace kv {

namespace fs = std::filesystem;

void write_at_once(const fs::path& path, const std::string& content) {
  std::error_code failed;  // of the folder: the file says more
  fs::create_directories(path.parent_path(), failed);
  const fs::path temporary = path.string() + ".new";
  std::ofstream out(temporary, std::ios::binary);
  out << content;
  out.close();
  if (out) fs::rename(temporary, path, failed);
  if (!out || failed) {
    throw_data("{}: cannot be written; is the folder writable, is the disk full?", path.string());
  }
}

void write_figures(const std::vector<Figure>& figures, const fs::path& dir) {
  for (const Figure& figure : figures) write_at_once(dir / (figure.name + ".svg"), figure.svg);
  for (const Figure& figure : figures) {
    const fs::path path = dir / (figure.name + ".png");
    std::string png;
    try {
      png = png_of_svg(figure.svg, figure.png_scale);
    } catch (const Error& e) {
      throw_data("{}: {}; every other file of the report is complete, and the .svg beside it too",
                 path.string(), e.what());
    }
    write_at_once(path, png);
  }
}

}  // namespace kv
