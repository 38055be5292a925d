#include "core/terminal_text.h"

#include <gtest/gtest.h>

namespace glmimage {
namespace {

TEST(TerminalText, EscapesWhatSteersATerminal) {
  EXPECT_EQ(terminal_text("a 猫 \"b\""), "a 猫 \"b\"");
  EXPECT_EQ(terminal_text("a\nb\tc\r"), "a\\nb\\tc\\u000d");
  EXPECT_EQ(terminal_text("\x1b[31m\x7f\xC2\x9B"), "\\u001b[31m\\u007f\\u009b");
  EXPECT_EQ(terminal_text("a\xE2\x80\xAE"
                          "b"),
            "a\\u202eb");
  EXPECT_EQ(terminal_text("a\xff"), "a\xEF\xBF\xBD");
}

TEST(TerminalText, IsCut) {
  EXPECT_EQ(terminal_text("abcdefgh", 8), "abcdefgh");
  EXPECT_EQ(terminal_text("abcdefghi", 8), "abcdefgh…");
  EXPECT_LT(terminal_text(std::string(1 << 20, 'x')).size(), 310U);
}

}  // namespace
}  // namespace glmimage
