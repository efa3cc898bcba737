// SVG text as a PNG picture.
#pragma once

#include <string>

namespace kv {

// The bytes of a PNG file. scale: pixels for each pixel of the SVG's own size. Fonts are the
// machine's, so two machines may draw text a little differently. Throws Error(kData) where the text
// is no SVG with a size, or the picture cannot be drawn.
std::string png_of_svg(const std::string& svg, double scale = 2);

}  // namespace kv
