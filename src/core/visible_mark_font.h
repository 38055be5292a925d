#pragma once

#include <cstdint>
#include <span>

namespace glmimage {

// An OpenType font of the four signs "AI生成" and nothing else, so that the mark needs no font of the machine's.
// A subset of Noto Sans CJK SC Bold, © 2014-2021 Adobe, under the SIL Open Font License 1.1
// (visible_mark_font.LICENSE.txt), made by fontTools 4.38 with
//   pyftsubset NotoSansCJK-Bold.ttc --font-number=2 --text=AI生成 --layout-features= --no-hinting --desubroutinize
//     --name-IDs=0,1,13 --drop-tables+=VORG,vhea,vmtx,BASE,GSUB,GPOS,GDEF
std::span<const uint8_t> visible_mark_font();

}  // namespace glmimage
