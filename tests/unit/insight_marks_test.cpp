// Marks of allocation sites, as text and back; and build ids, by which their modules are known.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/modules.h"
#include "insight/marks.h"

namespace dsm::insight {
namespace {

const std::string kId(40, 'a');

TEST(Marks, AreTheSameBehindTheText) {
  const std::vector<SiteMark> marks{{0x12ab, kId, "program", {Serve::kApart, 0}},
                                    {0x1, "00ff", "lib:x.so", {Serve::kNode, 47}},
                                    {0xffffffffff, kId, "libc.so.6", {Serve::kSpread, 0}}};
  const auto read = parse_marks(to_text(marks));
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), marks.size());
  for (std::size_t i = 0; i < marks.size(); ++i) {
    EXPECT_EQ((*read)[i].offset, marks[i].offset);
    EXPECT_EQ((*read)[i].id, marks[i].id);
    EXPECT_EQ((*read)[i].module, marks[i].module);
    EXPECT_EQ((*read)[i].serving.how, marks[i].serving.how);
    EXPECT_EQ((*read)[i].serving.node, marks[i].serving.node);
  }
}

TEST(Marks, NoneAreNone) {
  EXPECT_EQ(to_text({}), "");
  EXPECT_TRUE(parse_marks("")->empty());
}

TEST(Marks, WhatIsNoneIsRefused) {
  const std::string known = ":" + kId + ":p";
  const std::vector<std::string> wrong{"apart",
                                       "apart:12",
                                       "apart:12:" + kId,
                                       "apart:12:" + kId + ":",
                                       "apart:x" + known,
                                       "apart:12::p",
                                       "apart:12:abc:p",
                                       "node:12" + known,
                                       "node30:12" + known,
                                       "far:12" + known,
                                       "apart:12:" + kId + "00:p",
                                       " apart:12" + known,
                                       "apart:11111111111111111" + known};
  for (const std::string& text : wrong) {
    EXPECT_FALSE(parse_marks(text)) << text;
  }
}

TEST(Marks, ThereIsABound) {
  const std::vector<SiteMark> many(kMostMarks + 1, {1, kId, "p", {}});
  EXPECT_FALSE(parse_marks(to_text(many)));
  EXPECT_TRUE(parse_marks(to_text(std::span(many).first(kMostMarks))));
}

TEST(ModuleName, IsOneWord) { EXPECT_EQ(module_name("/opt/my libs/a b:c.so"), "a?b?c.so"); }

TEST(Modules, OfThisProcessHaveTheIdsOfTheirFiles) {
  const auto modules = loaded_modules();
  ASSERT_GE(modules.size(), 2U);
  EXPECT_EQ(modules[0].name, "");
  EXPECT_EQ(modules[0].id, build_id_of_file("/proc/self/exe"));
  EXPECT_GE(modules[0].id.size(), 16U);
  const auto here = reinterpret_cast<std::uint64_t>(&loaded_modules);
  EXPECT_TRUE(std::ranges::any_of(modules, [&](const Module& m) { return here >= m.begin && here < m.end; }));
}

TEST(BuildId, OfWhatIsNoElfFileIsEmpty) {
  EXPECT_EQ(build_id_of_file("/proc/self/maps"), "");
  EXPECT_EQ(build_id_of_file("/nowhere"), "");
  const std::byte cut[] = {std::byte{4},    std::byte{0},    std::byte{0},    std::byte{0},
                           std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                           std::byte{3},    std::byte{0},    std::byte{0},    std::byte{0},
                           std::byte{'G'},  std::byte{'N'},  std::byte{'U'},  std::byte{0}};
  EXPECT_EQ(build_id_in(cut), "");
}

}  // namespace
}  // namespace dsm::insight
