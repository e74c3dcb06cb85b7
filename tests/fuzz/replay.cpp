// What ctest runs of a fuzzer: every file of a corpus, and seeded mutations of each. Built by any compiler.
//   fuzz_replay_X FOLDER [mutations of each file] [seed]
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Bytes mutated(Bytes bytes, std::mt19937_64& random) {
  for (auto changes = 1 + random() % 4; changes > 0; --changes) {
    const std::size_t at = bytes.empty() ? 0 : random() % bytes.size();
    const auto where = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto value = static_cast<std::uint8_t>(random());
    switch (random() % 4) {
      case 0:
        bytes.insert(where, value);
        break;
      case 1:
        if (!bytes.empty()) bytes.erase(where);
        break;
      case 2:
        if (!bytes.empty()) *where = value;
        break;
      case 3:
        if (!bytes.empty()) *where = static_cast<std::uint8_t>(*where ^ 1U << value % 8);
        break;
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || !std::filesystem::is_directory(argv[1])) {
    std::fprintf(stderr, "usage: %s CORPUS [MUTATIONS [SEED]], where CORPUS is a folder of inputs\n", argv[0]);
    return 64;
  }
  const unsigned long mutations = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
  const unsigned long seed = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1;
  // What the code under test says to people is not of interest here; a sanitizer's report goes to its own file.
  std::FILE* const report = ::fdopen(::dup(STDOUT_FILENO), "w");
  const int null = ::open("/dev/null", O_WRONLY);
  ::dup2(null, STDOUT_FILENO);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::uint64_t executions = 0;
  for (const auto& file : files) {
    std::mt19937_64 random(seed);
    Bytes bytes = read(file);
    for (unsigned long i = 0; i <= mutations; ++i, ++executions) {
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
      bytes = mutated(i % 8 == 0 ? read(file) : bytes, random);
    }
  }
  std::fprintf(report, "%zu files, %llu executions\n", files.size(), static_cast<unsigned long long>(executions));
  std::fclose(report);
  return files.empty() ? 1 : 0;
}
