#pragma once

#include <string>
#include <vector>

#include "eval/totals.h"

namespace glmimage::eval {

// One scene on the sheet.
struct SheetEntry {
  std::string prompt;
  uint64_t seed = 0;
  Triple<std::string> files;  // paths of PNG files, relative to the sheet
  Triple<PictureResult> results;
};

// A page to look through: the table, then every scene with its three pictures, what was recognised in each, and
// whether it was right. Plain HTML without scripts; the pictures lie beside it.
std::string contact_sheet(const std::string& title, const Triple<Totals>& totals,
                          const std::vector<SheetEntry>& entries);

}  // namespace glmimage::eval
