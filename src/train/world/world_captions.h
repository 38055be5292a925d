#pragma once

#include <string>

#include "train/world/dice.h"
#include "train/world/world.h"

namespace glmimage::train::world {

// Of the English captions four of five are canonical; the others say the same in other words.
std::string sample_caption(const Scene& scene, Languages languages, Dice& dice);

enum class ChineseNumber { said, unsaid };  // 一只猫, 猫

// `chinese_caption`, where a single object may go without its number.
std::string say_in_chinese(const Scene& scene, ChineseNumber number);

}  // namespace glmimage::train::world
