#include "runner/svg_png.h"

#include <cairo.h>
#include <librsvg/rsvg.h>

#include <cmath>
#include <memory>

#include "engine/error.h"

namespace kv {
namespace {

struct Release {
  void operator()(RsvgHandle* handle) const { g_object_unref(handle); }
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
  void operator()(cairo_t* context) const { cairo_destroy(context); }
};
template <typename T>
using Owned = std::unique_ptr<T, Release>;

// GLib's message, and the error freed.
std::string take_message(GError* error) {
  if (error == nullptr) return "no reason given";
  const std::string message = error->message;
  g_error_free(error);
  return message;
}

void check(cairo_status_t status) {
  if (status != CAIRO_STATUS_SUCCESS) {
    throw_data("the picture cannot be drawn: {}", cairo_status_to_string(status));
  }
}

cairo_status_t append_bytes(void* into, const unsigned char* bytes, unsigned int count) {
  static_cast<std::string*>(into)->append(reinterpret_cast<const char*>(bytes), count);
  return CAIRO_STATUS_SUCCESS;
}

}  // namespace

std::string png_of_svg(const std::string& svg, double scale) {
  GError* error = nullptr;
  const Owned<RsvgHandle> handle(
      rsvg_handle_new_from_data(reinterpret_cast<const guint8*>(svg.data()), svg.size(), &error));
  if (!handle) throw_data("the picture is no SVG: {}", take_message(error));
  rsvg_handle_set_dpi(handle.get(), 96);  // what a pixel means in CSS
  gdouble width = 0, height = 0;
  if (!rsvg_handle_get_intrinsic_size_in_pixels(handle.get(), &width, &height)) {
    throw_data("the picture cannot be drawn: its SVG has no width and height");
  }
  const RsvgRectangle page = {0, 0, width * scale, height * scale};
  const Owned<cairo_surface_t> surface(
      cairo_image_surface_create(CAIRO_FORMAT_ARGB32, static_cast<int>(std::ceil(page.width)),
                                 static_cast<int>(std::ceil(page.height))));
  check(cairo_surface_status(surface.get()));
  const Owned<cairo_t> context(cairo_create(surface.get()));
  if (!rsvg_handle_render_document(handle.get(), context.get(), &page, &error)) {
    throw_data("the picture cannot be drawn: {}", take_message(error));
  }
  check(cairo_status(context.get()));
  std::string png;
  check(cairo_surface_write_to_png_stream(surface.get(), append_bytes, &png));
  return png;
}

}  // namespace kv
