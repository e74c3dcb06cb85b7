// The option table: what the DSM_* variables may say, and what is said about a bad one.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/config.h"

namespace {

// Starts each test without DSM_* variables and gives back those that the test runner's environment had.
class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (std::string_view{*entry}.starts_with("DSM_")) before_.emplace_back(*entry);
    }
    clear();
  }
  void TearDown() override {
    clear();
    for (const std::string& setting : before_) set(setting);
  }
  static void clear() {
    std::vector<std::string> names;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view setting = *entry;
      if (setting.starts_with("DSM_")) names.emplace_back(setting.substr(0, setting.find('=')));
    }
    for (const std::string& name : names) ASSERT_EQ(unsetenv(name.c_str()), 0);
  }
  static void set(const std::string& setting) {
    const std::size_t equals = setting.find('=');
    ASSERT_EQ(setenv(setting.substr(0, equals).c_str(), setting.substr(equals + 1).c_str(), 1), 0);
  }
  // What read_config says on stderr when it fails; "" if it does not fail.
  static std::string complaint() {
    testing::internal::CaptureStderr();
    const auto config = dsm::read_config();
    std::string said = testing::internal::GetCapturedStderr();
    if (config) return "";
    EXPECT_EQ(config.error().code, dsm::Errc::kBadOption);
    return said;
  }

 private:
  std::vector<std::string> before_;
};

TEST_F(ConfigTest, DefaultsAreGood) {
  const auto config = dsm::read_config();
  ASSERT_TRUE(config);
  EXPECT_EQ(config->engine, "auto");
  EXPECT_EQ(config->transport, "shm");
  EXPECT_EQ(config->emulate, "");
  EXPECT_EQ(config->base, 0x2000'0000'0000);
  EXPECT_EQ(config->slice, std::int64_t{64} << 30);
  EXPECT_EQ(config->readahead, 64);
}

TEST_F(ConfigTest, ReadsVariables) {
  set("DSM_ENGINE=sigsegv");
  set("DSM_SLICE=2m");
  set("DSM_BASE=0x7e8000000000");
  set("DSM_HOLD_US=0");
  set("DSM_EMULATE=1500:12000:300");
  const auto config = dsm::read_config();
  ASSERT_TRUE(config);
  EXPECT_EQ(config->engine, "sigsegv");
  EXPECT_EQ(config->slice, 2 << 20);
  EXPECT_EQ(config->base, 0x7e80'0000'0000);
  EXPECT_EQ(config->hold_us, 0);
  EXPECT_EQ(config->emulate, "1500:12000:300");
}

TEST_F(ConfigTest, DumpReadsBackAsTheSameConfig) {
  set("DSM_SLICE=384M");
  set("DSM_BASE=0x7e8000000000");
  set("DSM_EMULATE=rdma");
  const auto config = dsm::read_config();
  ASSERT_TRUE(config);
  const std::string text = dsm::dump(*config);
  EXPECT_NE(text.find("slice=384M\n"), std::string::npos) << text;
  EXPECT_NE(text.find("base=0x7e8000000000\n"), std::string::npos) << text;
  clear();
  std::size_t lines = 0;
  for (std::size_t at = 0; at < text.size(); ++lines) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    const std::string name = line.substr(0, line.find('='));
    for (const auto& option : dsm::option_table()) {
      if (name == option.name) set(option.variable + line.substr(name.size()));
    }
    at = end + 1;
  }
  EXPECT_EQ(lines, dsm::option_table().size());
  const auto again = dsm::read_config();
  ASSERT_TRUE(again);
  EXPECT_EQ(dsm::dump(*again), text);
}

TEST_F(ConfigTest, ComplaintNamesVariableValueAndWhatIsAllowed) {
  set("DSM_ENGINE=magic");
  const std::string said = complaint();
  EXPECT_NE(said.find("DSM_ENGINE=\"magic\""), std::string::npos) << said;
  EXPECT_NE(said.find("auto, uffd-inline, uffd-thread, sigsegv"), std::string::npos) << said;
}

TEST_F(ConfigTest, EveryBadVariableIsNamed) {
  set("DSM_READAHEAD=513");
  set("DSM_HOLD_MAX_MS=0");
  const std::string said = complaint();
  EXPECT_NE(said.find("DSM_READAHEAD=\"513\": readahead must be a whole number from 0 to 512"), std::string::npos)
      << said;
  EXPECT_NE(said.find("DSM_HOLD_MAX_MS=\"0\""), std::string::npos) << said;
}

TEST_F(ConfigTest, MisspeltVariableIsNamedWithTheNearest) {
  set("DSM_ENGIN=sigsegv");
  const std::string said = complaint();
  EXPECT_NE(said.find("DSM_ENGIN is set"), std::string::npos) << said;
  EXPECT_NE(said.find("nearest is DSM_ENGINE."), std::string::npos) << said;
}

TEST_F(ConfigTest, LaunchersOwnVariableIsNoMisspeltOption) {
  set("DSM_CONTROL_FD=5");
  EXPECT_TRUE(dsm::read_config());
}

TEST_F(ConfigTest, SizesAreWholeChunksWithinTheirLimits) {
  EXPECT_EQ(dsm::complain("slice", "64M"), "");
  EXPECT_EQ(dsm::complain("slice", "4T"), "");
  for (const char* bad : {"1M", "5T", "3000000", "-2M", "2Q", "", "M", "2 M", "99999999999G"}) {
    EXPECT_EQ(dsm::complain("slice", bad),
              "slice must be a multiple of 2M from 2M to 4T, such as 64M, 2G or 0x40000000")
        << bad;
  }
  EXPECT_NE(dsm::complain("base", "0x800000000000"), "");
  EXPECT_NE(dsm::complain("base", "0"), "");
}

TEST_F(ConfigTest, NumbersAreWholeAndWithinTheirLimits) {
  EXPECT_EQ(dsm::complain("readahead", "512"), "");
  EXPECT_EQ(dsm::complain("readahead", "0x10"), "");
  for (const char* bad : {"513", "-1", "+1", "1.5", "many", "", " 1", "0x", "18446744073709551617"}) {
    EXPECT_NE(dsm::complain("readahead", bad), "") << bad;
  }
}

TEST_F(ConfigTest, EmulationIsANameOrThreeNumbers) {
  for (const char* good : {"", "rdma", "tcp", "1500:12000:300", "0:1:0"}) {
    EXPECT_EQ(dsm::complain("emulate", good), "") << good;
  }
  for (const char* bad :
       {"ethernet", "1:2", "1:2:3:4", "1:2:", "::", "1:0:3", "a:b:c", "1:-2:3", "0x1:2:3", "1000000001:1:1"}) {
    EXPECT_NE(dsm::complain("emulate", bad), "") << bad;
  }
}

TEST_F(ConfigTest, UnknownOptionIsNamedWithTheNearest) {
  EXPECT_EQ(dsm::complain("readahed", "1"), "there is no option readahed; the nearest is readahead");
}

TEST_F(ConfigTest, ParsesSizes) {
  EXPECT_EQ(*dsm::parse_bytes("0"), 0);
  EXPECT_EQ(*dsm::parse_bytes("64M"), 67108864);
  EXPECT_EQ(*dsm::parse_bytes("64k"), 65536);
  EXPECT_EQ(*dsm::parse_bytes("0x200000000000"), 0x2000'0000'0000);
  EXPECT_FALSE(dsm::parse_bytes("8388608T"));  // 2^63
  EXPECT_EQ(*dsm::parse_bytes("8388607T"), std::int64_t{8388607} << 40);
}

}  // namespace
