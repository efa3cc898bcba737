// The figures of a report as files: SVG and PNG.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kv {

// Letters, digits, "_" and "." of a text, the rest as "-", cut where it is too long for a file; no
// ending.
std::string file_name(const std::string& text);

struct Figure {
  std::string name;      // of its files, without .svg and .png
  std::string svg;       // complete, with an explicit background
  double png_scale = 2;  // pixels of the PNG for each of the SVG
};

// dir/<name>.svg and dir/<name>.png, each at once; makes dir. Every SVG is written before the first PNG is drawn: a machine
// that cannot draw loses the PNGs alone. Throws Error(kData) with the file's name.
void write_figures(const std::vector<Figure>& figures, const std::filesystem::path& dir);

}  // namespace kv
