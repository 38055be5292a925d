#include "eval/contact_sheet.h"

namespace glmimage::eval {
namespace {

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>glm-image eval</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin-bottom: 1.5rem; }
th, td { text-align: right; padding: .15rem .8rem; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; white-space: pre; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(33rem, 1fr)); gap: 1rem; }
section { border: 1px solid #ccc; border-left: .4rem solid #c33; border-radius: .3rem; padding: .6rem .8rem; }
section.right { border-left-color: #2a2; }
section h2 { font-size: 1rem; margin: 0 0 .5rem; }
section h2 small { font-weight: normal; color: #777; }
.pictures { display: grid; grid-template-columns: repeat(3, 1fr); gap: .6rem; }
figure { margin: 0; }
figure img { width: 100%; aspect-ratio: 1; border: 1px solid #ddd; }
figcaption { font-size: .8rem; color: #555; }
ul { list-style: none; margin: .2rem 0 0; padding: 0; font-size: .85rem; }
li.yes::before { content: "✓ "; color: #171; font-weight: bold; }
li.no { color: #b11; }
li.no::before { content: "✗ "; font-weight: bold; }
</style>
</head>
<body>
)";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string figure(const char* caption, const std::string& file, const PictureResult& result) {
  std::string out = "<figure><img src=\"" + escaped(file) + "\" alt=\"" + caption + "\" loading=\"lazy\"><figcaption>" +
                    caption + "</figcaption><ul>";
  for (const Mark& mark : marks(result)) {
    out += std::string("<li class=\"") + (mark.right ? "yes" : "no") + "\">" + escaped(mark.says) + "</li>";
  }
  return out + "</ul></figure>\n";
}

std::string section(const SheetEntry& entry, size_t number) {
  std::string out = std::string("<section") + (entry.results.drawn.all_right() ? " class=\"right\"" : "") + ">\n<h2>" +
                    std::to_string(number) + ". " + escaped(entry.prompt) + " <small>seed " +
                    std::to_string(entry.seed) + "</small></h2>\n<div class=\"pictures\">\n";
  out += figure("drawn", entry.files.drawn, entry.results.drawn);
  out += figure("ground truth", entry.files.truth, entry.results.truth);
  out += figure("through the VAE", entry.files.vae, entry.results.vae);
  return out + "</div>\n</section>\n";
}

std::string table(const Triple<Totals>& totals) {
  std::string out = "<table>\n<tr><th></th><th>drawn</th><th>ground truth</th><th>through the VAE</th></tr>\n";
  for (const auto& row : table_rows(totals)) {
    out += "<tr>";
    for (const std::string& cell : row) out += "<td>" + escaped(cell) + "</td>";
    out += "</tr>\n";
  }
  return out + "</table>\n";
}

}  // namespace

std::string contact_sheet(const std::string& title, const Triple<Totals>& totals,
                          const std::vector<SheetEntry>& entries) {
  std::string out = kHead;
  out += "<h1>" + escaped(title) + "</h1>\n" + table(totals) + "<main>\n";
  for (size_t i = 0; i < entries.size(); ++i) out += section(entries[i], i + 1);
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace glmimage::eval
